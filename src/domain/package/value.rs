//! Values on their way into a package. Each keeps what its type means; none is ever shown by `Debug`.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

/// One value of a row. Personal data.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// A number as JSON writes it (RFC 8259 §6), with all its digits.
    Number(String),
    /// Also decimals, dates and whatever else has no type of its own in JSON.
    Text(String),
    /// Written as base64 (RFC 4648 §4).
    Bytes(Vec<u8>),
    /// Valid JSON.
    Json(String),
}

impl Value {
    /// JSON stays JSON; what only claims to be stays a text.
    #[must_use]
    pub fn json(text: String) -> Self {
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Self::Json(text),
            Err(_) => Self::Text(text),
        }
    }

    /// # Errors
    /// When `out` takes no more.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Null => out.write_all(b"null"),
            Self::Bool(value) => out.write_all(if *value { b"true" } else { b"false" }),
            Self::Number(text) | Self::Json(text) => out.write_all(text.as_bytes()),
            Self::Text(text) => Ok(serde_json::to_writer(out, text)?),
            Self::Bytes(bytes) => Ok(serde_json::to_writer(out, &STANDARD.encode(bytes))?),
        }
    }

    /// A field after RFC 4180: NULL is empty, an empty text or binary is a pair of quotes.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) | Self::Json(text) => write_field(text, out),
            Self::Bytes(bytes) => write_field(&STANDARD.encode(bytes), out),
            other => out.write_all(other.shown().as_bytes()),
        }
    }

    /// For people; NULL is empty.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) | Self::Text(text) | Self::Json(text) => text.clone(),
            Self::Bytes(bytes) => STANDARD.encode(bytes),
        }
    }
}

/// A text as a field of RFC 4180, in quotes where it must be.
///
/// # Errors
/// When `out` takes no more.
pub fn write_field(text: &str, out: &mut impl Write) -> io::Result<()> {
    let needs_quotes = text.is_empty() || text.contains(['"', ',', '\r', '\n']) || text.trim() != text;
    match needs_quotes {
        true => write!(out, "\"{}\"", text.replace('"', "\"\"")),
        false => out.write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_what_they_mean() {
        for (value, json, csv) in [
            (Value::Null, "null", ""),
            (Value::Text(String::new()), "\"\"", "\"\""),
            (Value::Bool(true), "true", "true"),
            (Value::Number("9223372036854775807".to_owned()), "9223372036854775807", "9223372036854775807"),
            (Value::Text("12.30".to_owned()), "\"12.30\"", "12.30"),
            (Value::Text("a \"b\", 🦀\n".to_owned()), "\"a \\\"b\\\", 🦀\\n\"", "\"a \"\"b\"\", 🦀\n\""),
            (Value::Text("\u{0}".to_owned()), "\"\\u0000\"", "\u{0}"),
            (Value::Bytes(vec![0, 255]), "\"AP8=\"", "AP8="),
            (Value::Bytes(Vec::new()), "\"\"", "\"\""),
            (Value::json("{\"a\": [1e400]}".to_owned()), "{\"a\": [1e400]}", "\"{\"\"a\"\": [1e400]}\""),
            (Value::json("{".to_owned()), "\"{\"", "{"),
        ] {
            let (mut as_json, mut as_csv) = (Vec::new(), Vec::new());
            value.write_json(&mut as_json).unwrap();
            value.write_csv(&mut as_csv).unwrap();
            assert_eq!(String::from_utf8(as_json).unwrap(), json);
            assert_eq!(String::from_utf8(as_csv).unwrap(), csv);
        }
    }
}
