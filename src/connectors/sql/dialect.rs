//! What differs between the three databases, in one place: quoting, how a value leaves as text and comes back
//! as a key, and how a bound text becomes a value of a column's type.
//!
//! Values travel as text. A cell of binary content is hex; MySQL hands text over as hex too, since `DISTINCT`
//! over text would go by collation there; SQLite's cells carry a tag, because any column may hold any type.

use uuid::Uuid;

use super::{
    fragment::Fragment,
    statement::{Bind, TextRow},
};
use crate::{
    connectors::{ConnectorError, ErrorKind},
    domain::{
        audit::hex,
        compiled::{KeyColumn, TableName},
        key::{Key, Tuple},
        schema::Family,
    },
};

/// The database behind a connection; MariaDB counts as MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

impl Dialect {
    pub(super) fn quote(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    pub(super) fn table(self, table: &TableName) -> String {
        format!("{}.{}", self.quote(&table.schema), self.quote(&table.name))
    }

    /// Tables are never renamed in a statement, so that trusted SQL may say `messages.kind`.
    pub(super) fn column(self, table: &TableName, column: &str) -> String {
        format!("{}.{}", self.quote(&table.name), self.quote(column))
    }

    /// How a value is selected so that [`Self::key`] can read it.
    pub(super) fn cell(self, expr: &str, family: Family) -> String {
        match (self, family) {
            (Self::Postgres, Family::Binary) => format!("encode({expr}, 'hex')"),
            // As the other databases write it.
            (Self::Postgres, Family::Boolean) => format!("({expr})::int::text"),
            // DISTINCT goes by bytes.
            (Self::Postgres, Family::Text) => format!("({expr})::text COLLATE \"C\""),
            (Self::Postgres, _) => format!("({expr})::text"),
            (Self::MySql, Family::Binary) => format!("HEX({expr})"),
            (Self::MySql, family) if mysql_text(family) => format!("HEX(CONVERT({expr} USING utf8mb4))"),
            (Self::MySql, _) => format!("CAST({expr} AS CHAR)"),
            (Self::Sqlite, _) => {
                format!(
                    "CASE typeof({expr}) WHEN 'blob' THEN 'x' || hex({expr}) ELSE 't' || CAST({expr} AS TEXT) END"
                )
            }
        }
    }

    /// Reads what [`Self::cell`] selected.
    pub(super) fn key(self, family: Family, cell: Option<String>) -> Result<Option<Key>, ConnectorError> {
        let Some(cell) = cell else { return Ok(None) };
        let key = match (self, family) {
            (Self::Sqlite, _) => match cell.split_at_checked(1) {
                Some(("x", digits)) => Key::Bytes(unhex(digits)?),
                Some(("t", text)) => Key::Text(text.to_owned()),
                _ => return Err(unreadable()),
            },
            (_, Family::Binary) => Key::Bytes(unhex(&cell)?),
            (Self::MySql, family) if mysql_text(family) => {
                Key::Text(String::from_utf8(unhex(&cell)?).map_err(|_| unreadable())?)
            }
            _ => Key::Text(cell),
        };
        Ok(Some(key))
    }

    /// A row of cells, in the order of `columns`.
    pub(super) fn tuple(self, columns: &[&KeyColumn], row: TextRow) -> Result<Tuple, ConnectorError> {
        if row.len() != columns.len() {
            return Err(unreadable());
        }
        columns.iter().zip(row).map(|(column, cell)| self.key(column.family, cell)).collect()
    }

    /// The forms under which `key` can stand in a column of that type; none when no value of the type equals it.
    /// SQLite columns without a type hold `42` and `'42'` apart, so there can be several.
    pub(super) fn values(self, column: &KeyColumn, key: &Key) -> Vec<Fragment> {
        match self {
            Self::Postgres => postgres_value(column, key).into_iter().collect(),
            Self::MySql => mysql_value(column, key).into_iter().collect(),
            Self::Sqlite => sqlite_values(column, key),
        }
    }
}

/// Families whose MySQL types are compared by collation.
pub(super) fn mysql_text(family: Family) -> bool {
    matches!(family, Family::Text | Family::Enum | Family::Json | Family::Any)
}

/// The type a bound text is cast to where it is compared with a column, without a length: a cast to
/// `varchar(5)` would cut the value silently, one to `numeric(10,2)` would round it.
pub(super) fn postgres_cast(column: &KeyColumn) -> String {
    let bare = bare_type(&column.type_name);
    match column.family {
        // Compares with every integer type by the index, and holds what the column may not.
        Family::Integer => "bigint".to_owned(),
        Family::Text if is_citext(&bare) => bare,
        Family::Text if bare == "character" || bare == "bpchar" => "bpchar".to_owned(),
        Family::Text | Family::Any => "text".to_owned(),
        Family::Uuid => "uuid".to_owned(),
        Family::Binary => "bytea".to_owned(),
        Family::Boolean => "boolean".to_owned(),
        Family::Number if !matches!(bare.as_str(), "real" | "double precision" | "money") => {
            "numeric".to_owned()
        }
        Family::Json if bare != "jsonb" => "text".to_owned(),
        Family::Time if bare == "datetime" => "timestamp".to_owned(),
        Family::Enum if bare.starts_with("enum") => "text".to_owned(),
        Family::Other if bare == "bit" => "bit varying".to_owned(),
        _ => bare,
    }
}

/// The type of a key inside trusted SQL: the source column's own, where this database has it.
pub(super) fn postgres_piece_cast(column: &KeyColumn) -> String {
    let bare = bare_type(&column.type_name);
    match column.family {
        Family::Integer if matches!(bare.as_str(), "smallint" | "integer") => bare,
        Family::Text => "text".to_owned(),
        _ => postgres_cast(column),
    }
}

pub(super) fn is_citext(bare: &str) -> bool {
    bare == "citext" || bare.ends_with(".citext")
}

/// The type's name without lengths and precisions: `timestamp(3) without time zone` → `timestamp without time zone`.
pub(super) fn bare_type(name: &str) -> String {
    let (mut bare, mut quoted, mut depth) = (String::with_capacity(name.len()), false, 0_u32);
    for character in name.chars() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            bare.push(character);
        }
    }
    bare
}

