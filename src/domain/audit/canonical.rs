//! The bytes of an event that are hashed: its RFC 8785 JSON without its two hashes.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Event;

/// Integers beyond this are written as floats by RFC 8785, which knows no other numbers.
const EXACT: u64 = 1 << 53;

/// In the order of the keys.
#[derive(Serialize)]
struct Body<'a> {
    action: Option<&'a str>,
    actor: &'a str,
    at: &'a str,
    details: &'a Value,
    event: &'a str,
    id: Uuid,
    request_id: Option<Uuid>,
    rows: Option<&'a Value>,
    seq: i64,
    step: Option<&'a str>,
    stream: &'a str,
    subject_ref: Option<&'a str>,
}

/// The canonical form. What the service itself writes is plain, and then serde_json's own form is the canonical one at
/// a tenth of the cost; whatever else somebody may have put into a log takes the long way.
pub fn bytes(event: &Event) -> Vec<u8> {
    let body = Body {
        action: event.action.as_deref(),
        actor: &event.actor,
        at: &event.at,
        details: &event.details,
        event: &event.event,
        id: event.id,
        request_id: event.request_id,
        rows: event.rows.as_ref(),
        seq: event.seq,
        step: event.step.as_deref(),
        stream: &event.stream,
        subject_ref: event.subject_ref.as_deref(),
    };
    let plain = event.seq.unsigned_abs() < EXACT
        && is_plain(&event.details)
        && event.rows.as_ref().is_none_or(is_plain);
    let written = if plain { serde_json::to_vec(&body) } else { serde_json_canonicalizer::to_vec(&body) };
    written.expect("JSON of text keys and finite numbers can be written")
}

/// No number but exact integers, and keys whose order as bytes is that as UTF-16.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() < EXACT),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(members) => {
            members.keys().is_sorted() && members.iter().all(|(key, value)| key.is_ascii() && is_plain(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::audit::{
        genesis, hex,
        raw::{Hasher, tests::Texts},
    };

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000_i64..1000).prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = prop_oneof!["[a-z_]{1,8}", any::<String>()];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_short_way_and_the_long_way_agree(
            details in values(), rows in prop::option::of(values()), actor in any::<String>(), seq in any::<i64>()
        ) {
            let event = Event {
                id: Uuid::nil(),
                stream: "request:x".to_owned(),
                seq,
                at: "2026-11-02T09:00:00.000000Z".to_owned(),
                event: "step.batch".to_owned(),
                request_id: Some(Uuid::nil()),
                subject_ref: None,
                actor,
                step: Some("shop.users".to_owned()),
                action: None,
                rows,
                details,
                prev_hash: genesis(),
                hash: genesis(),
            };
            let mut whole = serde_json::to_value(&event).unwrap();
            whole.as_object_mut().unwrap().retain(|key, _| key != "prev_hash" && key != "hash");
            prop_assert_eq!(bytes(&event), serde_json_canonicalizer::to_vec(&whole).unwrap());
            // And the way of verification, from the text. No log gets as far as such a `seq`.
            if event.seq.unsigned_abs() < EXACT {
                let hash = Hasher::default().hash(&[0; 32], &Texts::of(&event).raw());
                prop_assert_eq!(hash.map(|hash| hex(&hash)), Some(event.computed_hash()));
            }
        }
    }
}
