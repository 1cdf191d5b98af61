//! `rightful backup`, as a person runs it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::sqlite_file;

/// Writes a configuration with these backups, and migrates its store.
pub fn site(folder: &Path, backups: &str) {
    let config = format!(
        "store: sqlite:rightful.db\nauth:\n  issuer: tests\n  audience: tests\n  \
         keys: {{ hmac_secret: \"0123456789abcdef0123456789abcdef\" }}\n\
         secrets: {{ pseudonym_key: \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" }}\nbackups:\n{backups}"
    );
    std::fs::write(folder.join("rightful.yaml"), config).unwrap();
    let migrated = run(folder, &["migrate"]);
    assert!(migrated.status.success(), "{migrated:?}");
}

pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rightful"));
    command.current_dir(folder).args(arguments).env_remove("RUST_LOG");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_exit_code_says_whether_all_are_ok() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    sqlite_file(&folder.join("out/shop-1.db"), 4);
    site(
        folder,
        "  shop: { kind: file, path: \"out/shop-*.db\", restore: sqlite, tables: { users: 1, orders: 4 } }\n  \
         crm: { kind: file, path: \"out/crm-*.db\" }\n",
    );
    let listed = run(folder, &["backup", "list"]);
    assert!(listed.status.success());
    assert_eq!(stdout(&listed).matches("NOT OK: it was never verified").count(), 2, "{listed:?}");

    let one = run(folder, &["backup", "verify", "shop", "--json"]);
    assert!(one.status.success(), "{one:?}");
    let reports: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!((reports.as_array().unwrap().len(), &reports[0]["ok"]), (1, &Value::Bool(true)));
    assert_eq!(reports[0]["tables"]["orders"], 4);

    let all = run(folder, &["backup", "verify"]);
    assert_eq!(all.status.code(), Some(1), "{all:?}");
    let shown = stdout(&all);
    assert!(shown.contains("shop: ok, 0 min old"), "{shown}");
    assert!(shown.contains("crm: NOT OK: there is no file of this pattern"), "{shown}");
    assert!(String::from_utf8(all.stderr).unwrap().contains("backup `crm` is not ok"));
    let listed: Value = serde_json::from_slice(&run(folder, &["backup", "list", "--json"]).stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["ok"]), (&Value::from("crm"), &Value::Bool(false)));
    assert_eq!((&listed[1]["name"], &listed[1]["ok"]), (&Value::from("shop"), &Value::Bool(true)));

    let unknown = run(folder, &["backup", "verify", "other"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no backup `other`"));
}

#[test]
fn without_pg_restore_a_dump_is_not_ok_and_the_message_says_what_to_install() {
    let Some(server) = crate::support::targets::target(crate::support::targets::Dialect::Postgres) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.dump"), "PGDMP, as far as anybody looks").unwrap();
    site(
        folder.path(),
        &format!(
            "  shop: {{ kind: file, path: shop.dump, restore: postgres, scratch: \"{}\", tables: {{ users: 1 }} }}\n",
            server.url
        ),
    );
    let output = command(folder.path(), &["backup", "verify"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("pg_restore is not installed: install"), "{output:?}");
    let scratch = "SELECT datname FROM pg_database WHERE datname LIKE 'rightful_scratch_' || \
         (SELECT oid FROM pg_database WHERE datname = current_database()) || '_%'";
    assert!(server.rows(scratch).is_empty());
}
