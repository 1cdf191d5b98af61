//! Dumps of PostgreSQL, restored into a scratch database that is gone afterwards.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rightful::{
    connectors::backups::{Backup, RestoreInto},
    domain::backup::{Reason, Report},
};

use super::{assert_flawed, file, restore, verified};
use crate::support::{
    app::eventually,
    targets::{Dialect, Target, target},
};

/// A server's database whose scratch databases are this test's alone, and a dump of another one.
struct Server {
    own: Target,
    dumped: Target,
    folder: tempfile::TempDir,
}

const SHOP: &str = "CREATE SCHEMA sales;
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, note text);
CREATE TABLE sales.orders (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id));
CREATE TABLE empty (id bigint PRIMARY KEY);
INSERT INTO users SELECT i, 'user' || i || '@example.com', md5(i::text) FROM generate_series(1, 5000) i;
INSERT INTO sales.orders SELECT i, i FROM generate_series(1, 700) i;";

/// A table that takes minutes to restore, and no time at all where it is.
const SLOW: &str = "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  IF current_database() LIKE 'rightful_scratch%' THEN PERFORM pg_sleep(600); END IF; RETURN true; END $$;
CREATE TABLE waits (id bigint CHECK (public.slow()));
INSERT INTO waits VALUES (1);";

impl Server {
    fn with(schema: &str) -> Option<Self> {
        let own = target(Dialect::Postgres)?;
        let dumped = target(Dialect::Postgres)?;
        dumped.execute(schema);
        let server = Self { own, dumped, folder: tempfile::tempdir().unwrap() };
        dump(&server.dumped.url, &server.path());
        Some(server)
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("shop.dump")
    }

    fn backup(&self, tables: &[(&str, i64)]) -> Backup {
        let into = RestoreInto::Postgres { url: self.own.url.clone() };
        Backup { restore: restore(into, tables), ..file(&self.path()) }
    }

    async fn verified(&self) -> Report {
        verified(self.backup(&[("users", 5_000), ("sales.orders", 1)])).await
    }

