//! Bodies: JSON read strictly, then field by field, so that every fault is told at once and at its place.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::problem::{FieldError, Problem};
pub use crate::domain::json::Strict;
use crate::domain::number::is_same_number;

impl Strict {
    /// # Errors
    /// `invalid_body` for what is no JSON, has a member twice, or a number that would not be read as it is written: the
    /// wrong person could be meant by it.
    pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
        if let Some(line) = imprecise_number(bytes) {
            let detail =
                format!("a number on line {line} has too many digits for JSON: write it as a string");
            return Err(Problem::invalid(vec![FieldError::new("", detail)]));
        }
        serde_json::from_slice::<Self>(bytes).map(|strict| strict.0).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "an object names a member twice",
                _ => "not valid JSON",
            };
            let place = format!("{what}, at line {} column {}", error.line(), error.column());
            Problem::invalid(vec![FieldError::new("", place)])
        })
    }
}

/// The members of a body, taken one by one. A fault leaves an empty value behind and is told by [`Self::end`].
pub struct Fields {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
    /// The place of this object in the body.
    place: String,
}

impl Fields {
    /// # Errors
    /// When the body is no object.
    pub fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(members) => Ok(Self { members, errors: Vec::new(), place: String::new() }),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must be an object")])),
        }
    }

    /// A text that must be there and hold something; `max` in characters.
    pub fn text(&mut self, name: &str, max: usize) -> String {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.remove(name);
            self.fault(name, "is required");
            return String::new();
        }
        self.optional_text(name, max).unwrap_or_default()
    }

    /// A text that may be null or absent, but not empty; `max` in characters.
    pub fn optional_text(&mut self, name: &str, max: usize) -> Option<String> {
        match self.members.remove(name)? {
            Value::Null => return None,
            Value::String(text) if text.trim().is_empty() => self.fault(name, "must not be empty"),
            Value::String(text) if text.chars().count() > max => {
                self.fault(name, &format!("must not be longer than {max} characters"));
            }
            Value::String(text) if text.contains('\0') => self.fault(name, "must not hold U+0000"),
            Value::String(text) => return Some(text),
            _ => self.fault(name, "must be a string"),
        }
        None
    }

    /// An RFC 3339 time that may be null or absent; cut to microseconds.
    pub fn optional_time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.optional_text(name, 64)?;
        let time = time(&text);
        if time.is_none() {
            self.fault(name, "must be an RFC 3339 time, such as 2026-11-02T09:00:00Z");
        }
        time
    }

    /// An object that must be there: names and whatever values.
    pub fn object(&mut self, name: &str) -> BTreeMap<String, Value> {
        match self.members.remove(name) {
            Some(Value::Object(members)) => return members.into_iter().collect(),
            None | Some(Value::Null) => self.fault(name, "is required"),
            Some(_) => self.fault(name, "must be an object"),
        }
        BTreeMap::new()
    }

    /// True for a member that is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A time that must be there.
    pub fn time(&mut self, name: &str) -> DateTime<Utc> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.remove(name);
            self.fault(name, "is required");
        }
        self.optional_time(name).unwrap_or_default()
    }

    /// A word that must be there, one of a list.
    pub fn word<T: Copy>(&mut self, name: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Option<T> {
        let text = self.text(name, 64);
        let found = all.iter().copied().find(|value| word(*value) == text);
        if found.is_none() && !text.is_empty() {
            let words: Vec<&str> = all.iter().copied().map(word).collect();
            self.fault(name, &format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A word that may be null or absent, one of a list.
    pub fn optional_word<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        if !self.has(name) {
            self.members.remove(name);
            return None;
        }
        self.word(name, all, word)
    }

    /// A whole number that must be there.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> u32 {
        let number = self.members.remove(name).unwrap_or_default();
        let read = number.as_u64().and_then(|number| u32::try_from(number).ok());
        if let Some(number) = read.filter(|number| range.contains(number)) {
            return number;
        }
        self.fault(name, &format!("must be a whole number from {} to {}", range.start(), range.end()));
        0
    }

    /// A choice that is not made where it is false, null or absent.
    pub fn choice(&mut self, name: &str) -> bool {
        match self.members.remove(name) {
            None | Some(Value::Null) => return false,
            Some(Value::Bool(is_made)) => return is_made,
            Some(_) => self.fault(name, "must be true or false"),
        }
        false
    }

    /// An object with members of its own, which `read` takes; it may be null or absent.
    pub fn optional_part<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::Object(members) => {
                let place = format!("{}{}", self.place, pointer(name));
                let mut part = Self { members, errors: Vec::new(), place };
                let read = read(&mut part);
                self.errors.extend(part.faults());
                Some(read)
            }
            _ => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// Members of other bodies of this route: clients that are generated from its schema send them as null.
    pub fn pass_null(&mut self, names: &[&str]) {
        for name in names {
            if self.members.get(*name).is_some_and(Value::is_null) {
                self.members.remove(*name);
            }
        }
    }

    pub fn fault(&mut self, name: &str, detail: &str) {
        self.errors.push(FieldError::new(format!("{}{}", self.place, pointer(name)), detail));
    }

    /// What was wrong, members that nobody asked for included.
    fn faults(mut self) -> Vec<FieldError> {
        let unknown: Vec<String> = self.members.keys().cloned().collect();
        for name in unknown {
            self.fault(&name, "is not known");
        }
        self.errors
    }

    /// # Errors
    /// All faults, members that nobody asked for included.
    pub fn end(self) -> Result<(), Problem> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
    }
}

