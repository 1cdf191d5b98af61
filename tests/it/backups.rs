//! Backups are verified on both stores, with real dumps and real files: what is not known to be good is not ok.

mod cli;
mod dumps;
mod files;
mod verifying;

use std::{collections::BTreeMap, path::Path, time::Duration};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use rightful::{
    connectors::backups::{Backup, Restore, RestoreInto, Source},
    domain::backup::{Expected, Reason, Report},
    service::backups::{Backups, verify},
};

use crate::support::{
    app::{Setup, TestApp},
    stores::TestStore,
};

/// A file of that pattern, without further expectations.
fn file(pattern: &Path) -> Backup {
    backup(Source::Files(pattern.display().to_string()))
}

fn backup(source: Source) -> Backup {
    Backup {
        source,
        expected: Expected { min_size: Some(1), ..Expected::default() },
        has_checksum: false,
        identity: None,
        restore: None,
        timeout: Duration::from_secs(60),
    }
}

fn command(argv: &[&str]) -> Backup {
    let argv = argv.iter().map(|part| (*part).to_owned()).collect();
    Backup { expected: Expected::default(), ..backup(Source::Command { argv, folder: std::env::temp_dir() }) }
}

fn restore(into: RestoreInto, tables: &[(&str, i64)]) -> Option<Restore> {
    let tables = tables.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect();
    Some(Restore { into, tables })
}

fn configured(backups: impl IntoIterator<Item = (&'static str, Backup)>) -> Backups {
    let configured = |(name, backup): (&str, Backup)| (name.to_owned(), backup);
    Backups { by_name: backups.into_iter().map(configured).collect::<BTreeMap<_, _>>() }
}

async fn app(store: TestStore, backups: Backups) -> TestApp {
    TestApp::with(store, Setup { backups, ..Setup::default() }).await
}

/// Verifies one backup on a SQLite store, where the store makes no difference.
async fn verified(backup: Backup) -> Report {
    let app = app(crate::support::stores::sqlite_store().await, configured([("shop", backup)])).await;
    verify(&app.service, "shop").await.unwrap()
}

#[track_caller]
fn assert_flawed(report: &Report, reason: Reason, says: &str) {
    assert!(!report.ok, "{report:?}");
    assert_eq!(report.reasons, [reason], "{report:?}");
    let message = report.message.as_deref().unwrap_or_default();
    assert!(message.contains(says), "`{says}` is not in: {message}");
}

/// A SQLite file with a few rows, as a backup tool leaves it.
fn sqlite_file(path: &Path, users: usize) {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(&format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), note TEXT);
         CREATE INDEX orders_user ON orders (user_id);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users})
           INSERT INTO users SELECT i, 'user' || i || '@example.com' FROM n WHERE {users} > 0;
         INSERT INTO orders (user_id, note) SELECT id, hex(randomblob(200)) FROM users;"
    ))
    .unwrap();
}
