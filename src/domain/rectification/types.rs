//! What the name of a type says: lengths, precisions, labels.

use crate::domain::schema::Family;

/// The numbers in the first brackets: `numeric(10,2)` → 10, 2.
pub(super) fn arguments(type_name: &str) -> Vec<u32> {
    let inner = type_name.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
    inner
        .map(|inner| inner.split(',').filter_map(|part| part.trim().parse().ok()).collect())
        .unwrap_or_default()
}

/// The first word, in small letters: `decimal(10,2) unsigned` → `decimal`.
pub(super) fn word(type_name: &str) -> String {
    type_name.split(['(', ' ', '[']).next().unwrap_or_default().to_ascii_lowercase()
}

/// The labels of `enum('a','it''s')`.
pub(super) fn labels(type_name: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut chars = type_name.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\'' {
            continue;
        }
        let mut label = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_some() => label.push('\''),
                '\'' => break,
                // As the catalog writes what cannot be seen.
                '\\' => label.extend(chars.next().map(|escaped| match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    other => other,
                })),
                other => label.push(other),
            }
        }
        labels.push(label);
    }
    labels
}

/// The type of an element of a PostgreSQL array, and its family where that decides how its text is written.
pub(super) fn element(type_name: &str) -> (&str, Family) {
    let name = type_name.trim_end_matches("[]");
    let family = match word(name).as_str() {
        "smallint" | "integer" | "bigint" | "oid" => Family::Integer,
        "numeric" | "real" | "double" => Family::Number,
        "boolean" => Family::Boolean,
        "date" | "time" | "timestamp" => Family::Time,
        "bytea" => Family::Binary,
        "json" | "jsonb" => Family::Json,
        "uuid" => Family::Uuid,
        "text" | "character" | "citext" | "name" => Family::Text,
        _ => Family::Other,
    };
    (name, family)
}

/// How many characters `character varying(20)` takes.
pub(super) fn characters(type_name: &str) -> Option<u32> {
    word(type_name).starts_with("char").then(|| arguments(type_name).first().copied()).flatten()
}
