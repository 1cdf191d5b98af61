//! Walks that find rows again: addresses are collected in rounds and worked on in chunks, or the statement itself is
//! limited and starts again each time. Rows that a trigger writes back are found for ever, so every walk here ends by
//! itself; what is left then is told by the fresh count.

use super::{
    address::Address,
    context::Context,
    count::unreferenced,
    dialect::{Dialect, internal},
    fragment::Fragment,
    session::Session,
    walk::{change, changing, finished, lock, of_alternative},
};
use crate::{
    connectors::{Batch, ConnectorError, Cursor, Work, packed::Packed},
    domain::compiled::{Action, Rows},
};

/// Addresses of one round where the database joins them: about 4 MB. The search of a round passes over all that
/// earlier ones have removed, so there should be few.
const ROUND: usize = 250_000;
/// Where they come row by row, each with memory of its own.
const ROUND_OF_ROWS: usize = 25_000;

/// Works on a chunk of the collected addresses, after collecting the next round where none is left.
pub(super) async fn collected(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    let address = Address::of(context, work.rows);
    let Some(chunk) = next_chunk(session, context, work, condition, cursor, limit).await? else {
        return Ok(finished());
    };
    let here = address.any_of(context, work.rows, &chunk)?;
    let still = of_alternative(context.checking(), work)?.unwrap_or_else(|| Fragment::text("FALSE"));
    let mut condition = here.then(" AND ").and(still);
    if let Action::DeleteIfUnreferenced { references } = work.action {
        lock(session, context, work.rows, condition.clone()).await?;
        condition = references.iter().fold(condition, |condition, reference| {
            condition.then(" AND ").and(unreferenced(context, work.rows, reference))
        });
    }
    let affected = change(session, context, work, condition).await?;
    cursor.affected += affected;
    let done = in_one_round(work.action) && cursor.collected.left() == 0;
    Ok(Batch { affected, done, recorded: Vec::new() })
}

/// Addresses of the next rows, at most `limit`; `None` where the walk ends.
pub(super) async fn next_chunk(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Option<String>, ConnectorError> {
    if cursor.collected.left() == 0 && !next_round(session, context, work, condition, cursor).await? {
        return Ok(None);
    }
    Ok(Some(cursor.collected.take(usize::try_from(limit).unwrap_or(usize::MAX))))
}

/// Collects the next round; false where the walk ends.
async fn next_round(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
) -> Result<bool, ConnectorError> {
    let once = in_one_round(work.action);
    if cursor.rounds > 0 && (once || cursor.affected == 0 || cursor.expected == Some(0)) {
        // The last round changed nothing, or all that there were have been worked on.
        return Ok(false);
    }
    let address = Address::of(context, work.rows);
    let round = if address.joins().is_some() { ROUND } else { ROUND_OF_ROWS };
    let was_full = cursor.rounds > 0 && cursor.found == round;
    if was_full && cursor.expected.is_none() && keeps_rows(work.action) {
        cursor.expected = Some(expected(session, context, work.rows, condition.clone()).await?);
    }
    let left = cursor.expected.and_then(|expected| usize::try_from(expected).ok()).unwrap_or(round);
    let limit = (!once).then_some(round.min(left));
    let collected = collect(session, context, work.rows, address, condition, limit).await?;
    let found = collected.left();
    // A round that was not full had found every row: as many again are rows that were worked on before.
    let come_back = cursor.rounds > 0 && !was_full && found >= cursor.found;
    if found == 0 || come_back {
        return Ok(false);
    }
    cursor.expected = cursor.expected.map(|expected| expected.saturating_sub(found as u64));
    cursor.collected = collected;
    cursor.rounds += 1;
    cursor.found = found;
    cursor.affected = 0;
    Ok(true)
}

/// Rows that others point at go on matching: one round over all of them, not several.
fn in_one_round(action: &Action) -> bool {
    matches!(action, Action::DeleteIfUnreferenced { .. })
}

/// True where a row that was worked on is still there, and could match again.
fn keeps_rows(action: &Action) -> bool {
    matches!(action, Action::Mask(_) | Action::Unlink { .. } | Action::Rectify(_))
}

/// How many rows there are to work on.
pub(super) async fn expected(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    condition: Fragment,
) -> Result<u64, ConnectorError> {
    let text = if context.dialect == Dialect::MySql { "CHAR" } else { "text" };
    let head = format!("SELECT CAST(count(*) AS {text}) FROM {} WHERE ", context.dialect.table(&rows.table));
    let counted = session.query(&condition.within(&head, "").finish()).await?;
    let count = counted.into_iter().flatten().flatten().next().and_then(|cell| cell.parse().ok());
    count.ok_or_else(|| internal("a count is not a number"))
}

/// The addresses of the rows, at most `limit`. Where it can, the database hands them over as one text: PostgreSQL
/// takes 100 ms for 250,000 of them, and 107 ms for 100,000 that are a row each.
async fn collect(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    address: Address<'_>,
    condition: Fragment,
    limit: Option<usize>,
) -> Result<Packed, ConnectorError> {
    let dialect = context.dialect;
    let cells = address.cells(context, rows).join(", ");
    let table = dialect.table(&rows.table);
    let tail = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    if let Some(start) = address.joins() {
        let join = if dialect == Dialect::Postgres { "string_agg" } else { "group_concat" };
        let head = format!("SELECT {join}(rightful_c.a, ',') FROM (SELECT {cells} AS a FROM {table} WHERE ");
        let tail = format!("{tail}) AS rightful_c");
        let found = session.query(&condition.within(&head, &tail).finish()).await?;
        let joined = found.into_iter().flatten().flatten().next().unwrap_or_default();
        return Ok(Packed::joined(joined, start));
    }
    let head = format!("SELECT {cells} FROM {table} WHERE ");
    let found = session.query(&condition.within(&head, &tail).finish()).await?;
    let items: Vec<String> =
        found.into_iter().map(|row| address.read(dialect, row)).collect::<Result<_, _>>()?;
    Ok(items.iter().map(String::as_str).collect())
}

/// MySQL tables without any key: the statement itself is limited and starts again each time.
pub(super) async fn limited(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    if cursor.expected.is_none() && keeps_rows(work.action) {
        cursor.expected = Some(expected(session, context, work.rows, condition.clone()).await?);
    }
    let statement = changing(context, work, condition)?.then(&format!(" LIMIT {limit}"));
    let affected = session.execute(&statement.finish()).await?;
    cursor.expected = cursor.expected.map(|expected| expected.saturating_sub(affected));
    let done = affected < u64::from(limit) || cursor.expected == Some(0);
    Ok(Batch { affected, done, recorded: Vec::new() })
}
