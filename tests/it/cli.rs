//! The built binary, as a person runs it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

mod keygen;
mod services;
#[cfg(unix)]
mod serving;

use crate::support::{
    package::unzip,
    targets::{Dialect, Target, target},
};

/// Runs the binary in a folder, without the variables of this machine that could change the answer.
fn rightful(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rightful"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one line of a failure.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn init_writes_what_the_other_commands_read_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let output = rightful(folder.path(), &["init", "--connection", "shop=sqlite:shop.db"]);
    assert!(output.status.success(), "{output:?}");
    let next = text(&output.stdout);
    assert_eq!(next.lines().filter(|line| line.starts_with("  rightful ")).count(), 3, "{next}");

    let token = rightful(folder.path(), &["token", "--role", "admin", "--subject", "alice"]);
    assert!(token.status.success(), "{token:?}");
    assert_eq!(text(&token.stdout).trim().split('.').count(), 3);

    let configuration = std::fs::read_to_string(folder.path().join("rightful.yaml")).unwrap();
    assert!(failure(&rightful(folder.path(), &["init"])).contains("rightful.yaml exists already"));
    assert_eq!(std::fs::read_to_string(folder.path().join("rightful.yaml")).unwrap(), configuration);

    let ignored = std::fs::read_to_string(folder.path().join(".gitignore")).unwrap();
    assert!(ignored.contains("/secrets/"), "{ignored}");
}

#[cfg(unix)]
#[test]
fn init_keeps_secrets_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".gitignore"), "mine").unwrap();
    let url = "shop=postgres://app:hush-hush@localhost/shop";
    let output = rightful(folder.path(), &["init", "--connection", url]);
    assert!(output.status.success(), "{output:?}");
    let configuration = std::fs::read_to_string(folder.path().join("rightful.yaml")).unwrap();
    assert!(!configuration.contains("hush"), "{configuration}");
    let secrets: Vec<_> =
        std::fs::read_dir(folder.path().join("secrets")).unwrap().map(Result::unwrap).collect();
    assert_eq!(secrets.len(), 3);
    for file in secrets {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert!(
        std::fs::read_to_string(folder.path().join(".gitignore")).unwrap().starts_with("mine\n/secrets/\n")
    );
}

#[test]
fn a_token_needs_a_signing_secret() {
    let folder = tempfile::tempdir().unwrap();
    assert!(rightful(folder.path(), &["init"]).status.success());
    let path = folder.path().join("rightful.yaml");
    let asymmetric = std::fs::read_to_string(&path)
        .unwrap()
        .replace("hmac_secret: ${file:secrets/jwt_secret}", "jwks_url: https://idp.example/jwks.json");
    std::fs::write(&path, asymmetric).unwrap();
    let refused = rightful(folder.path(), &["token", "--role", "admin", "--subject", "alice"]);
    assert!(failure(&refused).contains("no signing secret"));
}

#[test]
fn usage_is_2_and_help_is_0() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in
        [&["nonsense"][..], &["token", "--role", "king", "--subject", "a"], &["init", "--connection", "x"]]
    {
        assert_eq!(rightful(folder.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
    for right in [&["--help"][..], &["init", "--help"], &["--version"]] {
        assert_eq!(rightful(folder.path(), right).status.code(), Some(0), "{right:?}");
    }
}

#[test]
fn faults_of_the_configuration_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = rightful(folder.path(), &["token", "--role", "admin", "--subject", "alice"]);
    assert!(failure(&missing).contains("rightful init"));
    std::fs::write(folder.path().join("rightful.yaml"), "listne: 1\nstore: x\n").unwrap();
    let wrong = rightful(folder.path(), &["token", "--role", "admin", "--subject", "alice"]);
    assert!(failure(&wrong).contains("did you mean `listen`?"));
}

/// A shop of three tables, and a folder whose configuration names it.
fn site(schema: &str) -> (tempfile::TempDir, Target) {
    let shop = target(Dialect::Sqlite).unwrap();
    shop.execute(schema);
    let folder = tempfile::tempdir().unwrap();
    let output = rightful(folder.path(), &["init", "--connection", &format!("shop={}", shop.url)]);
    assert!(output.status.success(), "{output:?}");
    (folder, shop)
}

const SHOP: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, password_hash TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), total INTEGER);
    CREATE TABLE visits (id INTEGER PRIMARY KEY, email TEXT NOT NULL);
    CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), body TEXT);
    INSERT INTO users VALUES (1, 'jane@example.com', 'x'), (2, 'joe@example.com', 'y');
    INSERT INTO orders VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30);
    INSERT INTO notes VALUES (1, 1, 'a');";

