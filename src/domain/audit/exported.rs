//! An event in an export: as the API shows it, and beside it its place in the log.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    Event,
    plain::{end_of_text, end_of_value},
    raw::RawEvent,
};

/// An event and its leaf index; `None` while it waits for one. The index is no part of the event, and not of its hash.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    #[serde(flatten)]
    pub event: Event,
    pub index: Option<u64>,
}

/// Hands over the event in a line of NDJSON, and its leaf index; `None` where the line is none.
pub fn read_line<T>(line: &[u8], take: impl FnOnce(&RawEvent<'_>, Option<u64>) -> T) -> Option<T> {
    if let Some((event, index)) = (Cursor { line, at: 0 }).line() {
        return Some(take(&event, index));
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    Some(take(&line.raw(), line.index))
}

/// Reads a line in the form in which exports are written. Most have no escapes in their texts, and so need no parsing.
struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Option<(RawEvent<'a>, Option<u64>)> {
        let event = RawEvent {
            id: self.key(b"{\"id\":")?.text()?,
            stream: self.key(b",\"stream\":")?.text()?,
            seq: self.key(b",\"seq\":")?.number()?,
            at: self.key(b",\"at\":")?.text()?,
            event: self.key(b",\"event\":")?.text()?,
            request_id: self.key(b",\"request_id\":")?.optional(Self::text)?,
            subject_ref: self.key(b",\"subject_ref\":")?.optional(Self::text)?,
            actor: self.key(b",\"actor\":")?.text()?,
            step: self.key(b",\"step\":")?.optional(Self::text)?,
            action: self.key(b",\"action\":")?.optional(Self::text)?,
            rows: self.key(b",\"rows\":")?.optional(Self::json)?,
            details: self.key(b",\"details\":")?.json()?,
            prev_hash: self.key(b",\"prev_hash\":")?.text()?,
            hash: self.key(b",\"hash\":")?.text()?,
        };
        let index = self.key(b",\"index\":")?.optional(Self::number)?;
        (self.line.get(self.at..)? == b"}").then_some((event, index))
    }

    fn key(&mut self, key: &[u8]) -> Option<&mut Self> {
        self.line.get(self.at..)?.starts_with(key).then_some(())?;
        self.at += key.len();
        Some(self)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.key(b"null") {
            Some(_) => Some(None),
            None => read(self).map(Some),
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = end_of_text(self.line, self.at)?;
        let text = &self.line[self.at + 1..end - 1];
        self.at = end;
        Some(text)
    }

    fn json(&mut self) -> Option<&'a [u8]> {
        let end = end_of_value(self.line, self.at)?;
        let json = &self.line[self.at..end];
        self.at = end;
        Some(json)
    }

    fn number<N: std::str::FromStr>(&mut self) -> Option<N> {
        std::str::from_utf8(self.json()?).ok()?.parse().ok()
    }
}

/// Any other JSON that says the same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    stream: String,
    seq: i64,
    at: String,
    event: String,
    request_id: Option<String>,
    subject_ref: Option<String>,
    actor: String,
    step: Option<String>,
    action: Option<String>,
    rows: Option<Box<RawValue>>,
    details: Box<RawValue>,
    prev_hash: String,
    hash: String,
    #[serde(deserialize_with = "required")]
    index: Option<u64>,
}

/// Null is an answer; nothing is none, and what an export of an older version has.
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(deserializer)
}

impl Line {
    fn raw(&self) -> RawEvent<'_> {
        fn bytes(text: &Option<String>) -> Option<&[u8]> {
            text.as_deref().map(str::as_bytes)
        }
        RawEvent {
            id: self.id.as_bytes(),
            stream: self.stream.as_bytes(),
            seq: self.seq,
            at: self.at.as_bytes(),
            event: self.event.as_bytes(),
            request_id: bytes(&self.request_id),
            subject_ref: bytes(&self.subject_ref),
            actor: self.actor.as_bytes(),
            step: bytes(&self.step),
            action: bytes(&self.action),
            rows: self.rows.as_ref().map(|rows| rows.get().as_bytes()),
            details: self.details.get().as_bytes(),
            prev_hash: self.prev_hash.as_bytes(),
            hash: self.hash.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        audit::{ChainHead, EventName, NewEvent, raw::Hasher},
        clock::Clock,
    };

    fn exported(actor: &str, details: Value, index: Option<u64>) -> String {
        let new = NewEvent {
            rows: Some(json!({ "matched": 1 })),
            ..NewEvent::new(EventName::RequestCreated, actor, details)
        };
        let event = Event::chained(new, Clock.new_id(), "request:x", Clock.now(), &mut ChainHead::default());
        serde_json::to_string(&Exported { event, index }).unwrap()
    }

    /// The index, where the hash is that of the content.
    fn verified(line: &str) -> Option<Option<u64>> {
        read_line(line.as_bytes(), |event, index| {
            let hash = Hasher::default().hash(&[0; 32], event)?;
            (crate::domain::audit::hex(&hash).as_bytes() == event.hash).then_some(index)
        })?
    }

    #[test]
    fn a_line_is_read_whatever_its_texts_and_its_form_are() {
        let lines = [
            exported("alice", json!({ "batch": 1, "a": [true, null, "ü"] }), Some(7)),
            exported("a\"b\\c\n\u{1}", json!({ "z": 1.5, "a": -0.0, "ü": "\t" }), Some(7)),
        ];
        assert!((Cursor { line: lines[0].as_bytes(), at: 0 }).line().is_some(), "the short way");
        for line in &lines {
            assert_eq!(verified(line), Some(Some(7)), "{line}");
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(verified(&serde_json::to_string_pretty(&value).unwrap()), Some(Some(7)), "{line}");
        }
        assert_eq!(verified(&exported("alice", json!({}), None)), Some(None));
    }

    #[test]
    fn what_is_no_line_is_none() {
        let line = exported("alice", json!({ "batch": 1 }), Some(7));
        assert_eq!(verified(&line.replace("alice", "malice")), None);
        let wrong = [
            line.replace(",\"index\":7", ""),
            line.replace(",\"index\":7", ",\"index\":-7"),
            line.replace(",\"index\":7", ",\"index\":7,\"more\":1"),
            line.replace(",\"index\":7", ",\"index\":7,\"index\":8"),
            line.replace("\"actor\"", "\"akteur\""),
            line.clone() + "x",
            String::new(),
            "[]".to_owned(),
            "{\"id\":".repeat(1000),
        ];
        for wrong in wrong {
            assert!(read_line(wrong.as_bytes(), |_, _| ()).is_none(), "{wrong}");
        }
        for cut in 0..line.len() {
            assert!(read_line(&line.as_bytes()[..cut], |_, _| ()).is_none(), "{cut}");
        }
    }
}