fn postgres_value(column: &KeyColumn, key: &Key) -> Option<Fragment> {
    let text = match (column.family, key) {
        (Family::Binary, Key::Bytes(bytes)) => format!("\\x{}", hex(bytes)),
        (Family::Binary, Key::Text(text)) => format!("\\x{}", hex(text.as_bytes())),
        (_, Key::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok()?,
        (_, Key::Text(text)) => text.clone(),
    };
    let fits = match column.family {
        Family::Integer => text.parse::<i64>().is_ok(),
        Family::Uuid => Uuid::parse_str(&text).is_ok(),
        Family::Boolean => matches!(text.as_str(), "0" | "1" | "true" | "false" | "t" | "f"),
        // PostgreSQL stores no NUL in text.
        _ => !text.contains('\0'),
    };
    fits.then(|| Fragment::bound(Bind::Text(Some(text))))
}

fn mysql_value(column: &KeyColumn, key: &Key) -> Option<Fragment> {
    let cast = |text: &str, kind: &str| {
        Fragment::text("CAST(")
            .and(Fragment::bound(Bind::Text(Some(text.to_owned()))))
            .then(&format!(" AS {kind})"))
    };
    let bytes = match key {
        Key::Text(text) => text.as_bytes(),
        Key::Bytes(bytes) => bytes,
    };
    if column.family == Family::Binary {
        // As hex: the driver declares every parameter to be text of the session's character set.
        return Some(Fragment::text("UNHEX(").and(Fragment::bound(Bind::Text(Some(hex(bytes))))).then(")"));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let name = column.type_name.to_ascii_lowercase();
    Some(match column.family {
        // A text compared with a number column would be compared as a double.
        Family::Integer | Family::Boolean => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Fragment::bound(Bind::Int(number)),
            (_, Ok(_)) => cast(text, "UNSIGNED"),
            _ => return None,
        },
        Family::Number => {
            text.parse::<f64>().ok()?;
            let decimal = name.starts_with("decimal") || name.starts_with("numeric");
            cast(text, if decimal { "DECIMAL(65,30)" } else { "DOUBLE" })
        }
        Family::Time if name.starts_with("datetime") || name.starts_with("timestamp") => {
            cast(text, "DATETIME(6)")
        }
        Family::Time if name.starts_with("date") => cast(text, "DATE"),
        Family::Time if name.starts_with("time") => cast(text, "TIME(6)"),
        _ => Fragment::bound(Bind::Text(Some(text.to_owned()))),
    })
}

fn sqlite_values(column: &KeyColumn, key: &Key) -> Vec<Fragment> {
    let text = match key {
        Key::Bytes(bytes) => return vec![Fragment::bound(Bind::Bytes(Some(bytes.clone())))],
        Key::Text(text) => text,
    };
    let mut forms = vec![Fragment::bound(Bind::Text(Some(text.clone())))];
    // Columns with a numeric affinity turn the bound text into a number by themselves; the others do not.
    if matches!(column.family, Family::Any | Family::Binary | Family::Other) {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => forms.push(Fragment::bound(Bind::Int(number))),
            _ if text.contains(['.', 'e', 'E']) && text.parse::<f64>().is_ok_and(f64::is_finite) => {
                let real = Fragment::text("CAST(").and(Fragment::bound(Bind::Text(Some(text.clone()))));
                forms.push(real.then(" AS REAL)"));
            }
            _ => {}
        }
    }
    forms
}

/// What [`Dialect::cell`] selects of that value.
pub(super) fn sqlite_cell(key: &Key) -> String {
    match key {
        Key::Text(text) => format!("t{text}"),
        Key::Bytes(bytes) => format!("x{}", hex(bytes).to_ascii_uppercase()),
    }
}

pub(super) fn unhex(digits: &str) -> Result<Vec<u8>, ConnectorError> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return Err(unreadable());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| unreadable()))
        .collect()
}

pub(super) fn unreadable() -> ConnectorError {
    internal("a cell is not in the form that was asked for")
}

/// A fault of this service, not of the target.
pub(super) fn internal(detail: &str) -> ConnectorError {
    ConnectorError { kind: ErrorKind::Internal, detail: detail.to_owned() }
}
