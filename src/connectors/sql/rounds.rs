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
/// Where they come in slices with rests in between: nothing else happens meanwhile, and whoever stops the work waits.
const ROUND_OF_SLICES: usize = 100_000;
/// Addresses of a slice: PostgreSQL takes about a millisecond.
const SLICE: usize = 1_000;
/// The cursor of PostgreSQL's that hands them over; it goes with the transaction.
const SLICES: &str = "rightful_slices";

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
    let chunk = match next_chunk(session, context, work, condition, cursor, limit).await? {
        Next::Chunk(chunk) => chunk,
        Next::Looking => return Ok(Batch { looking: true, ..Batch::default() }),
        Next::End => return Ok(finished()),
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
    Ok(Batch { affected, done, ..Batch::default() })
}

/// What a walk comes to next.
pub(super) enum Next {
    /// Addresses of rows, a comma between two.
    Chunk(String),
    /// A slice of the round was collected.
    Looking,
    End,
}

/// Addresses of the next rows, at most `limit`.
pub(super) async fn next_chunk(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Next, ConnectorError> {
    if cursor.collecting.is_some() || cursor.collected.left() == 0 {
        let begun = cursor.collecting.is_some();
        let round = match cursor.collecting.take() {
            Some(round) => round,
            None => match next_round(session, context, work, &condition, cursor).await? {
                Some(round) => round,
                None => return Ok(Next::End),
            },
        };
        if is_in_slices(context, work, cursor) {
            slice(session, context, work, condition, cursor, begun, round).await?;
        } else {
            cursor.collected = collect(session, context, work.rows, condition, round).await?;
        }
        let is_whole = cursor.collecting.is_none();
        if is_whole && !starts(context, work, cursor) {
            return Ok(Next::End);
        }
        // All that was found by a single slice took no longer than a statement may.
        if begun || !is_whole {
            return Ok(Next::Looking);
        }
    }
    Ok(Next::Chunk(cursor.collected.take(usize::try_from(limit).unwrap_or(usize::MAX))))
}

/// How many addresses the next round has at most; `None` where the walk ends.
async fn next_round(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: &Fragment,
    cursor: &mut Cursor,
) -> Result<Option<usize>, ConnectorError> {
    let once = in_one_round(work.action);
    if cursor.rounds > 0 && (once || cursor.affected == 0 || cursor.expected == Some(0)) {
        // The last round changed nothing, or all that there were have been worked on.
        return Ok(None);
    }
    let round = size(context, work, cursor);
    if was_full(cursor, round) && cursor.expected.is_none() && keeps_rows(work.action) {
        cursor.expected = Some(expected(session, context, work.rows, condition.clone()).await?);
    }
    let left = cursor.expected.and_then(|expected| usize::try_from(expected).ok()).unwrap_or(round);
    Ok(Some(round.min(left)))
}

/// Takes in what a round has found; false where the walk ends.
fn starts(context: Context<'_>, work: &Work<'_>, cursor: &mut Cursor) -> bool {
    let found = cursor.collected.left();
    // A round that was not full had found every row: as many again are rows that were worked on before.
    let come_back =
        cursor.rounds > 0 && !was_full(cursor, size(context, work, cursor)) && found >= cursor.found;
    if found == 0 || come_back {
        cursor.collected = Packed::default();
        return false;
    }
    cursor.expected = cursor.expected.map(|expected| expected.saturating_sub(found as u64));
    cursor.rounds += 1;
    cursor.found = found;
    cursor.affected = 0;
    true
}

/// The most that a round of this walk holds.
fn size(context: Context<'_>, work: &Work<'_>, cursor: &Cursor) -> usize {
    match Address::of(context, work.rows).joins() {
        _ if in_one_round(work.action) => usize::MAX,
        None => ROUND_OF_ROWS,
        Some(_) if is_in_slices(context, work, cursor) => ROUND_OF_SLICES,
        Some(_) => ROUND,
    }
}

fn was_full(cursor: &Cursor, size: usize) -> bool {
    cursor.rounds > 0 && cursor.found == size
}

fn is_in_slices(context: Context<'_>, work: &Work<'_>, cursor: &Cursor) -> bool {
    cursor.in_slices && context.dialect == Dialect::Postgres && !in_one_round(work.action)
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
    condition: Fragment,
    limit: usize,
) -> Result<Packed, ConnectorError> {
    let (dialect, address) = (context.dialect, Address::of(context, rows));
    let cells = address.cells(context, rows).join(", ");
    let table = dialect.table(&rows.table);
    let tail = if limit == usize::MAX { String::new() } else { format!(" LIMIT {limit}") };
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

/// The next few addresses of a round of `round`, which goes on where the cursor says so afterwards.
async fn slice(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    begun: bool,
    round: usize,
) -> Result<(), ConnectorError> {
    let (dialect, address) = (context.dialect, Address::of(context, work.rows));
    if !begun {
        let cells = address.cells(context, work.rows).join(", ");
        let table = dialect.table(&work.rows.table);
        let head = format!("DECLARE {SLICES} NO SCROLL CURSOR FOR SELECT {cells} FROM {table} WHERE ");
        session.execute(&condition.within(&head, "").finish()).await?;
    }
    let wanted = SLICE.min(round - cursor.collected.left());
    let found = session.query(&Fragment::text(&format!("FETCH {wanted} FROM {SLICES}")).finish()).await?;
    let is_last = found.len() < wanted;
    let items: Vec<String> =
        found.into_iter().map(|row| address.read(dialect, row)).collect::<Result<_, _>>()?;
    cursor.collected.extend(items.iter().map(String::as_str));
    if is_last || cursor.collected.left() == round {
        return session.run(&format!("CLOSE {SLICES}")).await;
    }
    cursor.collecting = Some(round);
    Ok(())
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
    Ok(Batch { affected, done, ..Batch::default() })
}
