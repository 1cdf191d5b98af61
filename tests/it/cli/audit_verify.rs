//! An auditor verifies the log, with a key and a checkpoint of their own.

use std::path::Path;

use rightful::domain::checkpoint::NewKey;
use serde_json::Value;

use super::{failure, rightful, text};
use crate::{
    properties::random::Random,
    store::support::raw,
    support::stores::sqlite_store,
    verification::builder::{Builder, ORIGIN},
};

fn run(folder: &Path, rest: &[&str]) -> std::process::Output {
    rightful(folder, &[&["audit", "verify"], rest].concat())
}

#[tokio::test]
async fn an_auditor_verifies_a_copy_and_an_export_against_a_checkpoint() {
    let fresh = sqlite_store().await;
    let key = NewKey::generate(ORIGIN).unwrap();
    let mut builder = Builder::keyed(fresh.store.clone(), &key);
    builder.grow(8, &mut Random::new(6)).await;
    let size = builder.published().unwrap().size;
    let public = builder.keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("checkpoint"), &builder.checkpoints.last().unwrap().1).unwrap();
    std::fs::write(path("evidence.pub"), public[0].clone() + "\n").unwrap();
    let exported =
        rightful(folder.path(), &["audit", "export", "--store", &fresh.url, "--out", "audit.ndjson"]);
    assert!(exported.status.success(), "{exported:?}");
    let mut against = vec!["--checkpoint", "checkpoint", "--key", "evidence.pub"];
    for key in &public[1..] {
        against.extend(["--key", key]);
    }
    for place in [["--store", &fresh.url], ["--export", "audit.ndjson"]] {
        let verified = run(folder.path(), &[&place[..], &against].concat());
        assert!(verified.status.success(), "{verified:?}");
        let shown = text(&verified.stdout);
        assert!(shown.starts_with("intact: ") && shown.contains("; signatures checked\n"), "{shown}");
        let verified = run(folder.path(), &[&place[..], &against, &["--json"]].concat());
        let answer: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!((answer["ok"].as_bool(), answer["signatures"].as_str()), (Some(true), Some("checked")));
        assert!(answer["tree_size"].as_u64().unwrap() >= size, "{answer}");
        // Who gives no key is told what that means, and who gives a checkpoint without one is asked for it.
        let shown = text(&run(folder.path(), &place).stdout);
        assert!(shown.contains("signatures NOT checked") || place[0] == "--export", "{shown}");
        let asked = run(folder.path(), &[&place[..], &["--checkpoint", "checkpoint"]].concat());
        assert_eq!(asked.status.code(), Some(2), "{asked:?}");
        assert!(text(&asked.stderr).contains("add --key PUBLIC"), "{asked:?}");
    }
    let stranger = NewKey::generate(ORIGIN).unwrap();
    let wrong = ["--export", "audit.ndjson", "--checkpoint", "checkpoint", "--key"];
    assert!(
        failure(&run(folder.path(), &[&wrong[..], &[&stranger.public]].concat()))
            .contains("none of the given keys")
    );
    for no_key in [stranger.private.as_str(), "none.pub"] {
        let refused = run(folder.path(), &[&wrong[..], &[no_key]].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(!text(&refused.stderr).contains(&stranger.private), "{refused:?}");
    }

    // Whoever owns the database takes the end away, entries and all.
    let cut = format!(
        "DROP TRIGGER log_entries_no_delete; DELETE FROM log_entries WHERE leaf_index >= {};
         INSERT INTO log_queue SELECT id FROM audit_events
         WHERE id NOT IN (SELECT event_id FROM log_entries) AND id NOT IN (SELECT event_id FROM log_queue);
         DROP TRIGGER checkpoints_no_delete; DELETE FROM checkpoints",
        size - 1
    );
    raw(&fresh, &cut).await.unwrap();
    assert!(run(folder.path(), &["--store", &fresh.url]).status.success(), "by itself it looks whole");
    let place = ["--store", &fresh.url];
    let broken = run(folder.path(), &[&place[..], &against, &["--json"]].concat());
    assert!(failure(&broken).contains("the log was cut, or set back"), "{broken:?}");
    let answer: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!(answer["broken"]["reason"], "log_cut");
    assert_eq!(answer["broken"]["index"], size - 1);

    let lines = std::fs::read_to_string(path("audit.ndjson")).unwrap();
    std::fs::write(path("audit.ndjson"), lines.split_inclusive('\n').skip(1).collect::<String>()).unwrap();
    let broken = failure(&run(folder.path(), &[&["--export", "audit.ndjson"], &against[..]].concat()));
    assert!(broken.contains("at event 1") && broken.contains("only an export of the whole log"), "{broken}");
}
