//! From the parser's events to nodes. The parser's own loader keeps neither the text of a number (`007`) nor two
//! keys of the same name; this one keeps both, and bounds depth and size.

use std::{borrow::Cow, collections::BTreeMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{At, Node, Value};

/// Deeper nesting is refused: nodes are taken apart recursively.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may copy in all: an alias of an alias of an alias grows exponentially.
const MAX_COPIED: usize = 10_000;

type Problem = (usize, String);

/// A list or map that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<At<String>>,
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
    documents: usize,
    /// The last line of the text, from 1.
    last: usize,
}

/// Reads one document.
pub(super) fn load(text: &str) -> Result<Node, Problem> {
    // What is missing at the end is missed behind the last line.
    let last = text.lines().count().max(1);
    let mut loader = Loader { last, ..Loader::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            (error.marker().line().clamp(1, last), format!("this is not valid YAML: {}", error.info()))
        })?;
        loader.event(event, span)?;
    }
    Ok(loader.root.unwrap_or(Node { line: 1, value: Value::Null }))
}

impl Loader {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line().clamp(1, self.last);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((line, "a second document begins here; only one is read".to_owned()));
                }
                Ok(())
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| (line, "an alias inside of what it stands for".to_owned()))?;
                self.copied += size(&node);
                if self.copied > MAX_COPIED {
                    return Err((line, "aliases copy too much here".to_owned()));
                }
                self.close(node, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_deref());
                self.close(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(line, Value::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.open(line, Value::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, line: usize, value: Value, anchor: usize) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(Open { node: Node { line, value }, anchor, key: None });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.node.value, parent.key.take()) {
            (Value::Map(pairs), Some(key)) => pairs.push((key, node)),
            (Value::Map(_), None) => {
                let Some(text) = node.as_str() else {
                    return Err((node.line, format!("a key must be text, found {}", node.kind_name())));
                };
                parent.key = Some(At { line: node.line, value: text.to_owned() });
            }
            (Value::List(items), _) => items.push(node),
            (Value::Null | Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let quoted = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
    if !quoted && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar { text: text.into_owned(), quoted }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(pairs) => 1 + pairs.iter().map(|(_, node)| size(node)).sum::<usize>(),
        Value::Null | Value::Scalar { .. } => 1,
    }
}
