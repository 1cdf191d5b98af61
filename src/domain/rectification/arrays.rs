//! PostgreSQL's arrays, from JSON arrays (PostgreSQL documentation, 8.15.2).

use serde_json::Value;

use super::{
    System, times,
    types::{element, word},
    values::{binary, number, text},
};
use crate::domain::{audit::hex, schema::Family};

/// The array as the database reads it.
///
/// # Errors
/// Why it is none of that type.
pub(super) fn literal(given: &Value, type_name: &str) -> Result<String, String> {
    let (name, family) = element(type_name);
    match given {
        Value::Array(items) => written(items, name, family),
        _ => Err("it must be an array".to_owned()),
    }
}

fn written(items: &[Value], name: &str, family: Family) -> Result<String, String> {
    let items = items.iter().map(|item| match item {
        Value::Null => Ok("NULL".to_owned()),
        // An array within an array is its next dimension, but for JSON, where it is a value.
        Value::Array(inner) if family != Family::Json => written(inner, name, family),
        _ => Ok(quoted(&item_text(item, name, family)?)),
    });
    // The one type whose values hold commas that are no part of a list.
    let between = if name == "box" { ";" } else { "," };
    Ok(format!("{{{}}}", items.collect::<Result<Vec<_>, String>>()?.join(between)))
}

fn item_text(item: &Value, name: &str, family: Family) -> Result<String, String> {
    let refused = |what: &str| Err(format!("an element must be {what}"));
    match (family, item) {
        (Family::Json, _) => Ok(item.to_string()),
        (Family::Number, _) => {
            number(item, name, System::Postgres).map_err(|why| format!("an element: {why}"))
        }
        (Family::Integer, Value::Number(number)) => Ok(number.to_string()),
        (Family::Integer, Value::String(_)) => text(item).map(str::to_owned),
        (Family::Integer, _) => refused("a number"),
        (Family::Boolean, Value::Bool(flag)) => Ok(flag.to_string()),
        (Family::Boolean, _) => refused("true or false"),
        (Family::Time, _) => times::text(text(item)?, name, System::Postgres),
        (Family::Binary, _) => Ok(format!("\\x{}", hex(&binary(item, name, System::Postgres)?))),
        _ => {
            let given = text(item)?;
            match word(name).as_str() {
                "name" if given.len() > 63 => refused("of 63 bytes at most"),
                "\"char\"" if given.len() > 1 => refused("of one byte"),
                kind => times::range(given, kind).map(|()| given.to_owned()),
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
