//! Masks whose values are computed here: rows are read and locked, and set with the old value compared.

use std::sync::Arc;

use super::{
    address::{Address, Bound, beyond},
    compare::{Side, equals_exactly},
    context::Context,
    dialect::{Dialect, internal, sqlite_cell},
    fragment::Fragment,
    mask::{computed, constant},
    predicate,
    rounds::expected,
    session::Session,
    statement::Bind,
    walk::{finished, guarded},
};
use crate::{
    connectors::{Batch, ConnectorError, Cursor, NO_LIMIT, RecordedRow, Work},
    domain::{
        compiled::{Assignment, KeyColumn, Mask, MaskProgress, Rows},
        key::{Key, Tuple},
        schema::Family,
    },
};

/// A row as it was found.
struct Found {
    address: String,
    key: Vec<Key>,
    old: Tuple,
}

/// # Errors
/// As the database says.
pub(super) async fn batch(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    mask: &Mask,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    if limit != NO_LIMIT {
        return of_one(session, context, work, mask, cursor, limit).await;
    }
    let mut total = finished();
    for alternative in 0..predicate::walks(work.rows) {
        let one = Work { alternative, ..*work };
        // Each from its beginning: the keys of one alternative say nothing of those of the next.
        let batch = of_one(session, context, &one, mask, &mut Cursor::default(), limit).await?;
        total.affected += batch.affected;
        total.done &= batch.done;
        total.recorded.extend(batch.recorded);
    }
    Ok(total)
}

async fn of_one(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    mask: &Mask,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    match predicate::one(context, work.rows, work.alternative)? {
        None => Ok(finished()),
        Some(condition) => {
            let condition = guarded(context, work, condition)?;
            some(session, context, work, mask, condition, cursor, limit).await
        }
    }
}

async fn some(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    mask: &Mask,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    let keyed = !work.rows.key.is_empty();
    if !keyed && mask.progress == MaskProgress::Recorded {
        return Err(internal("a recorded mask needs a key"));
    }
    if !keyed && cursor.expected.is_none() {
        // Without a key nothing but their number tells rows that a trigger writes back from new ones.
        cursor.expected = Some(expected(session, context, work.rows, condition.clone()).await?);
    }
    let mut condition = condition;
    if let Some(after) = &cursor.after {
        condition =
            condition.then(" AND ").and(beyond(context, work.rows, &work.rows.key, after, Bound::After)?);
    }
    let found = read(session, context, work.rows, mask, condition, limit).await?;
    cursor.expected = cursor.expected.map(|expected| expected.saturating_sub(found.len() as u64));
    let done = found.len() < limit as usize || cursor.expected == Some(0);
    let mut batch = Batch { done, ..Batch::default() };
    if keyed && let Some(last) = found.last() {
        cursor.after = Some(last.key.clone());
    }
    for row in &found {
        let values = values(mask, &row.old, work.keys.mask_key.as_ref())?;
        batch.affected += set(session, context, work.rows, mask, row, &values).await?;
        if mask.progress == MaskProgress::Recorded {
            batch.recorded.push(RecordedRow { key: row.key.clone(), values });
        }
    }
    Ok(batch)
}

fn values(mask: &Mask, old: &Tuple, key: Option<&Arc<[u8; 32]>>) -> Result<Tuple, ConnectorError> {
    let key = key.map(AsRef::as_ref);
    mask.assignments
        .iter()
        .zip(old)
        .map(|(assignment, old)| computed(assignment, old.as_ref(), key))
        .collect()
}

/// Reads and locks the rows of a batch, in key order where there is a key.
async fn read(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    mask: &Mask,
    condition: Fragment,
    limit: u32,
) -> Result<Vec<Found>, ConnectorError> {
    let dialect = context.dialect;
    let address = Address::of(context, rows);
    let mut cells = address.cells(context, rows);
    let addressed = cells.len();
    let columns: Vec<&KeyColumn> = rows.key.iter().chain(assigned(mask)).collect();
    cells.extend(
        columns.iter().map(|column| dialect.cell(&dialect.column(&rows.table, &column.name), column.family)),
    );
    let order: Vec<String> =
        rows.key.iter().map(|column| dialect.column(&rows.table, &column.name)).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let limit = if limit == NO_LIMIT { String::new() } else { format!(" LIMIT {limit}") };
    let lock = if dialect == Dialect::Sqlite { "" } else { " FOR UPDATE" };
    let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&rows.table));
    let statement = condition.within(&head, &format!("{order}{limit}{lock}")).finish();
    session
        .query(&statement)
        .await?
        .into_iter()
        .map(|mut row| {
            if row.len() < addressed {
                return Err(internal("a row without an address"));
            }
            let values = row.split_off(addressed);
            let mut tuple = dialect.tuple(&columns, values)?;
            let old = tuple.split_off(rows.key.len());
            let key = tuple.into_iter().flatten().collect();
            Ok(Found { address: address.read(dialect, row)?, key, old })
        })
        .collect()
}

