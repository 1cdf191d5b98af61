//! Rows that are handed over and then deleted: locked, read and deleted in one transaction, so that what was read is what
//! goes.

use super::{
    address::Address,
    context::Context,
    dialect::{Dialect, internal},
    extract::Reader,
    facts::Facts,
    fragment::Fragment,
    rounds::{Next, next_chunk},
    session::Session,
    walk::{finished, of_alternative},
};
use crate::connectors::{Batch, ConnectorError, Cursor, ErrorKind, Taken, Work};

/// # Errors
/// As the database says; `Conflict` when a row changed between its reading and its deletion.
pub(super) async fn take(
    session: &mut Session,
    facts: &Facts,
    work: &Work<'_>,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Taken, ConnectorError> {
    let context = Context::new(session.dialect(), facts, work.keys);
    let address = Address::of(context, work.rows);
    let readers = Reader::all(context.dialect, facts, &work.rows.table)?;
    let columns: Vec<String> = readers.iter().map(|reader| reader.name().to_owned()).collect();
    let nothing = |batch: Batch| Taken { columns: columns.clone(), rows: Vec::new(), batch };
    let Some(condition) = of_alternative(context, work)? else { return Ok(nothing(finished())) };
    let chunk = match next_chunk(session, context, work, condition, cursor, limit).await? {
        Next::Chunk(chunk) => chunk,
        Next::Looking => return Ok(nothing(Batch { looking: true, ..Batch::default() })),
        Next::End => return Ok(nothing(finished())),
    };
    let here = address.any_of(context, work.rows, &chunk)?;
    let still = of_alternative(context.checking(), work)?.unwrap_or_else(|| Fragment::text("FALSE"));
    let condition = here.then(" AND ").and(still);
    let table = context.dialect.table(&work.rows.table);
    let places = address.cells(context, work.rows);
    let cells =
        readers.iter().map(|reader| reader.cell(&context.dialect.column(&work.rows.table, reader.name())));
    let list = places.iter().cloned().chain(cells).collect::<Vec<_>>().join(", ");
    // BEGIN IMMEDIATE holds SQLite's one write lock.
    let lock = if context.dialect == Dialect::Sqlite { "" } else { " FOR UPDATE" };
    let found = session
        .query(&condition.within(&format!("SELECT {list} FROM {table} WHERE "), lock).finish())
        .await?;
    let mut addresses = Vec::with_capacity(found.len());
    let mut rows = Vec::with_capacity(found.len());
    for mut row in found {
        let values = row.split_off(places.len().min(row.len()));
        addresses.push(address.read(context.dialect, row)?);
        rows.push(Reader::values(&readers, values)?);
    }
    if rows.is_empty() {
        return Ok(nothing(Batch::default()));
    }
    let exactly = address.any_of(context, work.rows, &addresses.join(","))?;
    let deletion = exactly.within(&format!("DELETE FROM {table} WHERE "), "");
    let affected = session.execute(&deletion.finish()).await?;
    if affected != rows.len() as u64 {
        return Err(ConnectorError {
            kind: ErrorKind::Conflict,
            detail: internal("rows changed between their reading and their deletion").detail,
        });
    }
    cursor.affected += affected;
    Ok(Taken { columns, rows, batch: Batch { affected, ..Batch::default() } })
}
