//! Selections that read their own table (`parent_id: comments.id` on `comments`), followed to the end by a
//! recursive query over row keys; each row once, so that rows that point at each other end it too.

use super::{
    compare::{FALSE, KEYS, Side, equals_sides},
    context::Context,
    dialect::{Dialect, internal},
    fragment::Fragment,
    predicate,
};
use crate::{
    connectors::ConnectorError,
    domain::compiled::{Alternative, KeyColumn, Link, Rows, Source},
};

const WALK: &str = "rightful_w";

fn through_itself(alternative: &Alternative) -> bool {
    alternative.links().iter().any(|link| link.source == Source::Itself)
}

/// The links of a table to itself: its columns that point, and those that are pointed at.
pub(super) fn own_links(rows: &Rows) -> impl Iterator<Item = &Link> {
    rows.any_of.iter().flat_map(Alternative::links).filter(|link| link.source == Source::Itself)
}

/// `(key) IN (WITH RECURSIVE …)`.
pub(super) fn selection(context: Context<'_>, rows: &Rows) -> Result<Fragment, ConnectorError> {
    let inner = context.searching();
    let address = identity(context, rows)?;
    let sources = source_columns(rows);
    let dialect = context.dialect;
    let list = address
        .iter()
        .cloned()
        .chain(sources.iter().map(|column| dialect.column(&rows.table, &column.name)))
        .collect::<Vec<_>>()
        .join(", ");
    let own = predicate::own_restrictions(inner, rows)?;
    let restricted =
        |first: Fragment| Fragment::join(std::iter::once(first).chain(own.iter().cloned()), " AND ");
    let from = dialect.table(&rows.table);
    let mut terms = Vec::new();
    let mut steps = Vec::new();
    for (index, alternative) in rows.any_of.iter().enumerate() {
        if through_itself(alternative) {
            steps.push(step(inner, rows, alternative, &sources)?);
        } else {
            let condition = restricted(predicate::alternative(inner, rows, index)?);
            terms.push(condition.within(&format!("SELECT {list} FROM {from} WHERE "), ""));
        }
    }
    if terms.is_empty() {
        return Ok(Fragment::text(FALSE));
    }
    terms.push(
        restricted(predicate::any(steps)).within(&format!("SELECT {list} FROM {WALK}, {from} WHERE "), ""),
    );
    let addresses: Vec<String> = (0..address.len()).map(|at| format!("rightful_a{at}")).collect();
    let names = addresses.iter().cloned().chain((0..sources.len()).map(|at| format!("{KEYS}{at}")));
    let names = names.collect::<Vec<_>>().join(", ");
    let walk = Fragment::join(terms, " UNION ").within(
        &format!("({}) IN (WITH RECURSIVE {WALK}({names}) AS (", address.join(", ")),
        &format!(") SELECT {} FROM {WALK})", addresses.join(", ")),
    );
    let within = if rows.within.is_empty() {
        None
    } else {
        let parts =
            rows.within.iter().map(|rows| predicate::all(context.whole(), rows)).collect::<Result<_, _>>()?;
        Some(predicate::any(parts))
    };
    Ok(Fragment::join(std::iter::once(walk).chain(within), " AND "))
}

/// How a row is told from the others: its key, or its place.
fn identity(context: Context<'_>, rows: &Rows) -> Result<Vec<String>, ConnectorError> {
    if !rows.key.is_empty() {
        return Ok(rows.key.iter().map(|column| context.dialect.column(&rows.table, &column.name)).collect());
    }
    match context.dialect {
        Dialect::Postgres => {
            Ok(["tableoid", "ctid"].iter().map(|name| context.dialect.column(&rows.table, name)).collect())
        }
        Dialect::Sqlite => Ok(vec![context.dialect.column(&rows.table, "rowid")]),
        Dialect::MySql => Err(internal("a table without a key cannot be followed through itself")),
    }
}

/// The columns that the walk carries along, each once.
fn source_columns(rows: &Rows) -> Vec<&KeyColumn> {
    let mut columns: Vec<&KeyColumn> = Vec::new();
    for column in own_links(rows).flat_map(|link| &link.source_columns) {
        if !columns.iter().any(|known| known.name == column.name) {
            columns.push(column);
        }
    }
    columns
}

/// The condition under which a row of the table follows from a row of the walk.
fn step(
    context: Context<'_>,
    rows: &Rows,
    alternative: &Alternative,
    sources: &[&KeyColumn],
) -> Result<Fragment, ConnectorError> {
    let Alternative::Match { links, constants } = alternative else {
        return Err(internal("trusted SQL cannot be followed through itself"));
    };
    let mut parts = Vec::new();
    for link in links {
        if link.source != Source::Itself {
            parts.push(predicate::link(context, &rows.table, link)?);
            continue;
        }
        let own = predicate::own_sides(context, &rows.table, &link.columns);
        let from = link
            .source_columns
            .iter()
            .map(|column| {
                let at = sources.iter().position(|source| source.name == column.name);
                let at = at.ok_or_else(|| internal("no such source column"))?;
                Ok(Side { expr: format!("{WALK}.{KEYS}{at}"), table: &rows.table, column })
            })
            .collect::<Result<Vec<_>, ConnectorError>>()?;
        parts.push(equals_sides(context, &own, &from, &link.ignore_case));
    }
    parts.extend(constants.iter().map(|constant| predicate::constant(context, &rows.table, constant)));
    Ok(Fragment::join(parts, " AND "))
}