/// Drafts a plan for the users and writes it where the configuration looks.
fn drafted(folder: &Path) -> String {
    let output = rightful(folder, &["draft", "--connection", "shop", "--subject", "users.id"]);
    assert!(output.status.success(), "{output:?}");
    let plan = text(&output.stdout);
    std::fs::write(folder.join("plans/user.yaml"), &plan).unwrap();
    plan
}

#[test]
fn a_draft_passes_check_and_preview_counts_it() {
    let (folder, shop) = site(SHOP);
    drafted(folder.path());
    let checked = rightful(folder.path(), &["check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(text(&checked.stdout).contains("shop.users delete"), "{checked:?}");
    assert!(text(&checked.stdout).contains("retention.identities: for ever"), "{checked:?}");
    let configuration = folder.path().join("rightful.yaml");
    let kept = std::fs::read_to_string(&configuration).unwrap() + "\nretention: { identities: 90d }\n";
    std::fs::write(&configuration, kept).unwrap();
    let checked = rightful(folder.path(), &["check"]);
    assert!(text(&checked.stdout).contains("retention.identities: 90d"), "{checked:?}");
    let checked = rightful(folder.path(), &["check", "--json"]);
    let answer: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let periods = serde_json::json!({
        "identities": "90d", "requests": null, "idempotency_keys": null, "pseudonyms": null,
    });
    assert_eq!(answer["retention"], periods);

    let rows = || shop.rows("SELECT * FROM users ORDER BY id");
    let before = rows();
    let arguments = ["preview", "--plan", "user", "--kind", "erasure", "--subject", "email=JANE@example.com"];
    let counted = rightful(folder.path(), &[&arguments[..], &["--json"]].concat());
    assert!(counted.status.success(), "{counted:?}");
    let answer: Value = serde_json::from_slice(&counted.stdout).unwrap();
    let mut matched: Vec<(&str, u64)> = answer["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["name"].as_str().unwrap(), step["matched"].as_u64().unwrap()))
        .collect();
    matched.sort_unstable();
    assert_eq!(matched, [("shop.notes", 1), ("shop.orders", 2), ("shop.users", 1)]);
    assert_eq!(rows(), before);
    assert!(!folder.path().join("rightful.db").exists(), "a preview needs no store");

    let table = rightful(folder.path(), &arguments);
    assert!(text(&table.stdout).contains("shop.orders"), "{table:?}");
    let unknown = rightful(folder.path(), &["preview", "--plan", "nobody", "--subject", "email=a"]);
    assert!(failure(&unknown).contains("no plan `nobody`"));
}

#[test]
fn check_says_every_fault_with_its_line() {
    let (folder, _shop) = site(SHOP);
    let plan = drafted(folder.path());
    let wrong = plan
        .replace("user_id: users.id }   # foreign key orders", "user_ids: users.id }   # foreign key orders");
    let wrong = wrong.replacen("connections:\n", "conections: {}\nconnections:\n", 1);
    std::fs::write(folder.path().join("plans/user.yaml"), wrong).unwrap();
    std::fs::write(folder.path().join("plans/other.yaml"), "plan: other\n").unwrap();
    let output = rightful(folder.path(), &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = answer["faults"].as_array().unwrap();
    assert!(faults.iter().any(|fault| fault["remedy"] == "did you mean `connections`?"), "{faults:#?}");
    assert!(faults.iter().all(|fault| fault["line"].is_u64()), "{faults:#?}");
    assert!(
        faults.iter().any(|fault| fault["file"].as_str().unwrap().ends_with("other.yaml")),
        "{faults:#?}"
    );

    let served = rightful(folder.path(), &["serve"]);
    assert!(failure(&served).contains("`rightful check` shows all"));
}

#[test]
fn check_prepares_the_plans_own_sql() {
    let (folder, _shop) = site(SHOP);
    let visits =
        "    visits:\n      match: { email: users.email }\n      where: \"totl > 5\"\n      erase: delete\n";
    let plan = drafted(folder.path()) + visits;
    std::fs::write(folder.path().join("plans/user.yaml"), plan).unwrap();
    let output = rightful(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("totl"), "{output:?}");
}

#[test]
fn steps_that_are_no_tables_are_shown_and_code_must_be_registered() {
    let (folder, _shop) = site(SHOP);
    let plan = drafted(folder.path());
    let file = folder.path().join("plans/user.yaml");
    let manual = "manual: [ { name: paper_file, do: Shred it } ]\n";
    std::fs::write(&file, format!("{plan}\n{manual}")).unwrap();
    let output = rightful(folder.path(), &["check"]);
    assert!(text(&output.stdout).contains("paper_file manual\n"), "{output:?}");
    let preview = ["preview", "--plan", "user", "--subject", "user_id=1", "--json"];
    let output = rightful(folder.path(), &preview);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(answer["steps"].as_array().unwrap().last().unwrap()["do"], "Shred it");

    std::fs::write(&file, format!("{plan}\n{manual}code: [ {{ name: uploads }} ]\n")).unwrap();
    for command in ["check", "serve"] {
        let output = rightful(folder.path(), &[command]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("error: step `uploads` is code"), "{said}");
        assert!(said.contains("register it in the program that embeds this crate"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_connection_that_is_down_fails_the_check_and_is_named() {
    let (folder, _shop) = site(SHOP);
    let path = folder.path().join("rightful.yaml");
    let configuration = std::fs::read_to_string(&path).unwrap();
    let two =
        configuration.replace("connections:\n", "connections:\n  crm: { url: \"sqlite:not-there.db\" }\n");
    std::fs::write(&path, two).unwrap();
    drafted(folder.path());
    let output = rightful(folder.path(), &["check", "--json"]);
    assert!(failure(&output).contains("connection `crm` is down"));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["connections"]["crm"]["ok"], false);
    assert_eq!(answer["connections"]["shop"]["ok"], true);
}

#[test]
fn the_log_is_verified_and_exported_from_a_copy() {
    let (folder, _shop) = site(SHOP);
    let migrated = rightful(folder.path(), &["migrate"]);
    assert!(migrated.status.success(), "{migrated:?}");
    std::fs::copy(folder.path().join("rightful.db"), folder.path().join("copy.db")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("copy.db").display());
    // Without any configuration.
    let verified = rightful(elsewhere.path(), &["audit", "verify", "--json", "--store", &url]);
    let answer: Value = serde_json::from_slice(&verified.stdout).unwrap_or_else(|_| panic!("{verified:?}"));
    assert_eq!((answer["ok"].as_bool(), answer["events"].as_u64()), (Some(true), Some(0)));
    let out = elsewhere.path().join("audit.csv");
    let arguments = ["audit", "export", "--format", "csv", "--store", &url, "--out", out.to_str().unwrap()];
    assert!(rightful(elsewhere.path(), &arguments).status.success());
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("id,stream,seq"));
    assert!(failure(&rightful(elsewhere.path(), &arguments)).contains("audit.csv"));
    assert!(
        failure(&rightful(elsewhere.path(), &["audit", "verify", "--store", "sqlite:none.db"]))
            .contains("store")
    );
}

#[test]
fn the_demo_shows_every_kind_of_request_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rightful"))
        .args(["demo", "--exit"])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for says in [
        "jane.zip",
        "changed and read back",
        "completed, outcome done_with_exceptions",
        "100 %",
        "shop.comments/replies",
        "every chain intact",
    ] {
        assert!(shown.contains(says), "`{says}` is not in\n{shown}");
    }
    let kept = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    assert!(shown.contains(kept.to_str().unwrap()), "{shown}");
    let package = unzip(&std::fs::read(kept.join("jane.zip")).unwrap());
    assert!(package["index.html"].contains("selling things") && package.len() > 8, "{:?}", package.keys());
    let config = kept.join("rightful.yaml");
    let verified = rightful(folder.path(), &["--config", config.to_str().unwrap(), "audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}
