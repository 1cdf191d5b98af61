//! The whole way, with the tools of each database: dump, erase, restore, replay. The oracle reads the tables itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use chrono::TimeDelta;
use rightful::domain::{clock::Clock, request::Status};
use serde_json::json;

use super::{
    audit_verifies, begin, erase, items,
    ledger::{entries, move_to},
    pacing, progress, to_the_end,
};
use crate::{
    crash::{PLAN, expect, schema, untouched},
    support::{
        harness::Harness,
        stores::{TestStore, stores},
        targets::{Dialect, Target, targets},
    },
};

/// Runs a program to its end; what it printed.
fn run(program: &str, arguments: &[&str], input: Option<&Path>) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input).unwrap());
    }
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn database(target: &Target) -> &str {
    target.url.rsplit('/').next().unwrap()
}

fn file(target: &Target) -> PathBuf {
    target.url.strip_prefix("sqlite:").unwrap().into()
}

const MARIADB: [&str; 2] = ["--host=127.0.0.1", "--user=root"];

fn dump(target: &Target, to: &Path) {
    let path = to.to_str().unwrap();
    match target.dialect {
        Dialect::Sqlite => drop(std::fs::copy(file(target), to).unwrap()),
        Dialect::Postgres => {
            run("pg_dump", &["--format=custom", "--file", path, &target.url], None);
        }
        Dialect::MySql => {
            let dumped = run("mariadb-dump", &[&MARIADB[..], &[database(target)]].concat(), None);
            std::fs::write(to, dumped).unwrap();
        }
    }
}

fn restore(target: &Target, from: &Path) {
    match target.dialect {
        Dialect::Sqlite => drop(std::fs::copy(from, file(target)).unwrap()),
        Dialect::Postgres => {
            let path = from.to_str().unwrap();
            let how = ["--clean", "--single-transaction", "--exit-on-error", "--dbname", &target.url, path];
            run("pg_restore", &how, None);
        }
        Dialect::MySql => {
            run("mariadb", &[&MARIADB[..], &[database(target)]].concat(), Some(from));
        }
    }
}

async fn shop(store: &TestStore, target: &Target) -> Harness {
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(PLAN).await.unwrap();
    harness
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_was_erased_is_left_after_a_restore() {
    for target in targets() {
        for store in stores().await {
            target.execute(&schema());
            through_a_restore(&store, &target).await;
            target.execute("DROP TABLE order_items; DROP TABLE orders; DROP TABLE notes; DROP TABLE visits; DROP TABLE users");
        }
    }
}

async fn through_a_restore(store: &TestStore, target: &Target) {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let harness = shop(store, target).await;
    // Before the backup, which does not bring this one back.
    erase(&harness, json!({ "user_id": 1 })).await;
    let [first] = entries(&harness).await.try_into().unwrap();
    move_to(&harness, &first, first.completed_at - TimeDelta::hours(1)).await;
    let since = Clock.now();
    // Its sessions would keep a database from being restored.
    drop(harness);
    dump(target, &backup);

    let harness = shop(store, target).await;
    for subject in [
        json!({ "user_id": 2 }),
        json!({ "email": "u3@example.com" }),
        json!({ "user_id": 6, "email": "u6@example.com" }),
        json!({ "email": "nobody@example.com" }),
    ] {
        let erased = erase(&harness, subject).await;
        assert_eq!(erased.status(), Status::Completed, "{erased:?}");
    }
    drop(harness);
    restore(target, &backup);
    let before = untouched(target);
    let users: Vec<_> = before["users"].iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert!(!users.contains(&"1"), "{:?}", target.dialect);
    assert!(["2", "3", "6"].iter().all(|user| users.contains(user)), "they are back: {users:?}");

    let harness = shop(store, target).await;
    let run = to_the_end(&harness, begin(&harness, Some(since)).await.id).await;
    let done = progress(&run);
    assert_eq!(run.status(), Status::Completed, "{:?}: {run:?}", target.dialect);
    assert_eq!((done.entries, done.completed, done.no_match, done.failed), (4, 3, 1, 0), "{done:?}");
    // The items of an order are kept by their basis, as in the erasures themselves.
    assert_eq!((done.with_exceptions, run.state.outcome().unwrap().as_str()), (3, "done_with_exceptions"));
    let mut all = untouched(target);
    // What the first one left was masked before the dump.
    let of_first = |row: &Vec<Option<String>>| row[0].as_ref().unwrap().parse::<usize>().unwrap() / 1000 == 1;
    let notes = |all: &std::collections::BTreeMap<String, crate::crash::Rows>| -> Vec<_> {
        all["notes"].iter().filter(|row| of_first(row)).cloned().collect()
    };
    assert_eq!(notes(&all), notes(&before));
    expect(&before, &all, &[2, 3, 6]);
    assert_eq!(items(&harness, run.id).await.len(), 4);

    // Once more over everything: the first one too, and nobody else.
    let again = to_the_end(&harness, begin(&harness, None).await.id).await;
    assert_eq!((again.status(), progress(&again).entries), (Status::Completed, 5), "{again:?}");
    let after = untouched(target);
    for table in ["users", "visits", "orders", "order_items"] {
        assert_eq!(all.remove(table), after.get(table).cloned(), "{:?}: {table}", target.dialect);
    }
    audit_verifies(&harness).await;
}