/// An RFC 3339 time, cut to microseconds. The 60th second of a leap second is taken for the first of the next minute:
/// no database keeps it.
#[must_use]
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    DateTime::from_timestamp_micros(time.timestamp_micros())
}

/// The line of the first number with more digits than every reader of JSON keeps (RFC 8259 §6).
fn imprecise_number(bytes: &[u8]) -> Option<usize> {
    let mut line = 1;
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'"' => after_string(after),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                let (number, after) = rest.split_at(end);
                if !is_precise(number) {
                    return Some(line);
                }
                after
            }
            _ => {
                line += usize::from(first == b'\n');
                after
            }
        };
    }
    None
}

fn after_string(mut rest: &[u8]) -> &[u8] {
    loop {
        match rest {
            [b'\\', _, after @ ..] => rest = after,
            [b'"', after @ ..] => return after,
            [_, after @ ..] => rest = after,
            [] => return rest,
        }
    }
}

fn is_precise(number: &[u8]) -> bool {
    let text = std::str::from_utf8(number).unwrap_or_default();
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return true;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let are_kept = digits.trim_start_matches('0').len() <= f64::DIGITS as usize;
    match text.parse::<f64>() {
        // Too close to zero for all of its digits, unless as a double is written that is no nearer to another one.
        Ok(read) if read.is_finite() && (!read.is_normal() || !are_kept) => {
            is_same_number(&Value::from(read).to_string(), text)
        }
        _ => are_kept,
    }
}

/// JSON pointer to a member of the body (RFC 6901).
#[must_use]
pub fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        assert!(Strict::parse(br#"{"subject":{"email":"a","email":"b"}}"#).is_err());
        assert!(Strict::parse(br#"{"a":1,"b":{"a":1.5,"c":[null,true,-1,"x"]}}"#).is_ok());
        assert!(Strict::parse(b"{").is_err());
        assert!(Strict::parse("[".repeat(200).as_bytes()).is_err());
    }

    #[test]
    fn a_number_is_read_as_it_is_written_or_refused() {
        for body in [
            r#"{"a":[1,-2,0.1,18446744073709551615,1e3,123456789012345,0.000000000123456789012345]}"#,
            "[0.30000000000000004,1000000000000000.0,1.7976931348623157e+308]",
            r#"{"a":"0.10000000000000000001","b":"\\","c":"\"100000000000000000001"}"#,
        ] {
            assert!(Strict::parse(body.as_bytes()).is_ok(), "{body}");
        }
        for number in ["0.19384959358896914", "3e23", "1e-39", "2.2250738585072014e-308"] {
            let read = Strict::parse(number.as_bytes()).unwrap();
            assert!(is_same_number(&read.to_string(), number), "{number} is read as {read}");
        }
        for body in [
            r#"{"a":0.10000000000000000001}"#,
            "[100000000000000000001]",
            "[123456.12345678901234]",
            "[1234567901234543.3]",
            "[1e-400]",
            "[4.94065645841246e-324]",
        ] {
            assert!(Strict::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_leap_second_is_a_time_that_databases_keep() {
        let leap = time("2016-12-31T23:59:60.25Z").unwrap();
        assert_eq!(leap.to_rfc3339(), "2017-01-01T00:00:00.250+00:00");
        assert_eq!(time("2016-12-31T23:59:59.1234567Z").unwrap().timestamp_subsec_micros(), 123_456);
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut fields = Fields::of(json!({
            "plan": 7, "reason": "x".repeat(11), "external_id": null, "at": "yesterday", "sub/ject": 1
        }))
        .unwrap();
        fields.text("kind", 10);
        fields.text("plan", 10);
        fields.optional_text("reason", 10);
        assert_eq!(fields.optional_text("external_id", 10), None);
        fields.optional_time("at");
        let pointers: Vec<_> = fields.errors.iter().map(|error| error.pointer.clone()).collect();
        assert_eq!(pointers, ["/kind", "/plan", "/reason", "/at"]);
        assert_eq!(fields.end().unwrap_err().code(), crate::http::problem::Code::InvalidBody);
    }
}