fn assigned(mask: &Mask) -> impl Iterator<Item = &KeyColumn> {
    mask.assignments.iter().map(|assignment: &Assignment| &assignment.column)
}

/// Sets one row, if it still holds what was read.
async fn set(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    mask: &Mask,
    row: &Found,
    values: &Tuple,
) -> Result<u64, ConnectorError> {
    let dialect = context.dialect;
    let assignments = mask.assignments.iter().zip(values).map(|(assignment, value)| {
        let name = dialect.quote(&assignment.column.name);
        let value = match value {
            Some(Key::Text(text)) => constant(dialect, &assignment.column, text),
            _ => Fragment::text("NULL"),
        };
        value.within(&format!("{name} = "), "")
    });
    let address = Address::of(context, rows).any_of(context, rows, &row.address)?;
    let unchanged = mask
        .assignments
        .iter()
        .zip(&row.old)
        // What is only set to NULL depends on no old value, and its type may not know equality.
        .filter(|(assignment, _)| assignment.strategy.is_computed())
        .map(|(assignment, old)| still(context, rows, &assignment.column, old.as_ref()));
    let condition = unchanged.fold(address, |condition, part| condition.then(" AND ").and(part));
    let statement = Fragment::join(assignments, ", ")
        .within(&format!("UPDATE {} SET ", dialect.table(&rows.table)), " WHERE ")
        .and(condition);
    session.execute(&statement.finish()).await
}

/// The column holds what was read of it.
fn still(context: Context<'_>, rows: &Rows, column: &KeyColumn, old: Option<&Key>) -> Fragment {
    let side = Side::own(context, &rows.table, column);
    match old {
        // A real number of a column without a type is not what its own text would be read as.
        Some(key) if context.dialect == Dialect::Sqlite && column.family == Family::Any => {
            let cell = context.dialect.cell(&side.expr, column.family);
            Fragment::bound(Bind::Text(Some(sqlite_cell(key)))).within(&format!("{cell} = "), "")
        }
        Some(key) => equals_exactly(context, &side, &vec![Some(key.clone())]),
        None => Fragment::text(&format!("{} IS NULL", side.expr)),
    }
}

/// The statement that reads keys and present values of every row of a recorded mask.
pub(super) fn reading(
    context: Context<'_>,
    work: &Work<'_>,
    mask: &Mask,
) -> Result<Option<Fragment>, ConnectorError> {
    let Some(condition) = predicate::one(context, work.rows, work.alternative)? else { return Ok(None) };
    let dialect = context.dialect;
    let cells: Vec<String> = work
        .rows
        .key
        .iter()
        .chain(assigned(mask))
        .map(|column| dialect.cell(&dialect.column(&work.rows.table, &column.name), column.family))
        .collect();
    let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&work.rows.table));
    Ok(Some(condition.within(&head, "")))
}

/// A row of [`reading`].
pub(super) fn recorded_row(
    dialect: Dialect,
    rows: &Rows,
    mask: &Mask,
    cells: super::statement::TextRow,
) -> Result<RecordedRow, ConnectorError> {
    let columns: Vec<&KeyColumn> = rows.key.iter().chain(assigned(mask)).collect();
    let mut key = dialect.tuple(&columns, cells)?;
    let values = key.split_off(rows.key.len());
    Ok(RecordedRow { key: key.into_iter().flatten().collect(), values })
}

/// How many rows hold exactly what was recorded of them.
pub(super) async fn holding(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    mask: &Mask,
    recorded: &[RecordedRow],
) -> Result<u64, ConnectorError> {
    let dialect = context.dialect;
    let sides: Vec<Side<'_>> =
        rows.key.iter().map(|column| Side::own(context, &rows.table, column)).collect();
    let ignore = vec![false; sides.len()];
    let mut held = 0;
    for chunk in recorded.chunks(500) {
        let keys: Vec<Tuple> = chunk.iter().map(|row| row.key.iter().cloned().map(Some).collect()).collect();
        let cells: Vec<String> = rows
            .key
            .iter()
            .chain(assigned(mask))
            .map(|column| dialect.cell(&dialect.column(&rows.table, &column.name), column.family))
            .collect();
        let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&rows.table));
        let condition = super::compare::equals_any(context, &sides, &ignore, &keys);
        for cells in session.query(&condition.within(&head, "").finish()).await? {
            let found = recorded_row(dialect, rows, mask, cells)?;
            held += u64::from(chunk.contains(&found));
        }
    }
    Ok(held)
}
