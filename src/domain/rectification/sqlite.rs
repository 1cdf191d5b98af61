//! What SQLite makes of a text, by the affinity that it reads out of a declared type (SQLite documentation, "Datatypes In
//! SQLite", 3.1 and 3.4).

use super::NewValue;
use crate::domain::{compiled::KeyColumn, schema::Family};

/// The text as it is written, or as a number where the column makes one of it.
///
/// # Errors
/// When the column would keep another value.
pub(super) fn text(text: String, column: &KeyColumn) -> Result<NewValue, String> {
    // Whether an `ANY` keeps texts depends on its table, which is asked.
    if !is_numeric(&column.type_name)
        || column.type_name.eq_ignore_ascii_case("any")
        || !reads_as_number(&text)
    {
        return Ok(NewValue::Text(text));
    }
    let is_whole = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    match column.family {
        // A number of JSON.
        Family::Json if is_whole || is_short(&text) => Ok(NewValue::Number(text)),
        _ => Err(format!(
            "a column of type {} keeps this text as a number: declare it as TEXT, or write it otherwise",
            column.type_name
        )),
    }
}

/// Digits that a double keeps.
fn is_short(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() <= f64::DIGITS as usize
}

/// INTEGER, REAL or NUMERIC.
fn is_numeric(type_name: &str) -> bool {
    let name = type_name.to_ascii_uppercase();
    let has = |part: &str| name.contains(part);
    has("INT") || !(has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") || name.trim().is_empty())
}

/// True for a text that a column of a numeric affinity keeps as a number.
#[must_use]
pub fn reads_as_number(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && trimmed.ends_with(|c: char| c.is_ascii_digit() || c == '.')
        && trimmed.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(type_name: &str, family: Family, given: &str) -> Option<bool> {
        let column =
            KeyColumn { name: "c".to_owned(), type_name: type_name.to_owned(), family, nullable: true };
        text(given.to_owned(), &column).ok().map(|value| matches!(value, NewValue::Text(_)))
    }

    #[test]
    fn a_text_that_would_become_a_number_is_refused() {
        for given in ["007", "+49", "1e5", " 12 ", "1.", ".5"] {
            assert_eq!(kept("PHONE", Family::Other, given), None, "{given}");
            assert_eq!(kept("VARCHAR(20)", Family::Text, given), Some(true), "{given}");
            assert_eq!(kept("", Family::Any, given), Some(true), "{given}");
        }
        assert_eq!(kept("PHONE", Family::Other, "0049-1"), Some(true));
        assert_eq!(kept("JSON", Family::Json, "1.5"), Some(false));
        assert_eq!(kept("JSON", Family::Json, "18446744073709551615"), None);
    }
}
