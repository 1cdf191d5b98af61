//! What was seen of a row when it was collected. A row that is worked on in a later transaction must still be the one
//! that was found: its place, or its key, may be somebody else's by then.

use serde::{Deserialize, Serialize};

use super::{
    compare,
    context::Context,
    dialect::{Dialect, internal},
    fragment::Fragment,
    statement::TextRow,
};
use crate::{
    connectors::ConnectorError,
    domain::compiled::{Alternative, KeyColumn, Rows, Source},
};

/// How the row is found again, and the cells of [`columns`]. Values are personal data: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Witness {
    pub(super) address: String,
    pub(super) cells: TextRow,
}

/// The witnesses of a chunk, between which there are commas.
pub(super) fn read(chunk: &str) -> Result<Vec<Witness>, ConnectorError> {
    serde_json::from_str(&format!("[{chunk}]")).map_err(|_| internal("a row that cannot be read"))
}

/// The key, and every column that says whose row it is.
pub(super) fn columns(rows: &Rows) -> Vec<&KeyColumn> {
    let mut columns: Vec<&KeyColumn> = Vec::new();
    let matched = rows.any_of.iter().flat_map(|alternative| {
        let constants = match alternative {
            Alternative::Match { constants, .. } => constants.as_slice(),
            Alternative::Sql { .. } | Alternative::Age(_) => &[],
        };
        let own = alternative.links().iter().flat_map(|link| &link.columns);
        own.chain(constants.iter().map(|constant| &constant.column))
    });
    for column in rows.key.iter().chain(matched) {
        if !columns.iter().any(|known| known.name == column.name) {
            columns.push(column);
        }
    }
    columns
}

/// The row holds what was seen of one of these; `None` where no column says whose it is.
pub(super) fn unchanged(context: Context<'_>, rows: &Rows, witnesses: &[Witness]) -> Option<Fragment> {
    let columns = columns(rows);
    if columns.is_empty() {
        return None;
    }
    let texts = witnesses.iter().flat_map(|witness| {
        orphans(rows, &columns, &witness.cells).into_iter().map(|cells| written(context.dialect, &cells))
    });
    let seen = expression(context, rows, &columns);
    Some(compare::one_of_texts(context.dialect, &seen, texts.collect()))
}

/// The cells as they were seen, and as ON DELETE SET NULL leaves them when the row that a link points at goes first:
/// of rows that point at each other one has to.
fn orphans(rows: &Rows, columns: &[&KeyColumn], cells: &TextRow) -> Vec<TextRow> {
    let mut seen = vec![cells.clone()];
    let links = rows.any_of.iter().flat_map(Alternative::links).filter(|link| link.source == Source::Itself);
    for link in links {
        let emptied: Vec<TextRow> = seen
            .iter()
            .map(|cells| {
                let kept = columns.iter().zip(cells).map(|(column, cell)| {
                    let points = link.columns.iter().any(|own| own.name == column.name);
                    cell.clone().filter(|_| !points)
                });
                kept.collect()
            })
            .filter(|cells| !seen.contains(cells))
            .collect();
        seen.extend(emptied);
    }
    seen
}

/// Every cell with its length before it, so that no two rows are written alike.
fn written(dialect: Dialect, cells: &TextRow) -> String {
    let length = |cell: &str| match dialect {
        // Up to a NUL only, where characters are counted.
        Dialect::Sqlite => cell.len(),
        Dialect::Postgres | Dialect::MySql => cell.chars().count(),
    };
    let part = |cell: &Option<String>| match cell {
        Some(cell) => format!("{}:{cell}", length(cell)),
        None => "n".to_owned(),
    };
    cells.iter().map(part).collect()
}

/// The same, as the database writes it.
fn expression(context: Context<'_>, rows: &Rows, columns: &[&KeyColumn]) -> String {
    let dialect = context.dialect;
    let parts: Vec<String> = columns
        .iter()
        .map(|column| {
            let cell = dialect.cell(&dialect.column(&rows.table, &column.name), column.family);
            match dialect {
                Dialect::Postgres => format!("coalesce(length({cell})::text || ':' || {cell}, 'n')"),
                Dialect::MySql => format!("COALESCE(CONCAT(CHAR_LENGTH({cell}), ':', {cell}), 'n')"),
                Dialect::Sqlite => {
                    format!("coalesce(length(CAST({cell} AS BLOB)) || ':' || {cell}, 'n')")
                }
            }
        })
        .collect();
    match dialect {
        Dialect::Postgres | Dialect::Sqlite => parts.join(" || "),
        Dialect::MySql => format!("CONCAT({})", parts.join(", ")),
    }
}
