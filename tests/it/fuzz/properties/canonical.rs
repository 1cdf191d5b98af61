//! Canonical JSON: what is hashed as it stands, and what is written anew, are both what the reference implementation of
//! RFC 8785 writes; and a body is read as it is written, or refused.

use aws_lc_rs::digest::{SHA256, digest};
use rightful::domain::{
    audit::raw::{Hasher, RawEvent},
    document::{Document, Node},
    json::Strict,
    number::is_same_number,
};
use serde_json::{Value, json};

const EVENT: RawEvent<'static> = RawEvent {
    id: b"0",
    stream: b"request:0",
    seq: 1,
    at: b"2026-11-02T09:00:00.000000Z",
    event: b"step.batch",
    request_id: None,
    subject_ref: None,
    actor: b"alice",
    step: None,
    action: None,
    rows: None,
    details: b"{}",
    prev_hash: b"",
    hash: b"",
};

pub fn check(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok();
    let strict = serde_json::from_slice(data).ok().map(|Strict(value)| value);
    if let Some(strict) = &strict {
        assert_eq!(serde_json::from_slice::<Value>(data).ok().as_ref(), Some(strict));
    }
    hash_is_that_of(
        &RawEvent { details: data, ..EVENT },
        strict.as_ref().map(|details| ("details", details)),
    );
    hash_is_that_of(&RawEvent { rows: Some(data), ..EVENT }, strict.as_ref().map(|rows| ("rows", rows)));
    let actor = text.map(Value::from);
    hash_is_that_of(&RawEvent { actor: data, ..EVENT }, actor.as_ref().map(|actor| ("actor", actor)));
    if let Ok(body) = Strict::parse(data) {
        assert_eq!(strict.as_ref(), Some(&body));
        let node = Document::parse_json("f", text.expect("JSON is text"));
        if let Ok(node) = node {
            is_read_as_written(&node, &body);
        }
    }
    strict.is_some()
}

/// The event with that member as the reference has it; none where there is no such event.
fn hash_is_that_of(event: &RawEvent<'_>, member: Option<(&str, &Value)>) {
    let whole = member.and_then(|(name, value)| {
        let mut whole = json!({
            "id": "0", "stream": "request:0", "seq": 1, "at": "2026-11-02T09:00:00.000000Z", "event": "step.batch",
            "request_id": null, "subject_ref": null, "actor": "alice", "step": null, "action": null, "rows": null,
            "details": {},
        });
        whole[name] = value.clone();
        serde_json_canonicalizer::to_vec(&whole).ok()
    });
    let expected = whole.map(|whole| digest(&SHA256, &[&[0; 32], whole.as_slice()].concat()));
    let hash = Hasher::default().hash(&[0; 32], event);
    assert_eq!(hash.as_ref().map(<[u8; 32]>::as_slice), expected.as_ref().map(AsRef::as_ref));
}

/// Every number is the one that stands there, digit by digit.
fn is_read_as_written(node: &Node, value: &Value) {
    match value {
        Value::Number(number) => {
            let written = node.as_str().expect("a number has a text");
            assert!(is_same_number(written, &number.to_string()), "{written} is read as {number}");
        }
        Value::Array(values) => {
            for (node, value) in node.as_list().expect("a list").iter().zip(values) {
                is_read_as_written(node, value);
            }
        }
        Value::Object(members) => {
            for (key, node) in node.as_map().expect("a map") {
                is_read_as_written(node, &members[&key.value]);
            }
        }
        Value::String(text) => assert_eq!(node.as_str(), Some(text.as_str())),
        Value::Bool(is) => assert_eq!(node.as_bool(), Some(*is)),
        Value::Null => assert!(node.is_null()),
    }
}
