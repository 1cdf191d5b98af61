//! `rightful audit` on the configured store, which is told of it.

use std::path::Path;

use serde_json::Value;

use super::{failure, rightful, text};
use crate::{
    store::support::raw,
    support::stores::{TestStore, stores},
};

/// A folder whose configuration names that store.
fn configured(url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert!(rightful(folder.path(), &["init"]).status.success());
    point_at(folder.path(), url);
    folder
}

fn point_at(folder: &Path, url: &str) {
    let path = folder.join("rightful.yaml");
    let lines = std::fs::read_to_string(&path).unwrap();
    let lines = lines.lines().map(|line| match line.starts_with("store:") {
        true => format!("store: \"{url}\"\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(&path, lines.collect::<String>()).unwrap();
}

fn readings(store: &TestStore) -> Vec<(String, String, Value)> {
    let rows = store.session().rows("SELECT event, actor, details FROM audit_events ORDER BY id");
    let cell = |cell: &Option<String>| cell.clone().unwrap();
    rows.iter()
        .map(|row| (cell(&row[0]), cell(&row[1]), serde_json::from_str(&cell(&row[2])).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_and_exporting_the_configured_store_is_on_record() {
    for store in stores().await {
        let folder = configured(&store.url);
        let folder = folder.path();
        let verified = rightful(folder, &["audit", "verify", "--json"]);
        assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
        let answer: Value = serde_json::from_slice(&verified.stdout).unwrap();
        let exported = rightful(folder, &["audit", "export"]);
        assert!(exported.status.success() && exported.stderr.is_empty(), "{exported:?}");
        assert_eq!(text(&exported.stdout).lines().count(), 2, "both of them");
        let told = readings(&store);
        let events: Vec<&str> = told.iter().map(|(event, ..)| event.as_str()).collect();
        assert_eq!(events, ["audit.verified", "audit.exported"]);
        assert!(told.iter().all(|(_, actor, _)| actor.starts_with("cli:") && actor.len() > 4), "{told:?}");
        assert_eq!((&told[0].2["events"], &told[0].2["head"]), (&answer["events"], &answer["head"]));
        assert_eq!(told[1].2["format"], "ndjson");
        // A store that is named is a copy, and stays as it is.
        let copy = rightful(folder, &["audit", "verify", "--json", "--store", &store.url]);
        let answer: Value = serde_json::from_slice(&copy.stdout).unwrap();
        assert_eq!((answer["ok"].as_bool(), answer["events"].as_u64()), (Some(true), Some(2)));
        assert_eq!(readings(&store).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_is_told_that_it_is_not_on_record() {
    for store in stores().await.into_iter().filter(|store| !store.is_sqlite()) {
        let schema = store.url.rsplit('=').next().unwrap().to_owned();
        let role = format!("{schema}_reader");
        let grant = format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        );
        raw(&store, &grant).await.unwrap();
        let folder = configured(&store.url.replace("postgres@", &format!("{role}@")));
        let outputs = ["verify", "export"].map(|action| rightful(folder.path(), &["audit", action]));
        raw(&store, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
        for output in outputs {
            assert!(output.status.success(), "{output:?}");
            let line = text(&output.stderr);
            assert!(line.contains("could not be recorded") && line.lines().count() == 1, "{line}");
        }
        assert!(readings(&store).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_is_on_record_as_broken() {
    let store = stores().await.remove(0);
    raw(&store, "INSERT INTO sweeps VALUES ('lost', 3, printf('%064d', 0))").await.unwrap();
    let folder = configured(&store.url);
    assert!(failure(&rightful(folder.path(), &["audit", "verify"])).contains("sweep:lost"));
    let told = readings(&store);
    assert_eq!((told[0].0.as_str(), &told[0].2["ok"]), ("audit.verified", &Value::Bool(false)));
    assert_eq!(told[0].2["broken"]["reason"], "tail_missing");
}
