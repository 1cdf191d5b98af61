//! Which kinds of value compare with each other, and which text a type can hold.

use uuid::Uuid;

use super::model::{Alt, Model, Resolved};
use crate::domain::{
    compiled::KeyColumn,
    document::Reader,
    plan::Match,
    schema::{Column, Family},
};

/// SQLite's only schema.
pub(super) const MAIN: &str = "main";

/// Both sides of every `match`, and its constants.
pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for entry in &model.entries {
        for alt in &entry.alternatives {
            for link in &alt.links {
                let target = &model.tables[link.target];
                let crosses = target.connection != model.tables[entry.table].connection;
                for (own, theirs) in link.own.iter().zip(&link.theirs) {
                    check_pair(entry, alt, own, &target.shown, theirs, crosses, faults);
                }
            }
            for (column, value) in &alt.constants {
                let key = super::model::key_column(column);
                if let Err(reason) =
                    canonical_text(value, &key, model.tables[entry.table].table.schema == MAIN)
                {
                    let problem = format!(
                        "`{}`: the constant for `{}` does not fit: {reason}",
                        entry.name, column.name
                    );
                    faults.error(alt.line, problem, format!("its type is {}", column.type_name));
                }
            }
        }
    }
}

fn check_pair(
    entry: &Resolved<'_>,
    alt: &Alt<'_>,
    own: &Column,
    target: &str,
    theirs: &Column,
    crosses: bool,
    faults: &mut Reader,
) {
    if comparable(own, theirs, crosses) {
        return;
    }
    let problem = format!(
        "`{}`: column `{}` ({}) cannot be compared with `{target}.{}` ({})",
        entry.name, own.name, own.type_name, theirs.name, theirs.type_name
    );
    let sql = matches!(entry.entry.matches.first().map(|item| &item.value), Some(Match::Columns(_)));
    let remedy = if sql {
        "match columns of the same kind, or write the comparison: match: { sql: \"…\" }"
    } else {
        ""
    };
    faults.error(alt.line, problem, remedy);
}

fn comparable(a: &Column, b: &Column, crosses: bool) -> bool {
    use Family::{Any, Array, Enum, Integer, Json, Number, Other, Text, Uuid};
    match (a.family, b.family) {
        (Json | Array, _) | (_, Json | Array) => false,
        (Any, _) | (_, Any) | (Integer | Number, Integer | Number) | (Text | Enum, Text | Enum) => true,
        // Between databases values travel as text; within one there is no such operator.
        (Uuid, Text) | (Text, Uuid) => crosses,
        (Other, Other) => a.type_name == b.type_name,
        (Other, Text) | (Text, Other) => crosses,
        (a, b) => a == b,
    }
}

/// The canonical text of a value that a person wrote for a column, or why it cannot be one. The reason never
/// quotes the value.
pub(in crate::domain) fn canonical_text(
    text: &str,
    column: &KeyColumn,
    is_main_schema: bool,
) -> Result<String, String> {
    if text.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    match column.family {
        Family::Integer => {
            let number = parse_integer(text).ok_or("it is not a whole number")?;
            let (low, high) = integer_range(&column.type_name, is_main_schema);
            if number < low || number > high {
                return Err(format!("it is outside the range of {}", column.type_name));
            }
            Ok(number.to_string())
        }
        Family::Number if !is_decimal(text) => Err("it is not a number".to_owned()),
        Family::Number => Ok(plain_decimal(text)),
        // A blank at the end is no part of a `char(n)`.
        Family::Text if !is_main_schema && is_padded(&column.type_name) => {
            Ok(text.trim_end_matches(' ').to_owned())
        }
        Family::Uuid => Uuid::try_parse(text)
            .map(|uuid| uuid.hyphenated().to_string())
            .map_err(|_| "it is not a UUID".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn parse_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

/// Types that fill their values with blanks.
fn is_padded(type_name: &str) -> bool {
    let name = type_name.to_lowercase();
    !name.contains("varying") && ["char(", "character", "bpchar"].iter().any(|known| name.starts_with(known))
}

/// Without the zeros that make no difference: `4.50` and `4.5` are one number.
fn plain_decimal(text: &str) -> String {
    let (sign, number) = text.strip_prefix('-').map_or(("", text), |number| ("-", number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    match fraction.trim_end_matches('0') {
        "" if whole == "0" => whole.to_owned(),
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

fn is_decimal(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The range of an integer type by its name. SQLite writes the type as it was declared and holds 64 bits
/// whatever that says; its only schema is called `main`.
fn integer_range(type_name: &str, is_main_schema: bool) -> (i128, i128) {
    let name = type_name.to_lowercase();
    let word = name.split(['(', ' ']).next().unwrap_or_default();
    let bits = match word {
        _ if is_main_schema => 64,
        "tinyint" => 8,
        "smallint" | "int2" | "year" => 16,
        "mediumint" => 24,
        "int" | "integer" | "int4" | "serial" => 32,
        _ => 64,
    };
    if name.contains("unsigned") && !is_main_schema {
        (0, (1 << bits) - 1)
    } else {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    }
}
