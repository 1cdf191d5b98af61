//! Registered plans.

use rightful::store::NewPlan;

use crate::support::stores::stores;

fn plan<'a>(version: &'a str, source: &'a str) -> NewPlan<'a> {
    NewPlan { name: "customer", version, source, compiled: "{}" }
}

#[tokio::test]
async fn every_version_is_kept_and_one_is_current() {
    for fresh in stores().await {
        let store = &fresh.store;
        let register = async |new: NewPlan<'_>| {
            let mut tx = store.begin().await.unwrap();
            let changed = tx.register_plan(new, "system").await.unwrap();
            tx.commit().await.unwrap();
            changed
        };
        assert!(register(plan("sha256:1", "one")).await);
        assert!(!register(plan("sha256:1", "one # with a comment")).await, "the same version is no news");
        assert_eq!(store.plan_current("customer").await.unwrap().unwrap().source, "one # with a comment");
        assert!(register(plan("sha256:2", "two")).await);
        assert!(register(plan("sha256:1", "one")).await, "back again");
        let current = store.plan_current("customer").await.unwrap().unwrap();
        assert_eq!((current.version.as_str(), current.compiled.as_str()), ("sha256:1", "{}"));
        assert_eq!(store.plan_version("customer", "sha256:2").await.unwrap().unwrap().source, "two");
        assert_eq!(store.plan_version("customer", "sha256:3").await.unwrap(), None);
        assert_eq!(store.plan_current("nobody").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_together_register_a_plan_once() {
    for fresh in stores().await {
        let starts: Vec<_> = (0..6)
            .map(|_| {
                let store = fresh.store.clone();
                tokio::spawn(async move {
                    let mut tx = store.begin().await.unwrap();
                    let changed = tx.register_plan(plan("sha256:1", "one"), "system").await.unwrap();
                    tx.commit().await.unwrap();
                    changed
                })
            })
            .collect();
        let mut registered = 0;
        for start in starts {
            registered += usize::from(start.await.unwrap());
        }
        assert_eq!(registered, 1);
    }
}
