//! Rows as a package hands them out: each value keeps what its type means.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;

use super::{
    context::Context,
    dialect::{Dialect, bare_type, internal, unhex, unreadable},
    facts::Facts,
    predicate,
    session::Session,
    statement::TextRow,
};
use crate::{
    connectors::{ConnectorError, ErrorKind, Extract, Work},
    domain::{
        compiled::{ExportColumns, TableName},
        package::{Column as Shown, Value},
        schema::{Column, Family},
    },
};

/// Rows of one chunk.
const CHUNK: usize = 1_000;

/// # Errors
/// As the database says, and when a listed column is gone.
pub(super) async fn extract(
    mut session: Session,
    facts: &Facts,
    work: &Work<'_>,
    columns: &ExportColumns,
) -> Result<Extract, ConnectorError> {
    let dialect = session.dialect();
    let context = Context::new(dialect, facts, work.keys);
    let readers: Vec<Reader> = chosen(facts, &work.rows.table, columns)?
        .into_iter()
        .map(|column| Reader::of(dialect, column))
        .collect();
    let Some(condition) = predicate::one(context, work.rows, work.alternative)? else {
        return Ok(Extract { matched: 0, rows: futures::stream::empty().boxed() });
    };
    let table = dialect.table(&work.rows.table);
    session.begin_snapshot().await?;
    let text = if dialect == Dialect::MySql { "CHAR" } else { "text" };
    let counting =
        condition.clone().within(&format!("SELECT CAST(count(*) AS {text}) FROM {table} WHERE "), "");
    let matched = session
        .query(&counting.finish())
        .await?
        .into_iter()
        .flatten()
        .flatten()
        .next()
        .and_then(|cell| cell.parse().ok())
        .ok_or_else(|| internal("a count is not a number"))?;
    let cells: Vec<String> = readers
        .iter()
        .map(|reader| reader.cell(&dialect.column(&work.rows.table, &reader.shown.name)))
        .collect();
    let reading = condition.within(&format!("SELECT {} FROM {table} WHERE ", cells.join(", ")), "");
    let rows = session
        .stream(reading.finish(), CHUNK)
        .map(move |chunk| chunk?.into_iter().map(|row| Reader::values(&readers, row)).collect());
    Ok(Extract { matched, rows: rows.boxed() })
}

/// # Errors
/// When a listed column is gone.
pub(super) fn columns(
    facts: &Facts,
    table: &TableName,
    columns: &ExportColumns,
) -> Result<Vec<Shown>, ConnectorError> {
    Ok(chosen(facts, table, columns)?.into_iter().map(shown).collect())
}

fn shown(column: &Column) -> Shown {
    Shown { name: column.name.clone(), type_name: column.type_name.clone() }
}

/// The columns to read, as the live schema has them.
fn chosen<'a>(
    facts: &'a Facts,
    table: &TableName,
    columns: &ExportColumns,
) -> Result<Vec<&'a Column>, ConnectorError> {
    let gone = || ConnectorError {
        kind: ErrorKind::SchemaChanged,
        detail: format!("table {} or a column of it that is to be exported is gone", table.name),
    };
    let live = &facts.table(table).ok_or_else(gone)?.columns;
    match columns {
        ExportColumns::All => Ok(live.iter().collect()),
        ExportColumns::Listed(names) => names
            .iter()
            .map(|name| live.iter().find(|column| column.name == *name).ok_or_else(gone))
            .collect(),
    }
}

/// How a column is selected as text, and what that text means.
pub(super) struct Reader {
    shown: Shown,
    /// Elements that JSON has types for.
    is_plain_array: bool,
    family: Family,
    form: Form,
    dialect: Dialect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Integer,
    /// The database's own writing: dates, uuids, and decimals, since most readers of JSON make a binary float of every
    /// number.
    Written,
    Double,
    /// Selected as a decimal: the database would write it as the server's country does.
    Money,
    /// Read as a double, and shown with the digits that a single has.
    Single,
    Boolean,
    /// Selected as hex.
    Binary,
    Json,
    /// Without a zone.
    Local,
    /// An instant; the session's zone is UTC.
    Instant,
    /// PostgreSQL arrays, selected as JSON.
    Array,
    /// PostgreSQL's `bytea[]`: selected as JSON with hex in it.
    BinaryArray,
    /// MySQL's `bit`.
    Bits,
    /// SQLite: the value's own type stands in front of it.
    Tagged,
}

impl Reader {
    fn of(dialect: Dialect, column: &Column) -> Self {
        let form = match dialect {
            Dialect::Sqlite => Form::Tagged,
            Dialect::Postgres => postgres_form(column),
            Dialect::MySql => mysql_form(column),
        };
        Self {
            shown: shown(column),
            is_plain_array: is_plain_array(column.base_type()),
            family: column.family,
            form,
            dialect,
        }
    }

