//! A given value against its column: what the type cannot hold, or would change without a word, is refused here. What
//! only the database can judge (its own types, domains) is tried there, before anything is written.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    Correctable, NewValue, System, arrays, sqlite, times,
    types::{arguments, characters, labels, word},
};
use crate::domain::{
    compile::canonical_text,
    number::is_same_number,
    schema::{Column, Family},
};

/// [`new_value`] for a column of the live schema, whoever asks.
///
/// # Errors
/// Why the column cannot hold it; never quotes it.
pub(in crate::domain) fn column_value(
    given: &Value,
    column: &Column,
    system: System,
) -> Result<NewValue, String> {
    new_value(given, &Correctable::of(column), system)
}

/// The value in the form in which it is written.
///
/// # Errors
/// Why the column cannot hold it; never quotes it.
pub(super) fn new_value(given: &Value, target: &Correctable, system: System) -> Result<NewValue, String> {
    if given.is_null() {
        return match target.column.nullable {
            true => Ok(NewValue::Null),
            false => Err("it is null, and the column is NOT NULL".to_owned()),
        };
    }
    let column = &target.column;
    let type_name = target.base_type();
    let value = match column.family {
        Family::Integer => integer(given, target, system)?,
        Family::Number => NewValue::Number(number(given, type_name, system)?),
        Family::Text => {
            let given = text(given)?;
            is_short_enough(given, target.max_length, type_name, system)?;
            NewValue::Text(canonical_text(given, column, system == System::Sqlite)?)
        }
        Family::Uuid => NewValue::Text(canonical_text(text(given)?, column, system == System::Sqlite)?),
        Family::Boolean => boolean(given, system)?,
        Family::Time => match given {
            // Seconds since 1970 or a Julian day, as applications keep them.
            Value::Number(number) if system == System::Sqlite => NewValue::Number(number.to_string()),
            _ => NewValue::Text(times::text(text(given)?, type_name, system)?),
        },
        Family::Binary => NewValue::Bytes(binary(given, type_name, system)?),
        Family::Json => NewValue::Text(given.to_string()),
        Family::Enum if system == System::MySql => NewValue::Text(label(text(given)?, type_name)?),
        Family::Enum => NewValue::Text(text(given)?.to_owned()),
        Family::Array => NewValue::Text(arrays::literal(given, type_name)?),
        Family::Any => any(given)?,
        Family::Other => other(given, type_name, system)?,
    };
    match value {
        NewValue::Text(text) if system == System::Sqlite => sqlite::text(text, column),
        value => Ok(value),
    }
}

/// A text, as every database can hold it.
pub(super) fn text(given: &Value) -> Result<&str, String> {
    match given {
        Value::String(text) if text.contains('\0') => Err("it holds a NUL character".to_owned()),
        Value::String(text) => Ok(text),
        _ => Err("it must be a string".to_owned()),
    }
}

fn is_short_enough(
    text: &str,
    max_length: Option<u32>,
    type_name: &str,
    system: System,
) -> Result<(), String> {
    let (length, most, what) = match (system, word(type_name).as_str()) {
        // Their lengths are counted in bytes.
        (System::MySql, "tinytext") => (text.len(), 255, "bytes"),
        (System::MySql, "text") => (text.len(), 65_535, "bytes"),
        (System::Postgres, "name") => (text.len(), 63, "bytes"),
        _ => {
            let most = max_length.or_else(|| characters(type_name).filter(|_| system == System::Postgres));
            (text.chars().count(), most.map_or(usize::MAX, |most| most as usize), "characters")
        }
    };
    if length > most {
        return Err(format!("it has {length} {what}, and the column takes {most}"));
    }
    Ok(())
}