    /// The scratch databases that are there.
    fn scratch(&self) -> Vec<String> {
        let rows = self.own.rows(
            "SELECT datname FROM pg_database WHERE datname LIKE 'rightful_scratch_' || \
             (SELECT oid FROM pg_database WHERE datname = current_database()) || '_%'",
        );
        rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for name in self.scratch() {
            self.own.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn dump(url: &str, path: &Path) {
    let dumped = Command::new("pg_dump").args(["--format=custom", "--file"]).arg(path).arg(url).status();
    assert!(dumped.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_dump_is_restored_counted_and_gone() {
    let Some(server) = Server::with(SHOP) else { return };
    let report = server.verified().await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.tables, [("sales.orders".to_owned(), 700), ("users".to_owned(), 5_000)].into());
    assert_eq!(server.scratch(), [""; 0]);
    // A table is found by its name alone, in whatever schema.
    assert!(verified(server.backup(&[("orders", 700)])).await.ok);
    assert_flawed(&verified(server.backup(&[("orders", 701)])).await, Reason::Rows, "has 700 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_truncated_empty_or_of_another_database_is_not_ok() {
    let Some(server) = Server::with(SHOP) else { return };
    let whole = fs::read(server.path()).unwrap();
    for cut in [whole.len() - 1, whole.len() - 2_000, whole.len() / 2, 2_000, 100, 5] {
        fs::write(server.path(), &whole[..cut]).unwrap();
        assert_flawed(&server.verified().await, Reason::Damaged, "truncated or damaged");
    }
    let mut damaged = whole.clone();
    let middle = damaged.len() - 30_000;
    damaged[middle..middle + 64].fill(0);
    fs::write(server.path(), &damaged).unwrap();
    assert_flawed(&server.verified().await, Reason::Damaged, "truncated or damaged");
    fs::write(server.path(), "-- a dump in SQL\nCREATE TABLE users ();").unwrap();
    assert_flawed(&server.verified().await, Reason::Damaged, "no custom-format dump");

    server.dumped.execute("TRUNCATE users CASCADE");
    dump(&server.dumped.url, &server.path());
    let report = server.verified().await;
    assert_eq!((report.ok, &report.reasons), (false, &vec![Reason::Rows]), "{report:?}");
    assert_eq!(report.tables["users"], 0);
    let other = Server::with("CREATE TABLE contacts (id int); INSERT INTO contacts VALUES (1)").unwrap();
    fs::copy(other.path(), server.path()).unwrap();
    assert_flawed(&server.verified().await, Reason::Rows, "no table `users`");
    assert_eq!(server.scratch(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rows_hold_is_in_no_message() {
    let schema = format!(
        "{SHOP} CREATE FUNCTION sober(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        RETURN current_database() NOT LIKE 'rightful_scratch%'; END $$;
        ALTER TABLE users ADD CHECK (public.sober(email));"
    );
    let Some(server) = Server::with(&schema) else { return };
    let report = server.verified().await;
    assert!(!report.ok && !format!("{report:?}").contains("example.com"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_server_that_cannot_be_used_is_not_ok() {
    let Some(server) = Server::with(SHOP) else { return };
    let at = |url: String| Backup {
        restore: restore(RestoreInto::Postgres { url }, &[("users", 1)]),
        ..file(&server.path())
    };
    let report = verified(at(server.own.unreachable_url())).await;
    assert_flawed(&report, Reason::Scratch, "did not accept the connection");
    let role = format!("limited_{}", std::process::id());
    server.own.execute(&format!("CREATE ROLE {role} LOGIN"));
    let report = verified(at(server.own.url.replace("postgres@", &format!("{role}@")))).await;
    server.own.execute(&format!("DROP ROLE {role}"));
    assert_flawed(&report, Reason::Scratch, "CREATEDB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_takes_too_long_leaves_nothing() {
    let Some(server) = Server::with(SLOW) else { return };
    let slow = Backup { timeout: Duration::from_secs(4), ..server.backup(&[("waits", 1)]) };
    assert_flawed(&verified(slow).await, Reason::Timeout, "pg_restore took longer");
    assert_eq!(server.scratch(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_verification_leaves_is_dropped_by_the_next_and_nothing_else() {
    let Some(server) = Server::with(SLOW) else { return };
    let folder = server.folder.path();
    super::cli::site(
        folder,
        &format!(
            "  shop: {{ kind: file, path: shop.dump, restore: postgres, scratch: \"{}\", tables: {{ waits: 1 }} }}\n",
            server.own.url
        ),
    );
    let mut killed = super::cli::command(folder, &["backup", "verify", "shop"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let restoring =
        "SELECT 1 FROM pg_stat_activity WHERE datname LIKE 'rightful_scratch%' AND wait_event = 'PgSleep'";
    eventually("the restore", async || server.scratch().len() == 1 && !server.own.rows(restoring).is_empty())
        .await;
    let [left] = &server.scratch()[..] else { panic!("one scratch database") };

    // While it runs, nobody drops it, and the same backup is not verified twice.
    let twice = super::cli::command(folder, &["backup", "verify", "shop"]).output().unwrap();
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8(twice.stderr).unwrap().contains("under way"));
    let good = Server::with(SHOP).unwrap();
    let other = || Backup {
        restore: restore(RestoreInto::Postgres { url: server.own.url.clone() }, &[("users", 1)]),
        ..file(&good.path())
    };
    assert!(verified(other()).await.ok);
    assert_eq!(server.scratch(), std::slice::from_ref(left));

    killed.kill().unwrap();
    killed.wait().unwrap();
    // What only looks like one of ours stays.
    let like = format!("{left}_copy");
    server.own.execute(&format!("CREATE DATABASE {like}"));
    let mut dropped = false;
    for _ in 0..20 {
        // The server may take a moment to notice that the session has ended.
        assert!(verified(other()).await.ok);
        dropped = server.scratch() == [like.clone()];
        if dropped {
            break;
        }
    }
    assert!(dropped, "{:?}", server.scratch());
}
