//! YAML and JSON as nodes: what was read is the same when it is written and read again.

use rightful::domain::document::{Document, Fault, Node};
use serde_json::{Value, json};

/// YAML gives up on longer keys, unless they are marked as such.
const LONGEST_KEY: usize = 500;

/// What a node says, without its lines; a map keeps its order and the keys that stand twice.
pub fn tree(node: &Node) -> Value {
    if let Some(text) = node.as_str() {
        return json!(text);
    }
    if let Some(items) = node.as_list() {
        return json!({ "list": items.iter().map(tree).collect::<Vec<_>>() });
    }
    match node.as_map() {
        Some(pairs) => json!(pairs.map(|(key, value)| json!([key.value, tree(value)])).collect::<Vec<_>>()),
        None => Value::Null,
    }
}

/// A node as JSON, which is YAML too: plain words stay plain, everything else is quoted. `None` where that is not the same.
pub fn written(node: &Node) -> Option<String> {
    if let Some(text) = node.as_str() {
        let is_word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
                && !text.eq_ignore_ascii_case("null")
        };
        return match node.is_quoted() {
            true => Some(json!(text).to_string()),
            false => is_word(text).then(|| text.to_owned()),
        };
    }
    if let Some(items) = node.as_list() {
        let items: Vec<String> = items.iter().map(written).collect::<Option<_>>()?;
        return Some(format!("[{}]", items.join(", ")));
    }
    let Some(pairs) = node.as_map() else { return Some("null".to_owned()) };
    let pairs: Vec<String> = pairs
        .map(|(key, value)| {
            let is_short = key.value.len() < LONGEST_KEY;
            is_short.then_some(())?;
            Some(format!("{}: {}", json!(key.value), written(value)?))
        })
        .collect::<Option<_>>()?;
    Some(format!("{{{}}}", pairs.join(", ")))
}

/// The document, where it is one.
pub fn yaml(text: &str) -> Option<Node> {
    let node = match Document::parse("f", text) {
        Ok(node) => node,
        Err(faults) => {
            faults_are_sound(&faults, text);
            return None;
        }
    };
    lines_are_sound(&node, text);
    if let Some(written) = written(&node) {
        let again = Document::parse("f", &written).unwrap_or_else(|faults| panic!("{faults:?}: {written}"));
        assert_eq!(tree(&again), tree(&node), "{written}");
    }
    Some(node)
}

fn lines_are_sound(node: &Node, text: &str) {
    assert!((1..=lines(text)).contains(&node.line), "line {} of {}", node.line, lines(text));
    for item in node.as_list().unwrap_or_default() {
        lines_are_sound(item, text);
    }
    for (key, value) in node.as_map().into_iter().flatten() {
        assert!((1..=lines(text)).contains(&key.line), "line {} of {}", key.line, lines(text));
        lines_are_sound(value, text);
    }
}

/// Each fault says what and where, in the order of the text.
pub fn faults_are_sound(faults: &[Fault], text: &str) {
    assert!(!faults.is_empty());
    assert!(faults.is_sorted_by_key(|fault| fault.line));
    for fault in faults {
        assert!(fault.line.is_none_or(|line| (1..=lines(text)).contains(&line)), "{fault}");
        assert!(!fault.problem.is_empty(), "{fault}");
    }
}

fn lines(text: &str) -> usize {
    1 + text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count()
}
