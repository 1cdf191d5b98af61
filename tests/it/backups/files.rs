//! Files and objects: the newest, its age, size, checksum and encryption, and the restore test of SQLite.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use age::{secrecy::ExposeSecret, x25519};
use chrono::TimeDelta;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use rightful::{
    connectors::{
        backups::{Backup, Place, RestoreInto, Source},
        objects::Objects,
    },
    domain::{
        audit::hex,
        backup::{Expected, Identity, Reason},
    },
};

use super::{assert_flawed, backup, command, file, restore, sqlite_file, verified};

fn sqlite(pattern: &Path) -> Backup {
    Backup { restore: restore(RestoreInto::Sqlite, &[("users", 1), ("orders", 1)]), ..file(pattern) }
}

fn set_age(path: &Path, age: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the file's time, not the service's")]
    let now = SystemTime::now();
    File::options().write(true).open(path).unwrap().set_modified(now - age).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_file_is_restored_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop-2.db");
    sqlite_file(&path, 12);
    fs::write(folder.path().join("shop-1.db"), "an older one").unwrap();
    set_age(&folder.path().join("shop-1.db"), Duration::from_secs(3_600));
    let bytes = fs::read(&path).unwrap();
    let sum = sha256(&bytes);
    fs::write(folder.path().join("shop-2.db.sha256"), format!("{sum}  shop-2.db\n")).unwrap();
    let expected =
        Expected { max_age: Some(TimeDelta::hours(26)), min_size: Some(1_000), retention_days: Some(35) };
    // The checksum file is the newest of the pattern, and no backup.
    let pattern = folder.path().join("shop-*");
    let report = verified(Backup { expected, has_checksum: true, ..sqlite(&pattern) }).await;
    assert!(report.ok, "{report:?}");
    assert_eq!((report.reasons.len(), &report.message), (0, &None));
    assert_eq!(report.checksum, Some(sum));
    assert_eq!(report.size, i64::try_from(bytes.len()).ok());
    assert_eq!(report.tables, [("orders".to_owned(), 12), ("users".to_owned(), 12)].into());
    assert_eq!(report.retention_days, Some(35));
    assert!(report.age.is_some_and(|age| age < 60) && report.last_success.is_some());
    assert_eq!(fs::read(&path).unwrap(), bytes, "it was not written to");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_too_old_too_small_or_of_tomorrow_is_not_ok() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let pattern = folder.path().join("*.db");
    assert_flawed(&verified(file(&pattern)).await, Reason::NotFound, "no file of this pattern");
    fs::create_dir(folder.path().join("folder.db")).unwrap();
    assert_flawed(&verified(file(&pattern)).await, Reason::NotFound, "no file of this pattern");
    fs::write(&path, "").unwrap();
    assert_flawed(&verified(file(&pattern)).await, Reason::TooSmall, "empty");
    assert_flawed(&verified(sqlite(&pattern)).await, Reason::TooSmall, "empty");
    sqlite_file(&path, 3);
    let expecting = |max_age: i64, min_size: i64| Backup {
        expected: Expected {
            max_age: Some(TimeDelta::hours(max_age)),
            min_size: Some(min_size),
            retention_days: None,
        },
        ..file(&pattern)
    };
    assert!(verified(expecting(1, 100)).await.ok);
    assert_flawed(&verified(expecting(1, 1 << 30)).await, Reason::TooSmall, "at least 1073741824");
    set_age(&path, Duration::from_secs(2 * 3_600));
    assert_flawed(&verified(expecting(1, 100)).await, Reason::TooOld, "older than 1 h");
    assert!(verified(expecting(3, 100)).await.ok);
    #[expect(clippy::disallowed_methods, reason = "the file's time, not the service's")]
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    File::options().write(true).open(&path).unwrap().set_modified(tomorrow).unwrap();
    assert_flawed(&verified(expecting(3, 100)).await, Reason::InFuture, "future");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_is_missing_or_another_is_not_ok() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    sqlite_file(&path, 3);
    let sidecar = folder.path().join("shop.db.sha256");
    let checked = || Backup { has_checksum: true, ..sqlite(&path) };
    let report = verified(checked()).await;
    assert_flawed(&report, Reason::Checksum, "no shop.db.sha256");
    assert!(report.tables.is_empty(), "it is not restored");
    fs::write(&sidecar, format!("{}  shop.db\n", "0".repeat(64))).unwrap();
    assert_flawed(&verified(checked()).await, Reason::Checksum, "is not that of");
    let sum = sha256(&fs::read(&path).unwrap());
    fs::write(&sidecar, format!("{sum}  other.db\n")).unwrap();
    assert_flawed(&verified(checked()).await, Reason::Checksum, "holds no SHA-256 of shop.db");
    fs::write(&sidecar, format!("{sum} *backups/shop.db\n")).unwrap();
    assert!(verified(checked()).await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_is_damaged_or_another_is_not_ok() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let check = async || verified(sqlite(&path)).await;
    sqlite_file(&path, 200);
    assert!(check().await.ok);
    let whole = fs::read(&path).unwrap();

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_flawed(&check().await, Reason::Damaged, "truncated or damaged");
    let mut damaged = whole.clone();
    damaged[8_192..10_240].fill(0xaa);
    fs::write(&path, &damaged).unwrap();
    assert_flawed(&check().await, Reason::Damaged, "truncated or damaged");
    fs::write(&path, "PGDMP or anything else").unwrap();
    assert_flawed(&check().await, Reason::Damaged, "no SQLite file");

    fs::remove_file(&path).unwrap();
    sqlite_file(&path, 0);
    let report = check().await;
    assert_flawed(&report, Reason::Rows, "table `users` has 0 rows; at least 1 are expected");
    assert_eq!(report.tables["users"], 0);

    fs::remove_file(&path).unwrap();
    SqliteConnection::establish(path.to_str().unwrap())
        .unwrap()
        .batch_execute(
            "CREATE TABLE contacts (id); INSERT INTO contacts VALUES (1); CREATE VIEW users AS SELECT 1;",
        )
        .unwrap();
    assert_flawed(&check().await, Reason::Rows, "no table `users`");

    fs::write(&path, &whole).unwrap();
    SqliteConnection::establish(path.to_str().unwrap())
        .unwrap()
        .batch_execute("PRAGMA foreign_keys = OFF; DELETE FROM users WHERE id = 7")
        .unwrap();
    assert_flawed(&check().await, Reason::Damaged, "1 rows point at rows that are not there");
}

fn encrypted(plain: &[u8], key: &x25519::Identity) -> Vec<u8> {
    age::encrypt(&key.to_public(), plain).unwrap()
}

fn zipped(plain: &[u8]) -> Vec<u8> {
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(plain).unwrap();
    zip.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_file_needs_its_own_key() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (x25519::Identity::generate(), x25519::Identity::generate());
    let plain = folder.path().join("plain.db");
    sqlite_file(&plain, 50);
    let plain = fs::read(plain).unwrap();
    let path = folder.path().join("shop.db.age");
    let with = |key: &x25519::Identity| {
        let text = format!("# created: today\n{}\n", key.to_string().expose_secret());
        Backup { identity: Some(Identity::parse(&text).unwrap()), ..sqlite(&path) }
    };
    fs::write(&path, encrypted(&plain, &own)).unwrap();
    let report = verified(with(&own)).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.checksum, Some(sha256(&fs::read(&path).unwrap())), "of the file as it lies there");
    assert_flawed(&verified(with(&other)).await, Reason::Encryption, "another key");
    assert_flawed(&verified(sqlite(&path)).await, Reason::Damaged, "no SQLite file");
    let whole = fs::read(&path).unwrap();
    for cut in [whole.len() - 1, whole.len() / 2, 300] {
        fs::write(&path, &whole[..cut]).unwrap();
        let report = verified(with(&own)).await;
        assert!(!report.ok && report.reasons == [Reason::Damaged], "{cut}: {report:?}");
        // The key alone proves nothing: what is read to its end does, also without a restore.
        let report = verified(Backup { restore: None, ..with(&own) }).await;
        assert!(!report.ok && report.reasons == [Reason::Damaged], "{cut}: {report:?}");
    }
    fs::write(&path, &plain).unwrap();
    assert_flawed(&verified(with(&own)).await, Reason::Encryption, "is it encrypted at all?");

    let path = folder.path().join("shop.db.gz.age");
    let with = |pattern: &Path| Backup {
        identity: Identity::parse(own.to_string().expose_secret()),
        ..sqlite(pattern)
    };
    fs::write(&path, encrypted(&zipped(&plain), &own)).unwrap();
    assert!(verified(with(&path)).await.ok);
    let path = folder.path().join("shop.db.gz");
    fs::write(&path, zipped(&plain)).unwrap();
    assert!(verified(sqlite(&path)).await.ok);
    let zip = zipped(&plain);
    fs::write(&path, &zip[..zip.len() / 2]).unwrap();
    assert_flawed(&verified(sqlite(&path)).await, Reason::Damaged, "truncated or damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_object_of_a_prefix_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let of = |prefix: &str| Backup {
        has_checksum: true,
        restore: restore(RestoreInto::Sqlite, &[("users", 5)]),
        ..backup(Source::Objects {
            place: Place::Folder(folder.path().join("store")),
            prefix: prefix.to_owned(),
        })
    };
    assert_flawed(&verified(of("db/shop-")).await, Reason::Unreadable, "cannot be read");
    assert!(!folder.path().join("store").exists(), "nothing is made");
    let objects = Objects::folder(&folder.path().join("store")).unwrap();
    let plain = folder.path().join("plain.db");
    sqlite_file(&plain, 2_000);
    let bytes = fs::read(plain).unwrap();
    objects.put("db/shop-2", bytes.clone()).await.unwrap();
    assert_flawed(&verified(of("db/crm-")).await, Reason::NotFound, "no object of this prefix");
    assert_flawed(&verified(of("db/shop-")).await, Reason::Checksum, "no shop-2.sha256");
    objects.put("db/shop-2.sha256", format!("{}  shop-2\n", sha256(&bytes)).into_bytes()).await.unwrap();
    objects.put("db/shop-1", b"an older one".to_vec()).await.unwrap();
    set_age(&folder.path().join("store/db/shop-1"), Duration::from_secs(60));
    objects.put("db/other-3", b"a newer one of somebody else's".to_vec()).await.unwrap();
    let report = verified(of("db/shop-")).await;
    assert!(report.ok, "{report:?}");
    assert_eq!((report.tables["users"], report.size), (2_000, i64::try_from(bytes.len()).ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_it_itself_and_in_time() {
    let sh = |script: &str| command(&["sh", "-c", script]);
    let good = r#"echo '{ "ok": true, "last_success": "2026-01-02T03:04:05Z", "retention_days": 30, "size": 12,
                   "checksum": "abc", "message": "all is well" }'"#;
    let report = verified(sh(good)).await;
    assert!(report.ok, "{report:?}");
    assert_eq!((report.retention_days, report.size), (Some(30), Some(12)));
    assert_eq!((report.checksum.as_deref(), report.message.as_deref()), (Some("abc"), Some("all is well")));
    assert!(report.age.is_some_and(|age| age > 0));
    let aged = Expected { max_age: Some(TimeDelta::hours(26)), ..Expected::default() };
    let report = verified(Backup { expected: aged.clone(), ..sh(r#"echo '{ "ok": true }'"#) }).await;
    assert_flawed(&report, Reason::TooOld, "not said");
    let future = r#"echo '{ "ok": true, "last_success": "2126-01-02T03:04:05Z" }'"#;
    assert_flawed(&verified(Backup { expected: aged, ..sh(future) }).await, Reason::InFuture, "future");
    for (script, says) in [
        (r#"echo '{ "ok": true }'; exit 3"#, "exit code 3"),
        (r#"echo '{ "ok": false, "message": "disk full" }'"#, "disk full"),
        ("echo '{}'", "did not say `ok`"),
        ("echo fine", "did not print a JSON object"),
        ("true", "did not print a JSON object"),
        ("head -c 100000 /dev/zero", "more than 64 KiB"),
        ("kill -9 $$", "it was killed"),
    ] {
        assert_flawed(&verified(sh(script)).await, Reason::Command, says);
    }
    let missing = command(&["/nowhere/backup-status"]);
    assert_flawed(&verified(missing).await, Reason::ToolMissing, "no such program");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
    let report =
        verified(Backup { timeout: Duration::from_secs(1), ..command(&["sh", "-c", &script]) }).await;
    assert_flawed(&report, Reason::Timeout, "longer than `timeout`");
    assert!(report.duration_ms < 20_000, "{report:?}");
    let pid = fs::read_to_string(&pid).unwrap();
    let proc = format!("/proc/{}/stat", pid.trim());
    crate::support::app::eventually("the sleeper is killed", async || {
        // Where nobody collects it, it stays as a zombie.
        fs::read_to_string(&proc).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}
