//! Counts: several in one round trip, one row each.

use super::{
    context::Context, dialect::internal, fragment::Fragment, mask, predicate, rectify, session::Session,
};
use crate::{
    connectors::{ConnectorError, Count, CountOf},
    domain::compiled::{Action, Reference, Rows},
};

/// # Errors
/// As the database says.
pub(super) async fn run(
    session: &mut Session,
    facts: &super::facts::Facts,
    counts: &[Count<'_>],
) -> Result<Vec<u64>, ConnectorError> {
    let dialect = session.dialect();
    let parts = counts
        .iter()
        .enumerate()
        .map(|(at, count)| {
            let context = Context::new(dialect, facts, count.keys);
            let (number, total) = match dialect {
                super::dialect::Dialect::MySql => (format!("{at}"), "CAST(COUNT(*) AS CHAR)"),
                _ => (format!("{at}"), "CAST(count(*) AS text)"),
            };
            let head = format!("SELECT '{number}', {total} FROM {} WHERE ", dialect.table(&count.rows.table));
            Ok(condition(context, count)?.within(&head, ""))
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(&Fragment::join(parts, " UNION ALL ").finish()).await?;
    let mut found = vec![0; counts.len()];
    for row in rows {
        let mut cells = row.into_iter().flatten();
        let at: Option<usize> = cells.next().and_then(|cell| cell.parse().ok());
        let total: Option<u64> = cells.next().and_then(|cell| cell.parse().ok());
        match (at.and_then(|at| found.get_mut(at)), total) {
            (Some(slot), Some(total)) => *slot = total,
            _ => return Err(internal("a count is not a number")),
        }
    }
    Ok(found)
}

fn condition(context: Context<'_>, count: &Count<'_>) -> Result<Fragment, ConnectorError> {
    let matched = predicate::all(context, count.rows)?;
    match count.of {
        CountOf::Matched => Ok(matched),
        CountOf::Remaining => remaining(context, count.rows, count.action, matched),
    }
}

/// `matched`, as far as the action still has work there.
pub(super) fn remaining(
    context: Context<'_>,
    rows: &Rows,
    action: &Action,
    matched: Fragment,
) -> Result<Fragment, ConnectorError> {
    Ok(match action {
        Action::Mask(found) => match mask::not_yet(context, rows, found)? {
            Some(not_yet) => matched.then(" AND ").and(not_yet),
            None => matched,
        },
        Action::DeleteIfUnreferenced { references } => {
            references.iter().fold(matched, |matched, reference| {
                matched.then(" AND ").and(unreferenced(context, rows, reference))
            })
        }
        Action::Rectify(rectification) => match rectify::not_yet(context, rows, rectification) {
            Some(not_yet) => matched.then(" AND ").and(not_yet),
            None => matched,
        },
        Action::Delete
        | Action::Unlink { .. }
        | Action::Keep
        | Action::KeepUntil(_)
        | Action::Export(_)
        | Action::Http(_) => matched,
    })
}

/// No row of the referring table points at this one; a row that points at itself does not count.
pub(super) fn unreferenced(context: Context<'_>, rows: &Rows, reference: &Reference) -> Fragment {
    let dialect = context.dialect;
    let other = "rightful_r";
    let mut conditions: Vec<String> = reference
        .columns
        .iter()
        .zip(&reference.own_columns)
        .map(|(column, own)| {
            format!("{other}.{} = {}", dialect.quote(&column.name), dialect.column(&rows.table, &own.name))
        })
        .collect();
    if reference.table == rows.table && !rows.key.is_empty() {
        let same: Vec<String> = rows
            .key
            .iter()
            .map(|column| {
                format!(
                    "{other}.{} = {}",
                    dialect.quote(&column.name),
                    dialect.column(&rows.table, &column.name)
                )
            })
            .collect();
        conditions.push(format!("NOT ({})", same.join(" AND ")));
    }
    Fragment::text(&format!(
        "NOT EXISTS (SELECT 1 FROM {} AS {other} WHERE {})",
        dialect.table(&reference.table),
        conditions.join(" AND ")
    ))
}
