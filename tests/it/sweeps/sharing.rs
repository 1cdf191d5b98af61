//! Several processes, and one that dies: everything goes once, and is told of once.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use rightful::{
    domain::{
        clock::Clock,
        request::{Request, State},
        sweep::{Sweep, Swept},
    },
    service::{
        Pacing,
        audit::{Verification, verify},
    },
    store::{EventFilter, EventOrder, Store},
};

use super::{count, days_ago, sweep, upkeep};
use crate::{
    store::support::{cancel, insert, new_request, raw},
    support::{
        harness::Harness,
        site::{Settings, Site},
        stores::{TestStore, stores},
        targets::{Dialect, target},
    },
};

/// Requests that have ended long ago, and one that has not.
async fn old_requests(store: &TestStore, number: usize) {
    let new = |state: State| Request { state, ..new_request() };
    for _ in 0..number {
        let pseudonym = Clock.new_id().to_string();
        let id = insert(&store.store, new(State::Approved), &[("user_id", &pseudonym)]).await.id;
        cancel(&store.store, id).await;
    }
    let at = days_ago(400).format("%Y-%m-%d %H:%M:%S%.6f");
    raw(store, &format!("UPDATE requests SET finished_at = '{at}'")).await.unwrap();
    insert(&store.store, new(State::Pending), &[("user_id", "open")]).await;
}

/// How much has gone by each sweep as the log tells it; the log is whole.
async fn told(store: &Store) -> BTreeMap<String, Vec<i64>> {
    assert!(matches!(verify(store).await.unwrap(), Verification::Intact(_)));
    let chunks: Vec<_> =
        store.stream_events(EventFilter::default(), EventOrder::Chain).try_collect().await.unwrap();
    let mut told: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in chunks.into_iter().flatten().filter(|event| event.event == "retention.swept") {
        let requests = event.details["requests"].as_i64().unwrap();
        told.entry(event.stream).or_default().push(requests);
    }
    told
}

/// What is left of the one that has not ended, and of nothing else.
fn is_all_gone(store: &TestStore) {
    for table in ["request_secrets", "request_refs"] {
        assert_eq!(count(store, table), 1, "{table}");
    }
    assert_eq!(count(store, "requests WHERE external_id IS NOT NULL"), 1);
    assert_eq!(count(store, "swept_requests WHERE reduced_at IS NULL"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_share_the_work_and_tell_of_it_once() {
    const REQUESTS: usize = 250;
    for store in stores().await {
        old_requests(&store, REQUESTS).await;
        let mut processes = Vec::new();
        for process in 0..4 {
            let own = Store::open(&store.url, Clock).await.unwrap();
            let harness = Arc::new(Harness::new(own, &[], Pacing::default()).keeping(upkeep(
                Some("90d"),
                Some("1y"),
                None,
            )));
            // Half of them begin with the other one.
            let order = if process % 2 == 0 {
                [Sweep::Identities, Sweep::Requests]
            } else {
                [Sweep::Requests, Sweep::Identities]
            };
            processes.push(tokio::spawn(async move {
                let mut all = Vec::new();
                for what in order {
                    all.push((what, sweep(&harness.service, what).await));
                }
                all
            }));
        }
        let mut of = BTreeMap::new();
        for process in processes {
            for (what, swept) in process.await.unwrap() {
                *of.entry(what.stream()).or_insert(0) += i64::try_from(swept.requests).unwrap();
            }
        }
        // Rows that two of them were at in the same moment are left for the next time.
        let last = Harness::new(store.store.clone(), &[], Pacing::default());
        let last = last.keeping(upkeep(Some("90d"), Some("1y"), None));
        for what in [Sweep::Identities, Sweep::Requests] {
            let swept = sweep(&last.service, what).await;
            *of.entry(what.stream()).or_insert(0) += i64::try_from(swept.requests).unwrap();
        }
        is_all_gone(&store);
        assert_eq!(count(&store, "swept_requests"), REQUESTS);
        assert_eq!(of["sweep:requests"], i64::try_from(REQUESTS).unwrap());
        let told: BTreeMap<String, i64> =
            told(&store.store).await.into_iter().map(|(stream, all)| (stream, all.iter().sum())).collect();
        assert_eq!(told, of.into_iter().filter(|(_, requests)| *requests > 0).collect());
    }
}

/// Between the first statement and the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_commit_has_done_nothing() {
    for store in stores().await {
        old_requests(&store, 3).await;
        let harness = Harness::new(store.store.clone(), &[], Pacing::default());
        let harness = harness.keeping(upkeep(Some("90d"), None, None));
        let due = store.store.due(Sweep::Identities, days_ago(90), 2).await.unwrap();
        let mut tx = store.store.begin().await.unwrap();
        let swept = tx.sweep(Sweep::Identities, &due, &[], days_ago(90), Clock.now()).await.unwrap();
        assert_eq!(swept.requests, 2);
        drop(tx);
        assert_eq!(
            sweep(&harness.service, Sweep::Identities).await,
            Swept { requests: 3, ..Swept::default() }
        );
        assert_eq!((count(&store, "request_secrets"), count(&store, "swept_requests")), (1, 3));
        assert_eq!(told(&store.store).await, BTreeMap::from([("sweep:identities".to_owned(), vec![3])]));
    }
}

/// Killed as soon as something has gone, and started again, until nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_at_it_goes_on_where_it_was() {
    const REQUESTS: usize = 1_200;
    for store in stores().await {
        old_requests(&store, REQUESTS).await;
        let target = target(Dialect::Sqlite).unwrap();
        target.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)");
        let site = Site::new(&Settings {
            store: &store.url,
            connections: &[("shop", &target.url)],
            service: None,
            plan: "plan: other\nsubject: { user_id: shop.users.id }\nconnections:\n  shop:\n    users: { erase: delete }\n",
            worker: "  lease: 1s\nretention: { identities: 90d, requests: 1y }\n",
        });
        let left = || count(&store, "request_secrets") + count(&store, "request_refs");
        let until = Instant::now() + Duration::from_secs(60);
        let mut before = left();
        while before > 2 {
            println!("{before} rows are left");
            let process = site.start();
            while left() == before {
                assert!(Instant::now() < until, "in vain: {before} are left");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(process);
            before = left();
        }
        is_all_gone(&store);
        for (stream, batches) in told(&store.store).await {
            assert_eq!(batches.iter().sum::<i64>(), i64::try_from(REQUESTS).unwrap(), "{stream}");
            assert!(batches.iter().all(|requests| *requests <= 200), "{stream}: {batches:?}");
        }
    }
}
