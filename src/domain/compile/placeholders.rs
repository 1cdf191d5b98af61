//! `{users.id}` in trusted SQL.

use crate::domain::plan::Reference;

/// Text and placeholders in turn.
pub(super) enum Part {
    Text(String),
    Reference(Reference),
}

/// Splits trusted SQL. Braces in quotes and comments, and such as hold no dotted name (`'{}'::text[]`, JSON),
/// stay text.
pub(super) fn split(sql: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = opaque(rest) {
            text.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if let Some((reference, length)) = placeholder(rest) {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Reference(reference));
            rest = &rest[length..];
        } else {
            text.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// The length of a quoted text, quoted identifier or comment that begins here.
fn opaque(text: &str) -> Option<usize> {
    for (open, close) in [("'", "'"), ("\"", "\""), ("`", "`"), ("--", "\n"), ("/*", "*/")] {
        if let Some(inner) = text.strip_prefix(open) {
            return Some(inner.find(close).map_or(text.len(), |at| open.len() + at + close.len()));
        }
    }
    None
}

fn placeholder(text: &str) -> Option<(Reference, usize)> {
    let inner = text.strip_prefix('{')?;
    let mut in_quotes = false;
    let end = inner.find(|c: char| {
        in_quotes ^= c == '"';
        c == '}' && !in_quotes
    })?;
    let reference = Reference::split(inner[..end].trim())?;
    (2..=4).contains(&reference.parts.len()).then_some((reference, end + 2))
}
