//! SQLite's one lock, kept by another process for longer than anybody waits for it.

use std::time::Duration;

use serde_json::json;

use super::{LARGE, LONG, SLOWLY, Scene};
use crate::support::{
    stores::{sqlite_store, stores},
    targets::{Dialect, target, targets},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_takes_nothing_and_loses_nothing() {
    let store = sqlite_store().await;
    let target = target(Dialect::Postgres).unwrap_or_else(|| targets().remove(0));
    let url = target.url.clone();
    let scene = Scene::new(&store.url, target, &url, &format!("{LONG}{SLOWLY}"));
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    let mut other = store.session();
    other.execute("BEGIN EXCLUSIVE");
    let submission = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": 4 } });
    scene.is_unavailable("POST", "/v1/requests", &submission).await;
    // Past the time that the worker's record waits.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let request = scene.site.get(&format!("/v1/requests/{large}")).await.expect("readers do not wait");
    assert_eq!(request["status"], "in_progress", "{request}");
    other.execute("ROLLBACK");
    scene.recovers("SQLite store locked", &large).await;
    let late = scene.submit_in_the_end(6).await;
    scene.has_waited(&large).await;
    let accepted = [(LARGE, large), (6, late)];
    scene.counts_what_was_there(&accepted).await;
    scene.ends_well(process, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_target_is_waited_for() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).expect("SQLite");
        let url = target.url.clone();
        let scene = Scene::new(&store.url, target, &url, &format!("  lease: 3s\n{SLOWLY}"));
        let process = scene.site.serve().await;
        let large = scene.submit(LARGE).await;
        scene.until_under_way(&large).await;
        let mut other = scene.target.session();
        other.execute("BEGIN EXCLUSIVE");
        scene.until_paused(&mut store.session(), &large, "lock_timeout", "a lock was not granted").await;
        other.execute("ROLLBACK");
        scene.recovers("SQLite target locked", &large).await;
        scene.has_waited(&large).await;
        let accepted = [(LARGE, large)];
        scene.counts_what_was_there(&accepted).await;
        scene.ends_well(process, &accepted).await;
    }
}