fn integer(given: &Value, target: &Correctable, system: System) -> Result<NewValue, String> {
    let digits = match given {
        Value::Number(number) if number.is_f64() => return Err("it is not a whole number".to_owned()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        // The nearest that these have to a boolean.
        Value::Bool(flag) if system == System::Sqlite || target.base_type().starts_with("tinyint(1)") => {
            u8::from(*flag).to_string()
        }
        _ => return Err("it must be a whole number".to_owned()),
    };
    let digits = canonical_text(&digits, &target.column, system == System::Sqlite)?;
    let number: i128 = digits.parse().map_err(|_| "it is not a whole number")?;
    let (low, high) = match word(target.base_type()).as_str() {
        "year" if system == System::MySql && number != 0 => (1901, 2155),
        "oid" if system == System::Postgres => (0, i128::from(u32::MAX)),
        _ => (i128::MIN, i128::MAX),
    };
    if number < low || number > high {
        return Err(format!("it is outside the range of {}", target.column.type_name));
    }
    Ok(NewValue::Number(digits))
}

/// How exactly a type of numbers keeps them.
enum Exactness {
    Single,
    Double,
    /// Digits before and after the point; `None`: any.
    Decimal(Option<(u32, u32)>),
}

fn exactness(type_name: &str, system: System) -> Exactness {
    let limits = match arguments(type_name)[..] {
        [precision] => Some((precision, 0)),
        [precision, scale] => Some((precision.saturating_sub(scale), scale)),
        _ => None,
    };
    match (system, word(type_name).as_str()) {
        // Whatever the type is called.
        (System::Sqlite, _) => Exactness::Double,
        (System::MySql, "float" | "double") if limits.is_some() => Exactness::Decimal(limits),
        (_, "real") | (System::MySql, "float") => Exactness::Single,
        (_, "double") => Exactness::Double,
        (System::Postgres, "money") => Exactness::Decimal(Some((16, 2))),
        _ => Exactness::Decimal(limits),
    }
}

pub(super) fn number(given: &Value, type_name: &str, system: System) -> Result<String, String> {
    let written = match given {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err("it must be a number".to_owned()),
    };
    let exactness = exactness(type_name, system);
    if matches!(written.as_str(), "NaN" | "Infinity" | "-Infinity") {
        return match (system, type_name) {
            (System::Postgres, "money") => Err("money is always finite".to_owned()),
            (System::Postgres, _) => Ok(written),
            _ => Err("this database keeps finite numbers only".to_owned()),
        };
    }
    let (whole, fraction, has_exponent) = digits(&written).ok_or("it is not a number")?;
    let count = whole.len() + fraction.len();
    if type_name.contains("unsigned") && written.starts_with('-') && count > 0 {
        return Err(format!("it is outside the range of {type_name}"));
    }
    let Exactness::Decimal(limits) = exactness else {
        let single = matches!(exactness, Exactness::Single);
        return float(&written, count, single, system);
    };
    if has_exponent {
        return Err("it is a number with an exponent: write it out, as a string".to_owned());
    }
    let (most, scale) = limits.unwrap_or((u32::MAX, u32::MAX));
    if whole.len() > most as usize {
        return Err(format!("{type_name} has room for {most} digits before the point"));
    }
    if fraction.len() > scale as usize {
        return Err(format!("{type_name} keeps {scale} digits behind the point, and would round it"));
    }
    match word(type_name).as_str() {
        // With a fixed number of digits, and a float all the same.
        kind @ ("float" | "double") => float(&written, count, kind == "float", system),
        _ => Ok(written),
    }
}

/// The digits before and behind the point that count, and whether there is an exponent.
fn digits(written: &str) -> Option<(&str, &str, bool)> {
    let unsigned = written.strip_prefix('-').unwrap_or(written);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_exponent = |text: &str| all_digits(text.strip_prefix(['+', '-']).unwrap_or(text));
    if !all_digits(whole) || !all_digits(fraction) || !exponent.is_none_or(is_exponent) {
        return None;
    }
    Some((whole.trim_start_matches('0'), fraction.trim_end_matches('0'), exponent.is_some()))
}

fn float(written: &str, digits: usize, single: bool, system: System) -> Result<String, String> {
    let double: f64 = written.parse().map_err(|_| "it is not a number")?;
    #[expect(clippy::cast_possible_truncation, reason = "the column does the same")]
    let narrow = double as f32;
    if !double.is_finite() || (single && !narrow.is_finite()) {
        return Err("it is larger than the column can hold".to_owned());
    }
    let is_kept_whole = written.parse::<i64>().is_ok();
    // Beyond that SQLite drops digits of a decimal, which it keeps as a float.
    if system == System::Sqlite && digits > f64::DIGITS as usize && !is_kept_whole {
        return Err(format!(
            "it has more than the {} digits that SQLite keeps of such a number",
            f64::DIGITS
        ));
    }
    // As few digits as tell it from its neighbours, or as many as ever do so (17 and 9, IEEE 754 §5.12.2).
    let writings = match single {
        true => vec![format!("{narrow:e}"), format!("{narrow:.8e}"), format!("{:e}", f64::from(narrow))],
        false => vec![format!("{double:e}"), format!("{double:.16e}")],
    };
    if !writings.iter().any(|writing| is_same_number(writing, written)) {
        let kept = if single { f32::DIGITS } else { f64::DIGITS };
        return Err(format!(
            "the column would round it: give a number that a binary float keeps, of {kept} digits at most"
        ));
    }
    Ok(written.to_owned())
}

fn boolean(given: &Value, system: System) -> Result<NewValue, String> {
    let Value::Bool(flag) = given else { return Err("it must be true or false".to_owned()) };
    Ok(match system {
        System::Postgres | System::MySql => NewValue::Text(flag.to_string()),
        System::Sqlite => NewValue::Number(u8::from(*flag).to_string()),
    })
}

pub(super) fn binary(given: &Value, type_name: &str, system: System) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(text(given)?).map_err(|_| "it must be base64 (RFC 4648 §4)")?;
    if system != System::MySql {
        return Ok(bytes);
    }
    let word = word(type_name);
    let length = arguments(type_name).first().map_or(1, |length| *length as usize);
    let most = match word.as_str() {
        // A shorter value would be filled up with zeros.
        "binary" if bytes.len() != length => return Err(format!("it must be {length} bytes long")),
        "varbinary" => length,
        "tinyblob" => 255,
        "blob" => 65_535,
        _ => usize::MAX,
    };
    if bytes.len() > most {
        return Err(format!("it has {} bytes, and the column takes {most}", bytes.len()));
    }
    Ok(bytes)
}

