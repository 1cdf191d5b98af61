//! Who signs checkpoints, and where they go.

use std::path::Path;

use super::{GOOD, variable};
use crate::{
    config::{Config, EvidencePlace, parse},
    domain::checkpoint::NewKey,
};

fn read(section: &str, keys: &[&NewKey]) -> Result<Config, String> {
    let known = |name: &str| match name.strip_prefix("KEY") {
        Some(number) => Some(keys[number.parse::<usize>().unwrap()].private.clone()),
        None => variable(name),
    };
    let webhooks = "webhooks: { panel: { url: https://panel.example/hook, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw } }\n";
    parse(Path::new("/etc/rightful/rightful.yaml"), &format!("{GOOD}{webhooks}{section}"), &known)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_key_gives_the_log_its_origin_and_places_have_names() {
    let key = NewKey::generate("shop.example/audit").unwrap();
    let sinks = "sinks: [ { file: /srv/checkpoint }, { store: evidence }, { store: s3://bucket/p }, { webhook: panel } ]";
    let evidence = read(&format!("evidence:\n  key: ${{KEY0}}\n  {sinks}\n"), &[&key]).unwrap().evidence;
    assert_eq!((evidence.origin.as_str(), evidence.keys.len()), ("shop.example/audit", 1));
    let names: Vec<&str> = evidence.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(
        names,
        ["file:/srv/checkpoint", "store:/etc/rightful/evidence", "store:s3://bucket/p", "webhook:panel"]
    );
    assert!(matches!(&evidence.sinks[3].place, EvidencePlace::Webhook(name) if name == "panel"));
    assert!(!format!("{evidence:?}").contains("PRIVATE"));
}

#[test]
fn several_keys_of_one_log_may_sign() {
    let (old, new) = (NewKey::generate("a").unwrap(), NewKey::generate("a").unwrap());
    let evidence =
        read("evidence: { key: [\"${KEY0}\", \"${KEY1}\"], origin: a }\n", &[&old, &new]).unwrap().evidence;
    assert_eq!(evidence.keys.len(), 2);
}

#[test]
fn what_cannot_be_is_refused_without_the_key() {
    let (a, b) = (NewKey::generate("a").unwrap(), NewKey::generate("b").unwrap());
    for (section, expected) in [
        ("{ origin: a }", "evidence.key is missing"),
        ("{ key: \"${KEY0}x\" }", "it is not PRIVATE+KEY"),
        ("{ key: [\"${KEY0}\", \"${KEY1}\"] }", "is a key of `b`, not of `a`"),
        ("{ key: \"${KEY0}\", origin: b }", "is a key of `a`, not of `b`"),
        ("{ key: \"${KEY0}\", origin: \"a b\" }", "`a b` is no origin"),
        ("{ key: \"${KEY0}\", sinks: [ { file: x, store: y } ] }", "is one place"),
        ("{ key: \"${KEY0}\", sinks: [ { webhook: pannel } ] }", "did you mean `panel`?"),
        ("{ key: \"${KEY0}\", sinks: [ { file: x }, { file: x } ] }", "this place twice"),
        ("{ keys: x }", "did you mean `key`?"),
    ] {
        let refused = read(&format!("evidence: {section}\n"), &[&a, &b]).unwrap_err();
        assert!(refused.contains(expected), "{section}: {refused}");
        assert!(!refused.contains(&a.private), "{refused}");
    }
}
