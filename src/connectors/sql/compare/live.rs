//! Two columns beside each other: by the pair that an index serves, and by bytes where that is not enough.

use super::{
    super::{
        context::Context,
        dialect::{Dialect, bare_type, mysql_text},
    },
    Side, mysql_bytes,
};
use crate::domain::schema::Family;

pub(super) type Pair = (String, String);

/// The indexable pair, and the byte-wise one where that is not enough.
pub(super) fn live_pairs(
    context: Context<'_>,
    own: &Side<'_>,
    from: &Side<'_>,
    ignore_case: bool,
) -> (Option<Pair>, Option<Pair>) {
    let (left, right) = (&own.expr, &from.expr);
    let family = own.column.family;
    let plain = Some((left.clone(), right.clone()));
    match context.dialect {
        Dialect::Postgres if family == Family::Text => {
            let collate =
                conflicting(context, own, from).map(|name| format!(" COLLATE {name}")).unwrap_or_default();
            let lower = |expr: &str| if ignore_case { format!("lower({expr})") } else { expr.to_owned() };
            let narrow = (lower(left), format!("{}{collate}", lower(right)));
            let exact = [own, from]
                .iter()
                .all(|side| context.facts.compares_exactly(context.dialect, side.table, side.column));
            let bytes = |expr: &str| format!("{}::text COLLATE \"C\"", lower(expr));
            (Some(narrow), (!exact).then(|| (bytes(left), bytes(right))))
        }
        Dialect::Postgres => {
            let (own, from) = (bare_type(&own.column.type_name), bare_type(&from.column.type_name));
            let alien =
                own != from && matches!(family, Family::Enum | Family::Json | Family::Array | Family::Other);
            if alien || own == "json" {
                return (Some((format!("{left}::text"), format!("{right}::text"))), None);
            }
            (plain, None)
        }
        Dialect::MySql if mysql_text(family) => mysql_live_pairs(context, own, from, ignore_case),
        Dialect::MySql => (plain, None),
        Dialect::Sqlite if family == Family::Text && ignore_case => {
            (Some((format!("rightful_lower({left})"), format!("rightful_lower({right})"))), None)
        }
        Dialect::Sqlite => {
            let exact = context.facts.compares_exactly(context.dialect, own.table, own.column);
            (plain, (!exact).then(|| (format!("{left} COLLATE BINARY"), right.clone())))
        }
    }
}

/// As [`live_pairs`], for texts of MySQL: by the own column's collation, so that its index serves, then by bytes.
fn mysql_live_pairs(
    context: Context<'_>,
    own: &Side<'_>,
    from: &Side<'_>,
    ignore_case: bool,
) -> (Option<Pair>, Option<Pair>) {
    let (left, right) = (&own.expr, &from.expr);
    let bytes = Some((mysql_bytes(left, ignore_case), mysql_bytes(right, ignore_case)));
    let collation = |side: &Side<'_>| context.facts.collation(side.table, &side.column.name);
    let (Some(own), Some(from)) = (collation(own), collation(from)) else { return (None, bytes) };
    if ignore_case && !own.ignores_case {
        return (None, bytes);
    }
    let narrow = if own.name == from.name {
        right.clone()
    } else {
        format!("CONVERT({right} USING {}) COLLATE {}", own.charset, own.name)
    };
    (Some((left.clone(), narrow)), bytes)
}

/// The collation that settles a comparison of two columns whose own ones differ: PostgreSQL refuses to choose.
fn conflicting(context: Context<'_>, own: &Side<'_>, from: &Side<'_>) -> Option<String> {
    let collation = |side: &Side<'_>| context.facts.collation(side.table, &side.column.name);
    match (collation(own), collation(from)) {
        (Some(own), Some(from)) if own.name != from.name => Some(own.name.clone()),
        _ => None,
    }
}
