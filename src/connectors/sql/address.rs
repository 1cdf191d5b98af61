//! How a batch names the rows it works on, once they have been found.

use super::{
    compare::{LARGE, Side, equals_any},
    context::Context,
    dialect::{Dialect, internal},
    fragment::Fragment,
    statement::{Bind, TextRow},
};
use crate::{
    connectors::ConnectorError,
    domain::{
        compiled::{KeyColumn, Rows},
        key::{Key, Tuple},
        schema::RowAddress,
    },
};

/// The place of a row, or its key.
#[derive(Clone, Copy)]
pub(super) enum Address<'a> {
    /// PostgreSQL; with the table where rows lie in several.
    Ctid {
        spread: bool,
    },
    /// SQLite.
    Rowid,
    Key(&'a [KeyColumn]),
    /// MySQL without any key: rows cannot be named.
    None,
}

impl<'a> Address<'a> {
    pub(super) fn of(context: Context<'_>, rows: &'a Rows) -> Self {
        let facts = context.facts.table(&rows.table);
        match context.dialect {
            Dialect::Postgres => Self::Ctid { spread: facts.is_none_or(|facts| facts.spread) },
            Dialect::Sqlite if facts.is_none_or(|facts| facts.address == RowAddress::Rowid) => Self::Rowid,
            _ if rows.key.is_empty() => Self::None,
            _ => Self::Key(&rows.key),
        }
    }

    /// What is selected to learn an address.
    pub(super) fn cells(self, context: Context<'_>, rows: &Rows) -> Vec<String> {
        let column = |name: &str| context.dialect.column(&rows.table, name);
        match self {
            // In quotes, as an item of an array.
            Self::Ctid { spread: false } => vec![format!("'\"' || {}::text || '\"'", column("ctid"))],
            Self::Ctid { spread: true } => {
                vec![format!(
                    "'\"' || {}::oid::text || ':' || {}::text || '\"'",
                    column("tableoid"),
                    column("ctid")
                )]
            }
            Self::Rowid => vec![format!("CAST({} AS TEXT)", column("rowid"))],
            Self::Key(columns) => {
                columns.iter().map(|key| context.dialect.cell(&column(&key.name), key.family)).collect()
            }
            Self::None => Vec::new(),
        }
    }

    /// The address as a cursor keeps it.
    pub(super) fn read(self, dialect: Dialect, cells: TextRow) -> Result<String, ConnectorError> {
        match self {
            Self::Ctid { .. } | Self::Rowid => {
                cells.into_iter().next().flatten().ok_or_else(|| internal("a row without an address"))
            }
            Self::Key(columns) => {
                let columns: Vec<&KeyColumn> = columns.iter().collect();
                let tuple = dialect.tuple(&columns, cells)?;
                serde_json::to_string(&tuple).map_err(|_| internal("a key that cannot be kept"))
            }
            Self::None => Err(internal("rows without a key have no address")),
        }
    }

    /// What an address begins with where the database itself can join them, a comma between two.
    pub(super) fn joins(self) -> Option<&'static str> {
        match self {
            Self::Ctid { .. } => Some("\""),
            Self::Rowid => Some(""),
            Self::Key(_) | Self::None => None,
        }
    }

    /// Rows at any of these addresses, between which there are commas.
    pub(super) fn any_of(
        self,
        context: Context<'_>,
        rows: &Rows,
        addresses: &str,
    ) -> Result<Fragment, ConnectorError> {
        let column = |name: &str| context.dialect.column(&rows.table, name);
        match self {
            Self::Ctid { spread: false } => Ok(at_places(context, rows, addresses)),
            Self::Ctid { spread: true } => Ok(in_tables(context, rows, addresses)),
            Self::Rowid => {
                // Numbers of the database's own, checked to be numbers.
                if !addresses.split(',').all(|address| address.parse::<i64>().is_ok()) {
                    return Err(internal("a rowid that is no number"));
                }
                Ok(Fragment::text(&format!("{} IN ({addresses})", column("rowid"))))
            }
            Self::Key(columns) => {
                let tuples: Vec<Tuple> = serde_json::from_str(&format!("[{addresses}]"))
                    .map_err(|_| internal("a key that cannot be read"))?;
                let sides: Vec<Side<'_>> =
                    columns.iter().map(|key| Side::own(context, &rows.table, key)).collect();
                let ignore = vec![false; columns.len()];
                // As values of the statement, so that the index is used: more than so many would become a list.
                let parts = tuples.chunks(LARGE).map(|tuples| equals_any(context, &sides, &ignore, tuples));
                Ok(Fragment::join(parts, " OR ").parenthesised())
            }
            Self::None => Err(internal("rows without a key have no address")),
        }
    }
}

/// As one literal: a parameter that is an array of texts would be cast item by item.
fn at_places(context: Context<'_>, rows: &Rows, places: &str) -> Fragment {
    let before = format!("{} = ANY(", context.dialect.column(&rows.table, "ctid"));
    Fragment::bound(Bind::Text(Some(format!("{{{places}}}")))).within(&before, "::text::tid[])")
}

/// Addresses of a table with others below it (partitions, heirs): the table's number and the place in it.
fn in_tables(context: Context<'_>, rows: &Rows, addresses: &str) -> Fragment {
    let column = |name: &str| context.dialect.column(&rows.table, name);
    let (tables, places): (Vec<&str>, Vec<&str>) =
        addresses.trim_matches('"').split("\",\"").filter_map(|address| address.split_once(':')).unzip();
    let places = format!("\"{}\"", places.join("\",\""));
    // The first condition is what makes it a scan by address, the second keeps the tables apart.
    let pairs = Fragment::bound(Bind::Text(Some(format!("{{{}}}", tables.join(",")))))
        .then("::text::oid[], ")
        .and(Fragment::bound(Bind::Text(Some(format!("{{{places}}}")))))
        .within(
            &format!(" AND ({}, {}) IN (SELECT v.t, v.c FROM unnest(", column("tableoid"), column("ctid")),
            "::text::tid[]) AS v(t, c))",
        );
    at_places(context, rows, &places).and(pairs)
}

/// `key > after` (or `<=`) in the database's own order, column by column, so that every database can use its index.
pub(super) fn beyond(
    context: Context<'_>,
    rows: &Rows,
    columns: &[KeyColumn],
    values: &[Key],
    bound: Bound,
) -> Result<Fragment, ConnectorError> {
    let mut alternatives = Vec::new();
    for last in 0..columns.len() {
        let mut parts = Vec::new();
        for (at, (column, value)) in columns.iter().zip(values).take(last + 1).enumerate() {
            let is_last = at == last;
            let operator = match bound {
                Bound::After if is_last => " > ",
                Bound::UpTo if is_last && last + 1 == columns.len() => " <= ",
                Bound::UpTo if is_last => " < ",
                _ => " = ",
            };
            let value = context
                .dialect
                .values(column, value)
                .into_iter()
                .next()
                .ok_or_else(|| internal("a key that its own column cannot hold"))?;
            let value = match context.dialect {
                Dialect::Postgres => value.then(&format!("::{}", super::dialect::postgres_cast(column))),
                _ => value,
            };
            parts.push(
                Fragment::text(&context.dialect.column(&rows.table, &column.name)).then(operator).and(value),
            );
        }
        alternatives.push(Fragment::join(parts, " AND ").parenthesised());
    }
    Ok(Fragment::join(alternatives, " OR ").parenthesised())
}

#[derive(Clone, Copy)]
pub(super) enum Bound {
    After,
    UpTo,
}
