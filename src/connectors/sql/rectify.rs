//! Rectification: what a row is set to, how one that holds it is told from one that does not, and what is asked before
//! anything is written.
//!
//! A value is compared as the column keeps it, byte for byte whatever the collation, so that a request that was killed
//! finds exactly the rows that are left, and a trigger that writes something else is found out.

mod trial;

pub(super) use self::trial::trial;
use super::{
    context::Context,
    dialect::{Dialect, bare_type, mysql_text},
    fragment::Fragment,
    statement::Bind,
};
use crate::domain::{
    audit::hex,
    compiled::{KeyColumn, Rows},
    rectification::{NewValue, Rectification},
    schema::Family,
};

/// The condition that a row does not hold all new values yet; `None` where none are given, as in a preview of a plan.
pub(super) fn not_yet(context: Context<'_>, rows: &Rows, rectification: &Rectification) -> Option<Fragment> {
    if !rectification.is_bound() {
        return None;
    }
    let parts = rectification.corrections().map(|(correctable, value)| {
        let column = &correctable.column;
        differs(context.dialect, &context.dialect.column(&rows.table, &column.name), column, value)
    });
    Some(Fragment::join(parts, " OR ").parenthesised())
}

/// `column = value, …`.
pub(super) fn assignments(context: Context<'_>, rectification: &Rectification) -> Fragment {
    let parts = rectification.corrections().map(|(correctable, value)| {
        let column = &correctable.column;
        let name = context.dialect.quote(&column.name);
        match value {
            // In the reference system that the row has.
            NewValue::Text(text) if context.dialect == Dialect::MySql && is_spatial(column) => {
                Fragment::bound(Bind::Text(Some(text.clone()))).within(
                    &format!("{name} = ST_GeomFromText("),
                    &format!(", COALESCE(ST_SRID({name}), 0))"),
                )
            }
            _ => written(context.dialect, column, value).within(&format!("{name} = "), ""),
        }
    });
    Fragment::join(parts, ", ")
}

/// The value as it is assigned: the database refuses what does not fit, instead of cutting it as a cast would.
pub(super) fn written(dialect: Dialect, column: &KeyColumn, value: &NewValue) -> Fragment {
    let text = match value {
        NewValue::Null => return Fragment::text("NULL"),
        NewValue::Bytes(bytes) => return binary(dialect, bytes),
        NewValue::Text(text) | NewValue::Number(text) => text,
    };
    let bound = Fragment::bound(Bind::Text(Some(text.clone())));
    match dialect {
        Dialect::Postgres => bound.then(&format!("::text::{}", postgres_bare(&column.type_name))),
        Dialect::MySql if is_bit(column) => bits(text),
        Dialect::MySql if is_spatial(column) => bound.within("ST_GeomFromText(", ")"),
        Dialect::MySql if column.family == Family::Integer => integer(text),
        Dialect::MySql => bound,
        Dialect::Sqlite if matches!(value, NewValue::Number(_)) => match text.parse::<i64>() {
            Ok(number) => Fragment::bound(Bind::Int(number)),
            Err(_) => bound.within("CAST(", " AS REAL)"),
        },
        Dialect::Sqlite => bound,
    }
}

fn binary(dialect: Dialect, bytes: &[u8]) -> Fragment {
    match dialect {
        Dialect::Postgres => {
            Fragment::bound(Bind::Text(Some(format!("\\x{}", hex(bytes))))).then("::text::bytea")
        }
        // As hex: the driver declares every parameter to be text of the session's character set.
        Dialect::MySql => Fragment::bound(Bind::Text(Some(hex(bytes)))).within("UNHEX(", ")"),
        Dialect::Sqlite => Fragment::bound(Bind::Bytes(Some(bytes.to_vec()))),
    }
}

/// The type without lengths, to which a text is turned before it is assigned; `character` and `bit` alone would mean a
/// single one.
fn postgres_bare(type_name: &str) -> String {
    let bare = bare_type(type_name);
    let (element, array) = match bare.strip_suffix("[]") {
        Some(element) => (element, "[]"),
        None => (bare.as_str(), ""),
    };
    let element = match element {
        "character" => "bpchar",
        "bit" => "bit varying",
        other => other,
    };
    format!("{element}{array}")
}

fn integer(text: &str) -> Fragment {
    match text.parse::<i64>() {
        Ok(number) => Fragment::bound(Bind::Int(number)),
        Err(_) => Fragment::bound(Bind::Text(Some(text.to_owned()))).within("CAST(", " AS UNSIGNED)"),
    }
}

