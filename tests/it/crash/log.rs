//! The Merkle log and its copies: a process is killed while it gives events their places, signs and publishes.

use std::{fs, path::Path};

use serde_json::json;

use super::{
    PLAN, audit_verifies,
    kills::{Kills, through_kills},
    schema,
};
use crate::support::{
    app::eventually,
    site::{Settings, Site},
    stores::{TestStore, stores},
    targets::{Dialect, Target, target},
};

const KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

/// The size that the published checkpoint tells of; 0 before there is one.
fn published(file: &Path) -> u64 {
    let Ok(note) = fs::read_to_string(file) else { return 0 };
    assert!(note.ends_with('\n') && note.contains("\n\n\u{2014} PeterNeumann "), "a part of one: {note}");
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn number(store: &TestStore, sql: &str) -> u64 {
    store.session().rows(sql)[0][0].as_ref().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_one_place_across_sigkill_and_checkpoints_only_grow() {
    for store in stores().await {
        survive(&target(Dialect::Sqlite).unwrap(), &store, &Kills::Random).await;
    }
}

pub async fn survive(target: &Target, store: &TestStore, kills: &Kills) {
    target.execute(&schema());
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("checkpoint");
    let site = Site::new(&Settings {
        store: &store.url,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: &format!(
            "  concurrency: 4\nevidence:\n  key: {KEY}\n  sinks: [ {{ file: {} }} ]\n",
            file.display()
        ),
    });
    let mut user = 0;
    let mut size = 0;
    through_kills(&site, kills, async |_| {
        for _ in 0..3 {
            user += 1;
            site.submit("customer", json!({ "user_id": user }), None).await;
        }
        let now = published(&file);
        assert!(now >= size, "{now} after {size}");
        size = now;
    })
    .await;
    // An attempt to publish belongs to its process for a minute: let that be over.
    store.session().execute("UPDATE checkpoint_sinks SET lease_until = NULL");
    let process = site.serve().await;
    audit_verifies(&site).await;
    eventually("all of it is published", async || {
        let events = number(store, "SELECT count(*) FROM audit_events");
        number(store, "SELECT count(*) FROM log_waiting") == 0 && published(&file) == events
    })
    .await;
    drop(process);
    let events = number(store, "SELECT count(*) FROM audit_events");
    let placed = "SELECT count(*) FROM log_entries JOIN audit_events ON id = event_id";
    assert_eq!(number(store, placed), events);
    assert_eq!(number(store, "SELECT max(leaf_index) + 1 FROM log_entries"), events);
    assert_eq!(number(store, "SELECT max(tree_size) FROM checkpoints"), events);
}
