//! Erasures and replays whose process dies at any moment: every completed erasure is in the ledger, and whoever a restore
//! brings back is erased again, each by one request of the run.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ERASED, PLAN, Settings, Site, all, audit_verifies, expect, finished,
    kills::{Asked, Kills, through_kills},
    schema, untouched,
};
use crate::support::{
    stores::stores,
    targets::{Target, targets},
};

const TABLES: &str =
    "DROP TABLE order_items; DROP TABLE orders; DROP TABLE notes; DROP TABLE visits; DROP TABLE users";

#[tokio::test(flavor = "multi_thread")]
async fn every_replay_survives_sigkill() {
    for target in targets() {
        for store in stores().await {
            survive(&target, &store.url, [&Kills::Random; 2]).await;
            target.execute(TABLES);
        }
    }
}

/// Killed while people are erased, and again while a replay does it once more.
pub async fn survive(target: &Target, store: &str, [erasing, replaying]: [&Kills; 2]) {
    println!("{:?} target, store {store}", target.dialect);
    target.execute(&schema());
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n  batch: { min_rows: 10, max_rows: 50, pause: 0 }\n",
    });
    let mut asked = Asked::default();
    through_kills(&site, erasing, async |random| asked.erase(&site, 2 * random.between(1, ERASED)).await)
        .await;
    let process = site.serve().await;
    let accepted = asked.all(&site).await;
    let ended = finished(&site, &accepted).await;
    let preview = site.post("/v1/replays/preview", &json!({ "all": true }), None).await.unwrap().1;
    assert_eq!(preview["entries"].as_u64(), u64::try_from(ended.len()).ok(), "one for each: {preview}");
    drop(process);

    // All that was there at first is there again.
    target.execute(TABLES);
    target.execute(&schema());
    let before = untouched(target);
    let mut runs = BTreeSet::new();
    through_kills(&site, replaying, async |_| runs.extend(ask(&site).await)).await;
    let _process = site.serve().await;
    if runs.is_empty() {
        // Who was not answered asks again.
        runs.extend(ask(&site).await);
    }
    assert!(!runs.is_empty(), "no replay was accepted");
    for run in &runs {
        let ended_run = until_end(&site, run).await;
        assert_eq!(ended_run["status"], "completed", "{ended_run}");
        assert_eq!(ended_run["report"]["entries"].as_u64(), u64::try_from(ended.len()).ok(), "{ended_run}");
        let items = site.get(&format!("/v1/replays/{run}?limit=500")).await.unwrap();
        let items = items["items"].as_array().unwrap().clone();
        let made: BTreeSet<&str> = items.iter().map(|item| item["request_id"].as_str().unwrap()).collect();
        assert_eq!(made.len(), ended.len(), "one request for each: {items:?}");
        assert_eq!(made_by(&site, run).await, made.len(), "and none that nothing knows of");
    }
    let erased: Vec<usize> = accepted.keys().copied().collect();
    expect(&before, &untouched(target), &erased);
    audit_verifies(&site).await;
}

async fn until_end(site: &Site, run: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let read = site.get(&format!("/v1/runs/{run}")).await.unwrap_or_default();
        if !read["finished_at"].is_null() {
            return read;
        }
        assert!(Instant::now() < until, "in vain: {read}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for a replay: the run that came of it, or that is not over.
async fn ask(site: &Site) -> Option<String> {
    let (status, body) = site.post("/v1/replays", &json!({ "all": true }), None).await?;
    assert!(matches!(status, 202 | 409), "{status}: {body}");
    let id = if status == 202 { &body["id"] } else { &body["run_id"] };
    Some(id.as_str().unwrap().to_owned())
}

/// All requests that a run has made.
async fn made_by(site: &Site, run: &str) -> usize {
    all(site, "/v1/requests").await.iter().filter(|request| request["replay"]["run_id"] == run).count()
}