fn is_bit(column: &KeyColumn) -> bool {
    column.type_name.starts_with("bit")
}

/// Digits 0 and 1 as the number that they are.
fn bits(text: &str) -> Fragment {
    let number = u64::from_str_radix(text, 2).unwrap_or_default();
    Fragment::bound(Bind::Text(Some(number.to_string()))).within("CAST(", " AS UNSIGNED)")
}

fn is_spatial(column: &KeyColumn) -> bool {
    const TYPES: [&str; 8] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
    ];
    column.family == Family::Other && TYPES.contains(&column.type_name.as_str())
}

/// The column holds something else than the value.
pub(super) fn differs(dialect: Dialect, expr: &str, column: &KeyColumn, value: &NewValue) -> Fragment {
    if *value == NewValue::Null {
        return Fragment::text(&format!("{expr} IS NOT NULL"));
    }
    match dialect {
        // As text, which every type has; some (json, xml, point) have no equality.
        Dialect::Postgres => kept_by_postgres(column, value)
            .within(&format!("({expr})::text COLLATE \"C\" IS DISTINCT FROM ("), ")::text COLLATE \"C\""),
        Dialect::MySql => {
            let (left, right) = mysql_sides(expr, column, value);
            right.within(&format!("NOT ({left} <=> "), ")")
        }
        Dialect::Sqlite => {
            written(dialect, column, value).within(&format!("{expr} COLLATE BINARY IS NOT "), "")
        }
    }
}

/// The value as the column keeps it.
fn kept_by_postgres(column: &KeyColumn, value: &NewValue) -> Fragment {
    match value {
        NewValue::Null => Fragment::text("NULL"),
        NewValue::Bytes(bytes) => binary(Dialect::Postgres, bytes),
        NewValue::Text(text) | NewValue::Number(text) => {
            Fragment::bound(Bind::Text(Some(text.clone()))).then(&format!("::text::{}", column.type_name))
        }
    }
}

/// `decimal(10,2) unsigned` as a cast takes it.
fn plain_decimal(name: &str) -> String {
    name.to_ascii_uppercase().replace(" UNSIGNED", "").replace(" ZEROFILL", "")
}

/// Column and value, so that `<=>` between them means the very same value.
fn mysql_sides(expr: &str, column: &KeyColumn, value: &NewValue) -> (String, Fragment) {
    let plain = |right: Fragment| (expr.to_owned(), right);
    let (NewValue::Text(text) | NewValue::Number(text)) = value else {
        return plain(written(Dialect::MySql, column, value));
    };
    let bound = Fragment::bound(Bind::Text(Some(text.clone())));
    let cast = |kind: &str| bound.clone().within("CAST(", &format!(" AS {kind})"));
    let name = column.type_name.as_str();
    let bytes = format!("CAST(CONVERT({expr} USING utf8mb4) AS BINARY)");
    match column.family {
        // MySQL's own type, which writes it anew.
        Family::Json if name == "json" => {
            (bytes, bound.within("CAST(CONVERT(JSON_EXTRACT(", ", '$') USING utf8mb4) AS BINARY)"))
        }
        family if mysql_text(family) => (bytes, cast("BINARY")),
        Family::Number if name.starts_with("decimal") => plain(cast(&plain_decimal(name))),
        // A float that shows so many digits, and holds what comes near to them.
        Family::Number if name.contains('(') => {
            let decimal = plain_decimal(&name.replace("float", "decimal").replace("double", "decimal"));
            (format!("CAST({expr} AS {decimal})"), cast(&decimal))
        }
        // What a float keeps of it, as a double: a float is one when it is compared.
        Family::Number if name.starts_with("float") => {
            #[expect(clippy::cast_possible_truncation, reason = "the column does the same")]
            let kept = f64::from(text.parse::<f64>().unwrap_or_default() as f32);
            plain(Fragment::bound(Bind::Text(Some(kept.to_string()))).within("CAST(", " AS DOUBLE)"))
        }
        Family::Number => plain(cast("DOUBLE")),
        Family::Time if name.starts_with("datetime") || name.starts_with("timestamp") => {
            plain(cast("DATETIME(6)"))
        }
        Family::Time if name.starts_with("date") => plain(cast("DATE")),
        Family::Time => plain(cast("TIME(6)")),
        Family::Other if is_bit(column) => (format!("({expr} + 0)"), bits(text)),
        Family::Other if is_spatial(column) => {
            (format!("ST_AsBinary({expr})"), bound.within("ST_AsBinary(ST_GeomFromText(", "))"))
        }
        _ => plain(written(Dialect::MySql, column, value)),
    }
}
