//! The section `backups`.

use super::*;

const KEY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const BACKUPS: &str = r#"backups:
  shop: { kind: file, path: "out/shop-*.dump", max_age: 3h, min_size: 1MiB, checksum: sha256, retention_days: 35,
          restore: postgres, scratch: "postgres://u:hush@db/postgres", tables: { users: 1 }, schedule: "0 4 * * *" }
  crm: { kind: object_store, store: "s3://data/a", prefix: daily-, s3: { region: eu }, restore: sqlite, tables: { b: 2 } }
  disks: { kind: command, command: [bin/status, --json], timeout: 1m }
"#;

fn with(section: &str) -> Result<Config, Vec<Fault>> {
    parse_text(&format!("{GOOD}{section}"))
}

#[test]
fn backups_are_read() {
    let config = with(BACKUPS).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let shop = &config.backups["shop"];
    assert!(matches!(&shop.kind, BackupKind::File(path) if path == "/etc/rightful/out/shop-*.dump"));
    assert_eq!((shop.max_age, shop.min_size), (Some(Duration::from_secs(3 * 3_600)), Some(1 << 20)));
    assert_eq!((shop.has_checksum, shop.retention_days), (true, Some(35)));
    assert_eq!(shop.schedule.as_ref().unwrap().to_string(), "0 4 * * * (UTC)");
    let Some(Restore { into: RestoreInto::Postgres(url), tables }) = &shop.restore else { panic!() };
    assert_eq!((url.expose(), tables["users"]), ("postgres://u:hush@db/postgres", 1));
    let crm = &config.backups["crm"];
    let BackupKind::ObjectStore { store: ExportStore::Bucket { name, region, .. }, prefix } = &crm.kind
    else {
        panic!()
    };
    assert_eq!((name.as_str(), region.as_str(), prefix.as_str()), ("data", "eu", "daily-"));
    // A daily backup that is not empty, unless something else is said.
    assert_eq!((crm.max_age, crm.min_size), (Some(Duration::from_secs(26 * 3_600)), Some(1)));
    let disks = &config.backups["disks"];
    let BackupKind::Command { argv, .. } = &disks.kind else { panic!() };
    assert_eq!(argv, &["/etc/rightful/bin/status", "--json"]);
    assert_eq!((disks.max_age, disks.min_size, disks.timeout), (None, None, Duration::from_secs(60)));
    assert!(!format!("{config:?}").contains("hush"));
}

/// One part replaced, and what the fault must say.
#[test]
fn faults_of_backups_are_told() {
    for (from, to, says) in [
        ("kind: file", "kind: tape", "no kind of backup"),
        ("kind: file, ", "", "has no `kind`"),
        ("path:", "paht:", "did you mean `path`?"),
        ("path: \"out/shop-*.dump\", ", "", "has no `path`"),
        ("out/shop-*.dump", "out/[", "no pattern"),
        ("  shop:", "  a.b:", "no name of a backup"),
        ("  shop:", "  crm:", "stands twice"),
        ("1MiB", "1 mega", "is no size"),
        ("1MiB", "0", "is no size"),
        ("max_age: 3h", "max_age: 3", "whole number and a unit"),
        ("retention_days: 35", "retention_days: a month", "from 1 to 36600"),
        ("checksum: sha256", "checksum: md5", "`checksum` is sha256"),
        ("restore: postgres", "restore: mysql", "`restore` is sqlite or postgres"),
        ("restore: postgres", "restore: sqlite", "`scratch` belongs to restore: postgres"),
        ("scratch: \"postgres://u:hush@db/postgres\", ", "", "has no `scratch`"),
        ("postgres://u:hush@db/postgres", "mysql://u:hush@db/x", "`scratch` is no PostgreSQL"),
        ("restore: postgres, scratch: \"postgres://u:hush@db/postgres\", ", "", "belongs to a restore test"),
        ("tables: { users: 1 }", "tables: { users: 0 }", "which rows its restore has to bring back"),
        ("tables: { users: 1 }, ", "", "which rows its restore has to bring back"),
        ("tables: { users: 1 }", "tables: { users: some }", "are no number"),
        ("store: \"s3://data/a\"", "store: \"ftp://data/a\"", "not a place for backups"),
        ("store: \"s3://data/a\"", "store: folder", "store is no bucket"),
        ("[bin/status, --json]", "bin/status", "list"),
        ("[bin/status, --json]", "[]", "names no program"),
        ("kind: command,", "kind: command, restore: sqlite,", "means nothing for kind command"),
        ("kind: command,", "kind: command, path: x,", "means nothing for kind command"),
        ("kind: object_store,", "kind: object_store, encrypted: age,", "has no `identity`"),
        ("kind: object_store,", "kind: object_store, identity: hush,", "is not encrypted"),
        ("kind: object_store,", "kind: object_store, encrypted: age, identity: hush,", "no AGE-SECRET-KEY-1"),
    ] {
        assert!(BACKUPS.contains(from), "{from}");
        let faults = with(&BACKUPS.replacen(from, to, 1)).expect_err(to);
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{to}: {faults:#?}");
        assert!(faults.iter().all(|fault| !fault.to_string().contains("hush")), "{faults:#?}");
    }
}

#[test]
fn an_identity_is_a_file_of_age_keygen() {
    let key = crate::domain::backup::Identity::parse(KEY).is_some();
    assert!(key, "the key of the age specification");
    for (text, fits) in [
        (format!("# created: today\n# public key: age1\n{KEY}\n"), true),
        (format!("{KEY}\n{KEY}\n"), false),
        ("# nothing\n".to_owned(), false),
        (KEY.replace("GFPYY", "GFPYZ"), false),
    ] {
        assert_eq!(crate::domain::backup::Identity::parse(&text).is_some(), fits, "{text}");
    }
}
