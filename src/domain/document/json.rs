//! From JSON to nodes. As in YAML a scalar keeps the text that it was written with: no digit of a number is lost.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{At, Node, Value};

/// Deeper nesting is refused: nodes are taken apart recursively, and every level is read once more.
const MAX_DEPTH: usize = 64;

type Problem = (usize, String);

/// Keys and values in the order of the text, duplicates included.
struct Pairs<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Pairs<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Collect).map(Pairs)
    }
}

/// The text, and where its lines begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl Lines<'_> {
    /// From 1. `part` lies in the text.
    fn of(&self, part: &str) -> usize {
        let offset = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.starts.partition_point(|start| *start <= offset).max(1)
    }
}

/// Reads one value.
pub(super) fn load(text: &str) -> Result<Node, Problem> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let lines = Lines { text, starts: std::iter::once(0).chain(breaks).collect() };
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = error.line().max(1);
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "this JSON ends before it is complete",
            _ => "this is not valid JSON",
        };
        (place, problem.to_owned())
    })?;
    node(&lines, whole, 0)
}

fn node(lines: &Lines<'_>, raw: &RawValue, depth: usize) -> Result<Node, Problem> {
    let text = raw.get();
    let line = lines.of(text);
    if depth >= MAX_DEPTH {
        return Err((line, format!("nested more than {MAX_DEPTH} levels deep")));
    }
    // The value was read once as a whole: only a number or text that no string can hold is still to be refused.
    let invalid = |_| (line, "this is not valid JSON".to_owned());
    let value = match text.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text).map_err(invalid)?;
            let pairs = pairs.into_iter().map(|(key, raw)| {
                let node = node(lines, raw, depth + 1)?;
                Ok((At { line: node.line, value: key }, node))
            });
            Value::Map(pairs.collect::<Result<_, Problem>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
            Value::List(items.into_iter().map(|raw| node(lines, raw, depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Scalar { text: serde_json::from_str(text).map_err(invalid)?, quoted: true },
        _ if text == "null" => Value::Null,
        _ => Value::Scalar { text: text.to_owned(), quoted: false },
    };
    Ok(Node { line, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines_and_keep_their_digits() {
        let text = "{\n  \"users\": [\n    { \"id\": 9007199254740993, \"sum\": 0.10,\n      \"name\": \"\\ud83d\\ude00\" },\n    null\n  ]\n}";
        let root = load(text).unwrap();
        let (_, users) = root.as_map().unwrap().next().unwrap();
        let rows = users.as_list().unwrap();
        let values: Vec<(usize, Option<&str>, bool)> = rows[0]
            .as_map()
            .unwrap()
            .map(|(key, value)| (key.line, value.as_str(), value.is_quoted()))
            .collect();
        let wanted =
            [(3, Some("9007199254740993"), false), (3, Some("0.10"), false), (4, Some("\u{1f600}"), true)];
        assert_eq!(values, wanted);
        assert_eq!((rows[0].line, rows[1].line, rows[1].is_null()), (3, 5, true));
    }

    #[test]
    fn faults_have_a_line_and_quote_nothing() {
        let (line, problem) = load("{\n \"a\": secret }").unwrap_err();
        assert_eq!((line, problem.contains("secret")), (2, false));
        assert!(load("{").unwrap_err().1.contains("complete"));
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        assert!(load(&deep).unwrap_err().1.contains("levels"));
    }
}