    /// Of every column that the live table has.
    ///
    /// # Errors
    /// When the table is gone.
    pub(super) fn all(
        dialect: Dialect,
        facts: &Facts,
        table: &TableName,
    ) -> Result<Vec<Self>, ConnectorError> {
        let columns = chosen(facts, table, &ExportColumns::All)?;
        Ok(columns.into_iter().map(|column| Self::of(dialect, column)).collect())
    }

    pub(super) fn name(&self) -> &str {
        &self.shown.name
    }

    /// The values of one row.
    ///
    /// # Errors
    /// When the database wrote what its type cannot hold.
    pub(super) fn values(readers: &[Self], row: TextRow) -> Result<Vec<Value>, ConnectorError> {
        if row.len() != readers.len() {
            return Err(unreadable());
        }
        let value = |(reader, cell): (&Self, Option<String>)| match cell {
            Some(cell) => reader.value(cell),
            None => Ok(Value::Null),
        };
        readers.iter().zip(row).map(value).collect()
    }

    pub(super) fn cell(&self, expr: &str) -> String {
        match (self.dialect, self.form) {
            (Dialect::Postgres, Form::Binary) => format!("encode({expr}, 'hex')"),
            (Dialect::Postgres, Form::Boolean) => format!("({expr})::int::text"),
            (Dialect::Postgres, Form::Array) if self.is_plain_array => {
                format!("to_json({expr})::text")
            }
            (Dialect::Postgres, Form::Array) => format!("to_json(({expr})::text[])::text"),
            // The session writes binary as hex.
            (Dialect::Postgres, Form::BinaryArray) => format!("to_json(({expr})::bytea[]::text[])::text"),
            (Dialect::Postgres, Form::Money) => format!("({expr})::numeric::text"),
            (Dialect::Postgres, _) => format!("({expr})::text"),
            (Dialect::MySql, Form::Binary) => format!("HEX({expr})"),
            (Dialect::MySql, Form::Text | Form::Json) => format!("CONVERT({expr} USING utf8mb4)"),
            (Dialect::MySql, Form::Single) => format!("CAST(CAST({expr} AS DOUBLE) AS CHAR)"),
            (Dialect::MySql, Form::Bits) => format!("CAST({expr} + 0 AS CHAR)"),
            (Dialect::MySql, _) => format!("CAST({expr} AS CHAR)"),
            // Texts as hex: SQLite never made sure that they are UTF-8.
            (Dialect::Sqlite, _) => format!(
                "CASE typeof({expr}) WHEN 'blob' THEN 'x' || hex({expr}) WHEN 'integer' THEN 'i' || {expr} \
                 WHEN 'real' THEN 'r' || printf('%!.17g', {expr}) \
                 WHEN 'text' THEN 't' || hex(CAST({expr} AS BLOB)) END"
            ),
        }
    }

    fn value(&self, cell: String) -> Result<Value, ConnectorError> {
        Ok(match self.form {
            Form::Text | Form::Written | Form::Money => Value::Text(cell),
            Form::Integer | Form::Bits => integer(&cell)?,
            Form::Double => double(cell.parse().map_err(|_| unreadable())?),
            Form::Single => single(cell.parse().map_err(|_| unreadable())?),
            Form::Boolean => Value::Bool(cell == "1"),
            Form::Binary => Value::Bytes(unhex(&cell)?),
            Form::Json | Form::Array => Value::json(cell),
            Form::BinaryArray => Value::json(base64_of_hex(&cell)?),
            Form::Local => Value::Text(with_t(cell)),
            Form::Instant => Value::Text(instant(cell)),
            Form::Tagged => self.tagged(&cell)?,
        })
    }

    fn tagged(&self, cell: &str) -> Result<Value, ConnectorError> {
        let (tag, rest) = cell.split_at_checked(1).ok_or_else(unreadable)?;
        Ok(match (tag, self.family) {
            ("i", Family::Boolean) if matches!(rest, "0" | "1") => Value::Bool(rest == "1"),
            ("i", _) => integer(rest)?,
            ("r", _) => double(rest.parse().map_err(|_| unreadable())?),
            ("x", _) => Value::Bytes(unhex(rest)?),
            ("t", family) => {
                match String::from_utf8(unhex(rest)?) {
                    Ok(text) if family == Family::Json => Value::json(text),
                    Ok(text) => Value::Text(text),
                    // Not one byte of it is lost.
                    Err(bytes) => Value::Bytes(bytes.into_bytes()),
                }
            }
            _ => return Err(unreadable()),
        })
    }
}

/// An array in JSON whose texts are hex, of any number of dimensions, with base64 in their place.
fn base64_of_hex(array: &str) -> Result<String, ConnectorError> {
    fn turned(value: serde_json::Value) -> Result<serde_json::Value, ConnectorError> {
        Ok(match value {
            serde_json::Value::String(text) => {
                let bytes = unhex(text.strip_prefix("\\x").ok_or_else(unreadable)?)?;
                serde_json::Value::String(STANDARD.encode(bytes))
            }
            serde_json::Value::Array(items) => {
                serde_json::Value::Array(items.into_iter().map(turned).collect::<Result<_, _>>()?)
            }
            other => other,
        })
    }
    let array = serde_json::from_str(array).map_err(|_| unreadable())?;
    Ok(turned(array)?.to_string())
}

