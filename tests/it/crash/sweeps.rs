//! The service's own old data goes while it is killed: all of it, each request counted once, and nothing of another.

use serde_json::{Value, json};

use super::{
    PLAN, Settings, Site, all, audit_verifies, finished,
    kills::{Asked, Kills, through_kills},
    schema,
};
use crate::{
    support::{
        app::eventually,
        stores::{TestStore, stores},
        targets::{Dialect, Target, target},
    },
    sweeps::{count, days_ago, set_time},
};

const PEOPLE: usize = 6;
/// Of the first of them everything is over.
const OVER: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_once_through_sigkill() {
    for store in stores().await {
        survive(&target(Dialect::Sqlite).unwrap(), &store, &Kills::Random).await;
    }
}

pub async fn survive(target: &Target, store: &TestStore, kills: &Kills) {
    target.execute(&schema());
    let site = Site::new(&Settings {
        store: &store.url,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\nretention: { identities: 30d, requests: 60d, idempotency_keys: 30d }\n",
    });
    let mut asked = Asked::default();
    let process = site.serve().await;
    for user in 1..=PEOPLE {
        asked.erase(&site, user).await;
    }
    let accepted = asked.all(&site).await;
    finished(&site, &accepted).await;
    drop(process);
    for (_, id) in accepted.iter().take(OVER) {
        set_time(store, &format!("requests {id}"), "finished_at", days_ago(90));
    }
    through_kills(&site, kills, async |_| {}).await;
    let _process = site.serve().await;
    eventually("all of it is gone", async || {
        ["request_secrets", "request_refs", "idempotency_keys"].iter().all(|table| {
            let of_request = |id: &String| count(store, &format!("{table} WHERE request_id = '{id}'"));
            accepted.values().take(OVER).map(of_request).sum::<usize>() == 0
        })
    })
    .await;
    for id in accepted.values().skip(OVER) {
        for table in ["request_secrets", "request_refs", "idempotency_keys"] {
            assert!(count(store, &format!("{table} WHERE request_id = '{id}'")) > 0, "{table}");
        }
    }
    let told = all(&site, "/v1/audit").await;
    let swept: Vec<&Value> = told
        .iter()
        .filter(|event| event["event"] == "retention.swept")
        .map(|event| &event["details"])
        .collect();
    let sum = |what: &str| -> u64 {
        let of_it = swept.iter().filter(|details| details["what"] == what);
        of_it.map(|details| details["requests"].as_u64().unwrap()).sum()
    };
    // With whatever else leads to a person go the keys, too.
    let keys: u64 = swept.iter().map(|details| details["idempotency_keys"].as_u64().unwrap()).sum();
    let expected = u64::try_from(OVER).unwrap();
    assert_eq!([sum("identities"), sum("requests"), keys], [expected; 3], "{swept:?}");
    assert_eq!(
        json!(accepted.len()),
        json!(all(&site, "/v1/requests").await.len()),
        "what is left of a request stays"
    );
    audit_verifies(&site).await;
}
