//! `rightful replay` with the real binary, while nothing else serves.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{PLAN, bring_back, seed, there};
use crate::support::{
    site::{Settings, Site},
    stores::stores,
    targets::{Dialect, Target, target},
};

fn rightful(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rightful"));
    command.current_dir(site.folder()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Users 1 to 3 are erased by a service that has ended since.
async fn erased(store: &str, target: &Target, sections: &str) -> Site {
    let settings = Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: &format!("  lease: 5s\n{sections}"),
    };
    let site = Site::new(&settings);
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
    let store = crate::support::stores::sqlite_store().await;
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