/// Of MySQL's `enum` and `set`, exactly as it is written there: a number would be taken for a label's place.
fn label(given: &str, type_name: &str) -> Result<String, String> {
    let labels = labels(type_name);
    let refused = || format!("it is none of the labels of the column: {}", labels.join(", "));
    if word(type_name) != "set" {
        return labels.iter().any(|label| label == given).then(|| given.to_owned()).ok_or_else(refused);
    }
    let members: Vec<&str> = given.split(',').filter(|_| !given.is_empty()).collect();
    if !members.iter().all(|member| labels.iter().any(|label| label == member)) {
        return Err(refused());
    }
    // As the database keeps it.
    let kept: Vec<&str> = labels.iter().map(String::as_str).filter(|label| members.contains(label)).collect();
    Ok(kept.join(","))
}

fn any(given: &Value) -> Result<NewValue, String> {
    match given {
        Value::Number(number) => Ok(NewValue::Number(number.to_string())),
        Value::Bool(flag) => Ok(NewValue::Number(u8::from(*flag).to_string())),
        _ => Ok(NewValue::Text(text(given)?.to_owned())),
    }
}

fn other(given: &Value, type_name: &str, system: System) -> Result<NewValue, String> {
    if system == System::Sqlite {
        return any(given);
    }
    let bits = arguments(type_name).first().map_or(1, |length| *length as usize);
    let text = match given {
        // As an export shows it.
        Value::Number(number) if system == System::MySql && word(type_name) == "bit" => {
            let number = number.as_u64().ok_or("it must be a whole number that is not negative")?;
            &format!("{number:0bits$b}")
        }
        _ => text(given)?,
    };
    match word(type_name).as_str() {
        "bit" if text.bytes().any(|byte| !matches!(byte, b'0' | b'1')) => {
            Err("it must be written in the digits 0 and 1".to_owned())
        }
        "bit" if !type_name.contains("varying") && text.len() != bits => {
            Err(format!("it must be {bits} binary digits long"))
        }
        "bit" if text.len() > bits && !arguments(type_name).is_empty() => {
            Err(format!("it has more than {bits} digits"))
        }
        "\"char\"" if text.len() > 1 => Err("the column takes one byte".to_owned()),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection"
            if system == System::MySql =>
        {
            // As an export shows it, or as people write it.
            Ok(STANDARD.decode(text).map_or_else(|_| NewValue::Text(text.to_owned()), NewValue::Bytes))
        }
        kind => times::range(text, kind).map(|()| NewValue::Text(text.to_owned())),
    }
}
