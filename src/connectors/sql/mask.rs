//! Masks: what a row is set to, and how a row that is not masked yet is told from one that is.

use aws_lc_rs::{digest, hmac, rand};

use super::{
    context::Context,
    dialect::{Dialect, internal, mysql_text},
    fragment::Fragment,
    statement::Bind,
};
use crate::{
    connectors::ConnectorError,
    domain::{
        audit::hex,
        compiled::{Assignment, KeyColumn, Mask, MaskProgress, Rows, Strategy},
        key::Key,
    },
};

/// The condition that a row still has to be masked; `None` where matching says it already.
pub(super) fn not_yet(
    context: Context<'_>,
    rows: &Rows,
    mask: &Mask,
) -> Result<Option<Fragment>, ConnectorError> {
    if mask.progress != MaskProgress::Predicate {
        return Ok(None);
    }
    let parts = mask
        .assignments
        .iter()
        .map(|assignment| {
            let column = context.dialect.column(&rows.table, &assignment.column.name);
            Ok(match &assignment.strategy {
                Strategy::NullRewrite => Fragment::text(&format!("{column} IS NOT NULL")),
                Strategy::StringRewrite(text) => {
                    // Byte for byte: a collation must not take another spelling for the mask.
                    let differs = exact(context.dialect, &column, &assignment.column)
                        .within("", " <> ")
                        .and(exact_value(context.dialect, text));
                    differs.within(&format!("({column} IS NOT NULL AND "), ")")
                }
                // NULL stays NULL and is done, whatever the plan's own condition makes of it.
                Strategy::Sql { done, .. } => {
                    context.trusted(done)?.within(&format!("({column} IS NOT NULL AND "), " IS NOT TRUE)")
                }
                Strategy::RandomStringRewrite { .. } | Strategy::Hash | Strategy::Hmac => {
                    return Err(internal("a computed mask has no predicate"));
                }
            })
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(Some(Fragment::join(parts, " OR ").parenthesised()))
}

fn exact(dialect: Dialect, column: &str, kind: &KeyColumn) -> Fragment {
    Fragment::text(&match dialect {
        Dialect::Postgres => format!("{column}::text COLLATE \"C\""),
        Dialect::MySql if mysql_text(kind.family) => {
            format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)")
        }
        Dialect::MySql => column.to_owned(),
        Dialect::Sqlite => format!("CAST({column} AS TEXT) COLLATE BINARY"),
    })
}

fn exact_value(dialect: Dialect, text: &str) -> Fragment {
    let bound = Fragment::bound(Bind::Text(Some(text.to_owned())));
    match dialect {
        Dialect::Postgres => bound.then("::text"),
        Dialect::MySql => bound.within("CAST(", " AS BINARY)"),
        Dialect::Sqlite => bound,
    }
}

/// `column = value, …` for masks whose values the database works out; NULL stays NULL.
pub(super) fn assignments(
    context: Context<'_>,
    rows: &Rows,
    mask: &Mask,
) -> Result<Fragment, ConnectorError> {
    let parts = mask
        .assignments
        .iter()
        .map(|assignment| {
            let name = context.dialect.quote(&assignment.column.name);
            let column = context.dialect.column(&rows.table, &assignment.column.name);
            let value = match &assignment.strategy {
                Strategy::NullRewrite => Fragment::text("NULL"),
                Strategy::StringRewrite(text) => constant(context.dialect, &assignment.column, text)
                    .within(&format!("CASE WHEN {column} IS NULL THEN NULL ELSE "), " END"),
                Strategy::Sql { value, .. } => context
                    .trusted(value)?
                    .within(&format!("CASE WHEN {column} IS NULL THEN NULL ELSE "), " END"),
                Strategy::RandomStringRewrite { .. } | Strategy::Hash | Strategy::Hmac => {
                    return Err(internal("a computed mask is not the database's"));
                }
            };
            Ok(value.within(&format!("{name} = "), ""))
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(Fragment::join(parts, ", "))
}

/// A bound text as a value of the column.
pub(super) fn constant(dialect: Dialect, column: &KeyColumn, text: &str) -> Fragment {
    let bound = Fragment::bound(Bind::Text(Some(text.to_owned())));
    match dialect {
        Dialect::Postgres => bound.then(&format!("::text::{}", column.type_name)),
        Dialect::MySql | Dialect::Sqlite => bound,
    }
}

pub(super) fn is_computed(mask: &Mask) -> bool {
    mask.assignments.iter().any(|assignment| assignment.strategy.is_computed())
}

/// The new value of one column of one row; `None` is NULL, which stays.
///
/// # Errors
/// When the operating system gives no random bytes, or the request has no key for `hmac`.
pub(super) fn computed(
    assignment: &Assignment,
    old: Option<&Key>,
    mask_key: Option<&[u8; 32]>,
) -> Result<Option<Key>, ConnectorError> {
    let Some(old) = old else { return Ok(None) };
    let bytes = match old {
        Key::Text(text) => text.as_bytes(),
        Key::Bytes(bytes) => bytes,
    };
    let text = match &assignment.strategy {
        Strategy::NullRewrite => return Ok(None),
        Strategy::StringRewrite(text) => text.clone(),
        Strategy::RandomStringRewrite { length } => random_text(*length)?,
        Strategy::Hash => hex(digest::digest(&digest::SHA256, bytes).as_ref()),
        Strategy::Hmac => {
            let key = mask_key.ok_or_else(|| internal("the request's mask key is missing"))?;
            hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref())
        }
        Strategy::Sql { .. } => return Err(internal("SQL cannot stand beside computed masks of one row")),
    };
    Ok(Some(Key::Text(text)))
}

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

fn random_text(length: u32) -> Result<String, ConnectorError> {
    let mut text = String::new();
    let mut bytes = [0_u8; 64];
    while text.len() < length as usize {
        rand::fill(&mut bytes).map_err(|_| internal("no random bytes"))?;
        // 252 is the largest multiple of 36 in a byte: what lies above would favour some letters.
        let letters =
            bytes.iter().filter(|byte| **byte < 252).filter_map(|byte| ALPHABET.get(usize::from(*byte % 36)));
        text.extend(letters.map(|letter| char::from(*letter)).take(length as usize - text.len()));
    }
    Ok(text)
}
