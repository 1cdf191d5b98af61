//! Keys for checkpoints.

use super::{failure, rightful, text};

#[test]
fn keygen_writes_a_key_that_the_configuration_takes_and_prints_the_public_one() {
    let folder = tempfile::tempdir().unwrap();
    assert!(rightful(folder.path(), &["init"]).status.success());
    let arguments = ["keygen", "shop.example/audit", "--out", "secrets/evidence_key"];
    let output = rightful(folder.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let public = text(&output.stdout);
    assert!(public.starts_with("shop.example/audit+") && public.lines().count() == 1, "{public}");
    let file = folder.path().join("secrets/evidence_key");
    let private = std::fs::read_to_string(&file).unwrap();
    let id = public.split('+').nth(1).unwrap();
    assert!(private.starts_with(&format!("PRIVATE+KEY+shop.example/audit+{id}+")), "{private}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let configuration = folder.path().join("rightful.yaml");
    let before = std::fs::read_to_string(&configuration).unwrap();
    let section = "evidence: { key: \"${file:secrets/evidence_key}\", sinks: [ { file: checkpoint } ] }\n";
    std::fs::write(&configuration, format!("{before}{section}")).unwrap();
    let checked = rightful(folder.path(), &["check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(failure(&rightful(folder.path(), &arguments)).contains("cannot be written"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), private);
}

#[test]
fn without_a_file_both_keys_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = rightful(folder.path(), &["keygen", "a", "--json"]);
    let keys: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(keys["private_key"].as_str().unwrap().starts_with("PRIVATE+KEY+a+"), "{keys}");
    let printed = text(&rightful(folder.path(), &["keygen", "a"]).stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("PRIVATE+KEY+a+") && lines[1].starts_with("a+"), "{printed}");
    assert_eq!(rightful(folder.path(), &["keygen", "a b"]).status.code(), Some(2));
}
