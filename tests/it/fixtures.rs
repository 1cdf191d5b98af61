//! Fixtures on every target and both stores: put by key, once per content, by one process.

mod crash;
mod faults;
mod once;
mod values;

use std::path::PathBuf;

use rightful::{
    service::{
        Pacing,
        audit::{self, Verification},
        fixtures::{FileReport, Outcome, Report, load},
    },
    store::{EventFilter, EventPage, Store},
};
use tempfile::TempDir;

use crate::support::{harness::Harness, stores::stores, targets::targets};

/// A folder of fixtures, and their overlays beside it.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("fixtures")
    }

    /// Writes `fixtures/shop/…` or `fixtures.NAME/shop/…`.
    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }
}

fn harness(store: &Store, url: &str) -> Harness {
    Harness::new(store.clone(), &[("shop", url)], Pacing::default())
}

/// Without faults.
async fn loaded(harness: &Harness, files: &Files, environment: Option<&str>) -> Vec<Outcome> {
    let report = load(&harness.service, &files.root(), environment).await.unwrap();
    assert!(report.faults.is_empty() && report.down.is_empty(), "{report:#?}");
    report.files.into_iter().map(|file| file.outcome).collect()
}

/// With faults, as people read them.
async fn refused(harness: &Harness, files: &Files) -> (Vec<FileReport>, String) {
    let Report { files, faults, .. } = load(&harness.service, &files.root(), None).await.unwrap();
    assert!(!faults.is_empty());
    (files, faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn rows(all: u64, changed: u64) -> Outcome {
    Outcome::Rows { all, changed }
}

const TABLE: &str =
    "CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, name VARCHAR(100))";

const PEOPLE: &str = "people:
  - { id: 1, email: ada@example.com, name: Ada }
  - { id: 2, email: ben@example.com, name: Ben }
";

#[tokio::test]
async fn a_changed_file_changes_its_rows_and_an_unchanged_one_none() {
    for target in targets() {
        for store in stores().await {
            let files = Files::new();
            files
                .write(
                    "fixtures/shop/01_schema.sql",
                    &format!("-- tables\n{TABLE};\nCREATE INDEX by_name ON people (name);\n"),
                )
                .write("fixtures/shop/02_people.yaml", PEOPLE)
                .write(
                    "fixtures/shop/03_more.json",
                    r#"{ "people": [ { "id": 3, "email": "cleo@example.com" } ] }"#,
                )
                .write("fixtures/shop/notes.md", "what these are");
            let harness = harness(&store.store, &target.url);
            let all = || target.rows("SELECT id, email, name FROM people ORDER BY id");
            let outcomes = loaded(&harness, &files, None).await;
            assert_eq!(outcomes, [Outcome::Script, rows(2, 2), rows(1, 1)], "{:?}", target.dialect);
            let before = all();
            assert_eq!(before[2], [Some("3".to_owned()), Some("cleo@example.com".to_owned()), None]);

            assert_eq!(loaded(&harness, &files, None).await, [Outcome::Known; 3]);
            assert_eq!(all(), before);

            // What people do to the database meanwhile stays, but for the rows of the file that changes.
            target.execute("UPDATE people SET name = 'Cleo' WHERE id = 3");
            files.write("fixtures/shop/02_people.yaml", &PEOPLE.replace("name: Ben", "name: Benno"));
            let outcomes = loaded(&harness, &files, None).await;
            assert_eq!(outcomes, [Outcome::Known, rows(2, 1), Outcome::Known]);
            let names: Vec<_> = all().into_iter().map(|row| row[2].clone().unwrap()).collect();
            assert_eq!(names, ["Ada", "Benno", "Cleo"]);

            let page = EventPage { limit: 10, before: None };
            let events = store.store.events(&EventFilter::default(), &page).await.unwrap();
            assert_eq!(events.len(), 4);
            let newest = &events[0];
            assert_eq!((newest.event.as_str(), newest.seq), ("fixtures.loaded", 2));
            assert_eq!(newest.details["path"], "02_people.yaml");
            assert_eq!(newest.details["hash"].as_str().unwrap().len(), 64);
            assert_eq!(newest.rows, Some(serde_json::json!({ "matched": 2, "affected": 1 })));
            assert!(events.iter().all(|event| !format!("{event:?}").contains("example.com")), "{events:#?}");
            let verified = audit::verify(&store.store).await.unwrap();
            assert!(matches!(verified, Verification::Intact(found) if found.events == 4));
            target.execute("DROP TABLE people");
        }
    }
}

#[tokio::test]
async fn an_overlay_lies_above_the_base_and_stays_there() {
    for target in targets() {
        for store in stores().await {
            target.execute(TABLE);
            let files = Files::new();
            files
                .write("fixtures/shop/01_people.yaml", PEOPLE)
                // In part: the rest of the row is left alone.
                .write("fixtures.development/shop/01_people.yaml", "people: [ { id: 2, name: Overlaid } ]\n")
                .write("fixtures.staging/shop/01_people.yaml", "people: [ { id: 2, name: Staged } ]\n");
            let harness = harness(&store.store, &target.url);
            let name = || target.rows("SELECT name FROM people WHERE id = 2")[0][0].clone().unwrap();
            assert_eq!(loaded(&harness, &files, None).await, [rows(2, 2)]);
            assert_eq!(name(), "Ben");
            let development = Some("development");
            assert_eq!(loaded(&harness, &files, development).await, [Outcome::Known, rows(1, 1)]);
            assert_eq!(name(), "Overlaid");
            assert_eq!(loaded(&harness, &files, development).await, [Outcome::Known; 2]);
            // The base writes over it, and it comes back.
            files.write("fixtures/shop/01_people.yaml", &PEOPLE.replace("Ada", "Ada B."));
            assert_eq!(loaded(&harness, &files, development).await, [rows(2, 2), rows(1, 1)]);
            assert_eq!(name(), "Overlaid");
            assert_eq!(loaded(&harness, &files, development).await, [Outcome::Known; 2]);
            assert_eq!(loaded(&harness, &files, Some("nowhere")).await, [Outcome::Known]);
            target.execute("DROP TABLE people");
        }
    }
}