fn postgres_form(column: &Column) -> Form {
    let bare = bare_type(column.base_type());
    match column.family {
        Family::Integer => Form::Integer,
        Family::Number => match bare.as_str() {
            "double precision" => Form::Double,
            "real" => Form::Single,
            "money" => Form::Money,
            _ => Form::Written,
        },
        Family::Boolean => Form::Boolean,
        Family::Binary => Form::Binary,
        Family::Json => Form::Json,
        Family::Array if bare == "bytea[]" => Form::BinaryArray,
        Family::Array => Form::Array,
        Family::Time if bare == "timestamp with time zone" => Form::Instant,
        Family::Time if bare == "timestamp without time zone" => Form::Local,
        _ => Form::Text,
    }
}

/// Arrays whose elements JSON has types for; the others hold texts.
fn is_plain_array(type_name: &str) -> bool {
    const PLAIN: [&str; 8] =
        ["smallint", "integer", "bigint", "boolean", "real", "double precision", "json", "jsonb"];
    bare_type(type_name).strip_suffix("[]").is_some_and(|element| PLAIN.contains(&element))
}

fn mysql_form(column: &Column) -> Form {
    let name = column.type_name.to_ascii_lowercase();
    let is = |kinds: &[&str]| kinds.iter().any(|kind| name.starts_with(kind));
    match column.family {
        Family::Integer => Form::Integer,
        Family::Number if is(&["float"]) => Form::Single,
        Family::Number if is(&["double"]) => Form::Double,
        Family::Number => Form::Written,
        Family::Binary => Form::Binary,
        Family::Json => Form::Json,
        Family::Time if is(&["timestamp"]) => Form::Instant,
        Family::Time if is(&["datetime"]) => Form::Local,
        Family::Time => Form::Written,
        Family::Other if is(&["bit"]) => Form::Bits,
        // Well-known binary, and whatever else is not text.
        Family::Other if is(&["geom", "point", "line", "poly", "multi", "vector"]) => Form::Binary,
        Family::Other | Family::Uuid => Form::Written,
        _ => Form::Text,
    }
}

/// `00042` of a column that is filled with zeros is no number in JSON.
fn integer(cell: &str) -> Result<Value, ConnectorError> {
    let number: i128 = cell.parse().map_err(|_| unreadable())?;
    Ok(Value::Number(number.to_string()))
}

fn double(number: f64) -> Value {
    match serde_json::Number::from_f64(number) {
        Some(number) => Value::Number(number.to_string()),
        None => not_finite(number),
    }
}

fn single(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the column held a single")]
    let narrow = number as f32;
    match serde_json::to_string(&narrow) {
        Ok(text) if narrow.is_finite() => Value::Number(text),
        _ => not_finite(f64::from(narrow)),
    }
}

/// JSON has no word for them (RFC 8259 §6).
fn not_finite(number: f64) -> Value {
    let word = match number {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    Value::Text(word.to_owned())
}

/// `2026-01-31 10:00:00` → `2026-01-31T10:00:00`; infinities and years before Christ stay as the database writes them.
fn with_t(cell: String) -> String {
    let is_date_and_time = cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.ends_with("BC");
    if is_date_and_time { cell.replacen(' ', "T", 1) } else { cell }
}

/// With its zone (RFC 3339).
fn instant(cell: String) -> String {
    let text = with_t(cell);
    if !text.contains('T') {
        return text;
    }
    format!("{}Z", text.strip_suffix("+00").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_their_zone_and_keep_what_no_format_has() {
        for (cell, shown) in [
            ("2026-01-31 10:00:00.5+00", "2026-01-31T10:00:00.5Z"),
            ("1899-12-31 23:59:59", "1899-12-31T23:59:59Z"),
            ("infinity", "infinity"),
            ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
        ] {
            assert_eq!(instant(cell.to_owned()), shown);
        }
        assert_eq!(with_t("10000-01-01 00:00:00".to_owned()), "10000-01-01T00:00:00");
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert!(integer("18446744073709551615").unwrap() == Value::Number("18446744073709551615".to_owned()));
        assert!(integer("00042").unwrap() == Value::Number("42".to_owned()));
        assert!(double(0.1) == Value::Number("0.1".to_owned()));
        assert!(single(f64::from(0.1_f32)) == Value::Number("0.1".to_owned()));
        assert!(double(f64::NAN) == Value::Text("NaN".to_owned()));
        assert!(single(f64::NEG_INFINITY) == Value::Text("-Infinity".to_owned()));
    }
}
