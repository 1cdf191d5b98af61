//! A process that is stopped for longer than its lease, in the middle of its work: another one takes over and finishes,
//! and whoever wakes up then touches nothing more and notes nothing.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use rightful::points::Point;
use serde_json::{Value, json};

use super::super::{PLAN, all, audit_verifies, each_row_counts_once, expect, schema, untouched};
use crate::support::{
    app::eventually,
    site::{Settings, Site},
    stores::stores,
    targets::{Dialect, Target, target},
};

/// A user with more rows than fit one batch.
const USER: usize = 6;

/// Between the commit of a batch and its note; and before the note of what a fresh count found, the commit of the
/// person's own row, and the end.
const POINTS: [Point; 4] =
    [Point::BatchCommitted, Point::StepVerifying, Point::RootCommitted, Point::RequestCompleting];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wakes_up_without_its_lease_touches_nothing_more() {
    for point in POINTS {
        // On SQLite no other process shares the store.
        let Some(store) = stores().await.into_iter().nth(1) else { return };
        let target = target(Dialect::Sqlite).unwrap();
        stopped(&target, &store.url, point).await;
    }
}

fn site(target: &Target, store: &str) -> Site {
    Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n  batch: { min_rows: 10, max_rows: 50, pause: 0 }\n",
    })
}

fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().expect("kill");
    assert!(sent.success());
}

async fn stopped(target: &Target, store: &str, point: Point) {
    println!("stopped at {}", point.name());
    target.execute(&schema());
    let before = untouched(target);
    let (first, second) = (site(target, store), site(target, store));
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = log.clone();
    let variables =
        [("RUST_LOG", "warn,rightful=info,rightful::points=trace"), ("RIGHTFUL_STOP_AT", point.name())];
    let process = first.start_with(&variables, move |line| heard.lock().unwrap().push(line));
    first.ready().await;
    let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": USER } });
    let id = first.submit_body(&body, None).await.unwrap()["id"].as_str().unwrap().to_owned();
    let pid = process.0.id();
    eventually("it is stopped", async || state(pid) == 'T').await;

    let _second = second.serve().await;
    let request = second.finished(&id).await;
    each_row_counts_once(USER, &request);
    let ended = (untouched(target), events(&second, &id).await);
    expect(&before, &ended.0, &[USER]);

    log.lock().unwrap().clear();
    signal(pid, "-CONT");
    eventually("it has let go of the request", async || {
        log.lock().unwrap().iter().any(|line| line.contains("its lease was lost"))
    })
    .await;
    let after = (untouched(target), events(&second, &id).await);
    assert_eq!(after, ended, "stopped at {}", point.name());
    assert_eq!(second.finished(&id).await, request);
    audit_verifies(&second).await;
    drop(process);
    let passed = log.lock().unwrap().join("\n");
    let committing =
        [Point::BatchCommitting, Point::RootCommitting, Point::BatchRecorded, Point::StepVerified];
    for point in committing.iter().map(|point| format!("\"{}\"", point.name())) {
        assert!(!passed.contains(&point), "{passed}");
    }
}

/// As the kernel tells it: `T` of one that is stopped.
fn state(process: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

async fn events(site: &Site, id: &str) -> Vec<Value> {
    all(site, &format!("/v1/requests/{id}/events")).await
}
