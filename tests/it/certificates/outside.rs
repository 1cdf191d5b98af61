//! Verification as an auditor does it: by the command, offline and without configuration, or by the program in `examples/`.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::one;
use crate::support::{in_ci, left_out};

fn verified(folder: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rightful"))
        .args(["certificate", "verify"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read anything.
    let _ = command.stdin.take().unwrap().write_all(stdin);
    command.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_is_certified_or_what_is_wrong() {
    let (world, certificate) = one().await;
    let public = world.key.public.as_str();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("good.json"), &certificate).unwrap();
    std::fs::write(at("bad.json"), certificate.replace("\"affected\":1", "\"affected\":2")).unwrap();
    let other = rightful::domain::checkpoint::NewKey::generate(super::ORIGIN).unwrap().public;
    std::fs::write(at("log.pub"), format!("{public}\n")).unwrap();

    let good = verified(folder.path(), &["good.json", "--key", public], b"");
    assert!(good.status.success(), "{good:?}");
    let json: Value = serde_json::from_str(&certificate).unwrap();
    let shown = text(&good.stdout);
    for says in [
        "certified: erasure ",
        json["statement"]["request_id"].as_str().unwrap(),
        "is completed (done_with_exceptions)",
        "shop.orders keep withheld: 0 rows done, 1 withheld, § 147 AO",
        "in the log rightful.test/audit",
    ] {
        assert!(shown.contains(says), "{says} is not in {shown}");
    }
    for keys in [vec!["--key", "log.pub"], vec!["--key", &other, "--key", public]] {
        let arguments = [vec!["-"], keys, vec!["--json"]].concat();
        let good = verified(folder.path(), &arguments, certificate.as_bytes());
        let answer: Value = serde_json::from_slice(&good.stdout).unwrap_or_else(|_| panic!("{good:?}"));
        assert_eq!((&answer["ok"], &answer["failed"]), (&true.into(), &Value::Null), "{answer}");
        assert_eq!(answer["request_id"], json["statement"]["request_id"]);
        assert_eq!(answer["log"]["origin"], super::ORIGIN);
    }
    let bad = verified(folder.path(), &["bad.json", "--key", public, "--json"], b"");
    assert_eq!(bad.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["failed"]), (&false.into(), &"statement".into()), "{answer}");
    for (arguments, says) in [
        (["bad.json", "--key", public], "the statement is not the one"),
        (["good.json", "--key", &other], "none of the given keys has signed it"),
        (["none.json", "--key", public], "none.json: entity not found"),
    ] {
        let output = verified(folder.path(), &arguments, b"");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = text(&output.stderr);
        assert!(line.contains(says) && line.lines().count() == 1, "{says} is not in {line}");
    }
    for (keys, says) in [
        (vec![], "--key"),
        (vec!["--key", "none.pub"], "not NAME+ID+KEY"),
        (vec!["--key", "good.json"], "not NAME+ID+KEY"),
        (vec!["--key", &world.key.private], "it is a private key"),
    ] {
        let output = verified(folder.path(), &[vec!["good.json"], keys].concat(), b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let told = text(&output.stderr);
        assert!(told.contains(says) && !told.contains(&world.key.private), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_for_auditors_agrees() {
    let (world, certificate) = one().await;
    let public = world.key.public.as_str();
    let folder = tempfile::tempdir().unwrap();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/verify_certificate.py");
    let run = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        Command::new("python3").arg(program).args([name, public]).current_dir(folder.path()).output()
    };
    let Ok(good) = run("good.json", &certificate) else {
        assert!(!in_ci(), "CI=true, and no python3");
        return left_out("examples/verify_certificate.py, there is no python3");
    };
    assert!(good.status.success(), "{good:?}");
    let shown = text(&good.stdout);
    assert!(
        shown.starts_with("certified: erasure ") && shown.contains("in the log rightful.test/audit"),
        "{shown}"
    );
    let bad = run("bad.json", &certificate.replace("withheld", "completed")).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(text(&bad.stderr).starts_with("refused: "), "{bad:?}");
}
