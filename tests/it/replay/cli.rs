//! `rightful replay` with the real binary, while nothing else serves.

use std::process::{Command, Output, Stdio};

use rightful::{
    domain::{request::Status, run::Task},
    store::{Page, RequestFilter, Sort},
};
use serde_json::{Value, json};

use super::{PLAN, bring_back, seed, there};
use crate::support::{
    app::eventually,
    site::{Process, Settings, Site},
    stores::{sqlite_store, stores},
    targets::{Dialect, Target, target},
};

fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rightful"));
    command.current_dir(site.folder()).args(arguments);
    command
}

fn rightful(site: &Site, arguments: &[&str]) -> Output {
    command(site, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn site(store: &str, target: &Target, plan: &str, sections: &str) -> Site {
    Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan,
        worker: &format!("  lease: 5s\n{sections}"),
    })
}

/// Users 1 to 3 are erased by a service that has ended since.
async fn erased(store: &str, target: &Target, sections: &str) -> Site {
    let site = site(store, target, PLAN, sections);
    let process = site.serve().await;
    for user in 1..=3 {
        let request = site.submit("customer", json!({ "user_id": user }), None).await.unwrap();
        let ended = site.finished(request["id"].as_str().unwrap()).await;
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    drop(process);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_looks_then_erases_to_the_end() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        seed(&target);
        let site = erased(&store.url, &target, "").await;
        bring_back(&target, &[1, 2]);
        let looked = rightful(&site, &["replay", "--all", "--preview", "--json"]);
        assert!(looked.status.success(), "{looked:?}");
        let found: Value = serde_json::from_slice(&looked.stdout).unwrap();
        let counts = ["entries", "found", "absent", "unclear", "unusable"].map(|name| found[name].as_i64());
        assert_eq!(counts, [3, 2, 1, 0, 0].map(Some), "{found}");
        let shown = text(&rightful(&site, &["replay", "--all", "--preview"]).stdout);
        assert!(shown.contains("customer") && shown.contains("2 are there again, 1 are not"), "{shown}");
        assert_eq!(there(&target).0, "1 2 4 5", "a look changes nothing");

        let done = rightful(&site, &["replay", "--all"]);
        assert!(done.status.success(), "{done:?}");
        let told = text(&done.stdout);
        assert!(
            told.contains("completed (done)") && told.contains("2 done again, 1 with nobody there"),
            "{told}"
        );
        assert!(!told.contains("warning"), "{told}");
        assert_eq!(there(&target), ("4 5".to_owned(), "40 41 50 51".to_owned()));

        // Somebody else has the id: it ends, and says that it did not do all.
        target.execute("INSERT INTO users VALUES (3, 'somebody@example.com')");
        let refused = rightful(&site, &["replay", "--since", "2026-01-01T00:00:00Z"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let why = text(&refused.stderr);
        assert!(why.contains("replay_incomplete: 1 of 3"), "{why}");
        assert_eq!(there(&target).0, "3 4 5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_waits_for_no_approver_and_takes_one_scope() {
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).unwrap();
    seed(&target);
    let site = erased(&store.url, &target, "approval: { replay: required }\n").await;
    bring_back(&target, &[1]);
    for wrong in [
        &["replay"][..],
        &["replay", "--all", "--since", "2026-01-01T00:00:00Z"],
        &["replay", "--since", "yesterday"],
        &["replay", "--all", "--json"],
    ] {
        assert_eq!(rightful(&site, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let future = rightful(&site, &["replay", "--since", "2999-01-01T00:00:00Z"]);
    assert!(future.status.code() == Some(1) && text(&future.stderr).contains("in the future"), "{future:?}");
    let waits = rightful(&site, &["replay", "--all"]);
    assert_eq!(waits.status.code(), Some(1), "{waits:?}");
    assert!(text(&waits.stderr).contains("waits for an approver"), "{waits:?}");
    assert_eq!(there(&target).0, "1 4 5");
    let again = rightful(&site, &["replay", "--all"]);
    assert!(text(&again.stdout).contains("going on with it"), "{again:?}");
    assert!(text(&again.stderr).contains("waits for an approver"), "{again:?}");
    let other = rightful(&site, &["replay", "--since", "2026-01-01T00:00:00Z"]);
    assert!(text(&other.stderr).contains("over other erasures is not over"), "{other:?}");
}

/// Whoever began the run is gone, and the leases that they held run out.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_goes_on_with_the_run_of_one_that_was_killed() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        seed(&target);
        let site = erased(&store.url, &target, "").await;
        bring_back(&target, &[1, 2]);
        // The erasures meet a lock, so that the command does not come to its end before it is killed.
        let mut holder = target.session();
        holder.execute("BEGIN IMMEDIATE");
        let silent = || Stdio::null();
        let begun = command(&site, &["replay", "--all"]).stdout(silent()).stderr(silent()).spawn().unwrap();
        let begun = Process(begun);
        let filter = RequestFilter { status: vec![Status::Paused], ..RequestFilter::default() };
        let page = Page { limit: 50, sort: Sort::Created, after: None };
        eventually("both wait for the lock", async || {
            store.store.list(&filter, &page).await.unwrap().len() == 2
        })
        .await;
        drop(begun);
        holder.execute("ROLLBACK");
        assert_eq!(there(&target).0, "1 2 4 5");
        let run = store.store.last_run(&Task::Replay).await.unwrap().unwrap();
        assert!(!run.status().is_end(), "{run:?}");

        let other = rightful(&site, &["replay", "--since", "2026-01-01T00:00:00Z"]);
        assert!(text(&other.stderr).contains("over other erasures is not over"), "{other:?}");
        let done = rightful(&site, &["replay", "--all"]);
        assert!(done.status.success(), "{done:?}");
        let told = text(&done.stdout);
        for part in [
            &format!("run {} over the same erasures is not over: going on with it", run.id),
            &format!("run {}: completed (done)", run.id),
            "3 erasures: 2 done again, 1 with nobody there",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(there(&target), ("4 5".to_owned(), "40 41 50 51".to_owned()));
        let all = store.store.list(&RequestFilter::default(), &page).await.unwrap();
        assert_eq!(all.len(), 6, "one request for each erasure");
        assert_eq!(store.store.last_run(&Task::Replay).await.unwrap().unwrap().id, run.id);
    }
}

/// What a cancelled erasure has erased may be there again, and the ledger knows nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_warns_of_erasures_that_ended_half_way() {
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).unwrap();
    seed(&target);
    let manual = format!("{PLAN}manual:\n  - {{ name: paper_file, do: Shred it }}\n");
    let site = site(&store.url, &target, &manual, "");
    let process = site.serve().await;
    let request = site.submit("customer", json!({ "user_id": 1 }), None).await.unwrap();
    let own = request["links"]["self"].as_str().unwrap();
    eventually("its tables are done", async || {
        let request = site.get(own).await.unwrap();
        let statuses = request["steps"].as_array().unwrap().iter().map(|step| step["status"].clone());
        statuses.collect::<Vec<_>>() == ["completed", "completed", "waiting"]
    })
    .await;
    site.post(&format!("{own}/cancel"), &json!({}), None).await.unwrap();
    let ended = site.finished(request["id"].as_str().unwrap()).await;
    assert_eq!((&ended["status"], &ended["outcome"]), (&json!("cancelled"), &json!("partial")), "{ended}");
    drop(process);
    bring_back(&target, &[1]);

    let done = rightful(&site, &["replay", "--all"]);
    assert!(done.status.success(), "{done:?}");
    let told = text(&done.stdout);
    for part in [
        "0 erasures: 0 done again",
        "warning: 1 erasures ended half-way, which a replay does not do again: submit them again",
        "GET /v1/requests?kind=erasure&outcome=partial",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(there(&target).0, "1 2 3 4 5", "it is told, and not touched");
}
