//! One batch of a walk: which rows, and what is done with them.
//!
//! The shape decides how fast a large erasure is, above all while somebody holds an old snapshot (DESIGN.md §5): a
//! search that starts again from the beginning for every batch is quadratic then. Where an index leads with the
//! columns that are matched and goes on with the row's key, ranges of that key are walked; where the person has much of a
//! table it is passed through in windows of blocks; otherwise addresses are collected in rounds and worked on in chunks.

use super::{
    address::{Address, Bound, beyond},
    computed,
    context::Context,
    count::{remaining, unreferenced},
    dialect::{Dialect, internal},
    facts::Facts,
    fragment::Fragment,
    mask, predicate, rectify, recursive, rounds,
    session::Session,
    windows,
};
use crate::{
    connectors::{Batch, ConnectorError, Cursor, NO_LIMIT, Shape, Work},
    domain::{
        compiled::{Action, Alternative, KeyColumn, Rows, Source},
        key::Key,
        schema::RowAddress,
    },
};

/// # Errors
/// As the database says.
pub(super) async fn batch(
    session: &mut Session,
    facts: &Facts,
    work: &Work<'_>,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    let context = Context::new(session.dialect(), facts, work.keys);
    if let Action::Mask(mask) = work.action
        && mask::is_computed(mask)
    {
        return computed::batch(session, context, work, mask, cursor, limit).await;
    }
    if work.rows.reads_itself() {
        return recursive::batch(session, context, work, cursor, limit).await;
    }
    if limit == NO_LIMIT {
        return at_once(session, context, work).await;
    }
    let Some(condition) = of_alternative(context, work)? else { return Ok(finished()) };
    if matches!(work.action, Action::DeleteIfUnreferenced { .. }) {
        return rounds::collected(session, context, work, condition, cursor, limit).await;
    }
    let by_key = range_key(context, work);
    if by_key.is_none() && windows::fit(context, work) {
        if cursor.shape == Shape::Unknown {
            cursor.shape = windows::shape(session, context, work, &condition).await?;
        }
        if let Shape::Windows(window) = &mut cursor.shape {
            return windows::batch(session, context, work, condition, window, limit).await;
        }
    }
    match (by_key, Address::of(context, work.rows)) {
        (Some(key), _) => range(session, context, work, condition, cursor, limit, &key).await,
        (None, Address::None) => rounds::limited(session, context, work, condition, cursor, limit).await,
        (None, _) => rounds::collected(session, context, work, condition, cursor, limit).await,
    }
}

pub(super) fn finished() -> Batch {
    Batch { done: true, ..Batch::default() }
}

/// The rows of the alternative on which the action still has work.
pub(super) fn of_alternative(
    context: Context<'_>,
    work: &Work<'_>,
) -> Result<Option<Fragment>, ConnectorError> {
    let Some(condition) = predicate::one(context, work.rows, work.alternative)? else { return Ok(None) };
    let condition = match work.action {
        // Whether others point at it is asked once the row is locked.
        Action::DeleteIfUnreferenced { .. } => condition,
        action => remaining(context, work.rows, action, condition)?,
    };
    guarded(context, work, condition).map(Some)
}

/// The person's own row must still be the person's.
pub(super) fn guarded(
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
) -> Result<Fragment, ConnectorError> {
    match work.root {
        Some(root) => Ok(condition.then(" AND ").and(predicate::root_guard(context, root)?)),
        None => Ok(condition),
    }
}

/// One statement over all alternatives.
async fn at_once(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
) -> Result<Batch, ConnectorError> {
    let matched = guarded(context, work, predicate::all(context, work.rows)?)?;
    if let Action::DeleteIfUnreferenced { references } = work.action {
        lock(session, context, work.rows, matched.clone()).await?;
        let free = references.iter().fold(matched, |matched, reference| {
            matched.then(" AND ").and(unreferenced(context, work.rows, reference))
        });
        let affected = change(session, context, work, free).await?;
        return Ok(Batch { affected, ..finished() });
    }
    let condition = remaining(context, work.rows, work.action, matched)?;
    let affected = change(session, context, work, condition).await?;
    Ok(Batch { affected, ..finished() })
}

/// Every work without a limit, in order; those that are one statement each are sent together.
///
/// # Errors
/// As the database says.
pub(super) async fn at_once_each(
    session: &mut Session,
    facts: &Facts,
    works: &[Work<'_>],
) -> Result<Vec<Batch>, ConnectorError> {
    let mut batches = Vec::with_capacity(works.len());
    for group in works.chunk_by(|one, next| is_one_statement(one) && is_one_statement(next)) {
        if !group.iter().all(is_one_statement) {
            for work in group {
                batches.push(batch(session, facts, work, &mut Cursor::default(), NO_LIMIT).await?);
            }
            continue;
        }
        let statements = group
            .iter()
            .map(|work| {
                let context = Context::new(session.dialect(), facts, work.keys);
                let matched = guarded(context, work, predicate::all(context, work.rows)?)?;
                let condition = remaining(context, work.rows, work.action, matched)?;
                Ok(changing(context, work, condition)?.finish())
            })
            .collect::<Result<Vec<_>, ConnectorError>>()?;
        let affected = session.execute_all(statements).await?;
        batches.extend(affected.into_iter().map(|affected| Batch { affected, ..finished() }));
    }
    Ok(batches)
}

fn is_one_statement(work: &Work<'_>) -> bool {
    !work.rows.reads_itself()
        && match work.action {
            Action::Mask(mask) => !mask::is_computed(mask),
            Action::DeleteIfUnreferenced { .. } => false,
            Action::Delete
            | Action::Unlink { .. }
            | Action::Keep
            | Action::KeepUntil(_)
            | Action::Export(_)
            | Action::Http(_)
            | Action::Rectify(_) => true,
        }
}

/// Locks rows before their references are read, so that of two erasures that both give a row up the second one
/// sees what the first one did.
pub(super) async fn lock(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    condition: Fragment,
) -> Result<(), ConnectorError> {
    if context.dialect == Dialect::Sqlite {
        // BEGIN IMMEDIATE holds the one write lock there is.
        return Ok(());
    }
    let head = format!("SELECT '1' FROM {} WHERE ", context.dialect.table(&rows.table));
    session.query(&condition.within(&head, " FOR UPDATE").finish()).await.map(|_| ())
}

/// Carries the action out on the rows of a condition.
pub(super) async fn change(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
) -> Result<u64, ConnectorError> {
    session.execute(&changing(context, work, condition)?.finish()).await
}

pub(super) fn changing(
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
) -> Result<Fragment, ConnectorError> {
    let table = context.dialect.table(&work.rows.table);
    let updating = |assignments: Fragment| {
        assignments.within(&format!("UPDATE {table} SET "), " WHERE ").and(condition.clone())
    };
    match work.action {
        Action::Delete | Action::DeleteIfUnreferenced { .. } => {
            Ok(condition.within(&format!("DELETE FROM {table} WHERE "), ""))
        }
        Action::Unlink { columns } => Ok(updating(unlinking(context, work.rows, columns)?)),
        Action::Mask(mask) => Ok(updating(mask::assignments(context, work.rows, mask)?)),
        Action::Rectify(rectification) if rectification.is_bound() => {
            Ok(updating(rectify::assignments(context, rectification)))
        }
        Action::Keep | Action::KeepUntil(_) | Action::Export(_) | Action::Http(_) | Action::Rectify(_) => {
            Err(internal("rows that stay as they are are not worked on"))
        }
    }
}

/// Each column becomes NULL where the alternative that names it matches: the same row may point at somebody else
/// through another one.
fn unlinking(context: Context<'_>, rows: &Rows, columns: &[KeyColumn]) -> Result<Fragment, ConnectorError> {
    let parts = columns
        .iter()
        .map(|column| {
            let name = context.dialect.quote(&column.name);
            let naming: Vec<usize> =
                (0..rows.any_of.len()).filter(|at| names(&rows.any_of[*at], column)).collect();
            if rows.any_of.len() <= 1 || naming.len() == rows.any_of.len() {
                return Ok(Fragment::text(&format!("{name} = NULL")));
            }
            let conditions = naming
                .into_iter()
                .map(|at| predicate::alternative(context.checking(), rows, at))
                .collect::<Result<Vec<_>, _>>()?;
            let own = context.dialect.column(&rows.table, &column.name);
            Ok(predicate::any(conditions)
                .within(&format!("{name} = CASE WHEN "), &format!(" THEN NULL ELSE {own} END")))
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(Fragment::join(parts, ", "))
}

fn names(alternative: &Alternative, column: &KeyColumn) -> bool {
    match alternative {
        Alternative::Match { links, .. } => {
            links.iter().any(|link| link.columns.iter().any(|own| own.name == column.name))
        }
        Alternative::Sql { .. } | Alternative::Age(_) => false,
    }
}

/// The key by whose ranges the alternative is walked, where an index makes that linear.
pub(super) fn range_key(context: Context<'_>, work: &Work<'_>) -> Option<Vec<KeyColumn>> {
    let links = match work.rows.any_of.get(work.alternative)? {
        Alternative::Match { links, .. } => links.as_slice(),
        // No index leads from a time to the key, and there is none to lose: one pass over the table in its own order.
        Alternative::Age(_) if context.dialect != Dialect::Postgres => &[],
        Alternative::Age(_) | Alternative::Sql { .. } => return None,
    };
    let by_values = links.iter().all(|link| matches!(link.source, Source::Root(_)));
    if !by_values {
        return None;
    }
    let facts = context.facts.table(&work.rows.table)?;
    match context.dialect {
        // Every index goes on with the rowid or the primary key there.
        Dialect::Sqlite if facts.address == RowAddress::Rowid => Some(vec![rowid()]),
        Dialect::Sqlite | Dialect::MySql => (!work.rows.key.is_empty()).then(|| work.rows.key.clone()),
        Dialect::Postgres => {
            let matched: Vec<&str> =
                links.iter().flat_map(|link| &link.columns).map(|column| column.name.as_str()).collect();
            let key: Vec<&str> = work.rows.key.iter().map(|column| column.name.as_str()).collect();
            let serves = facts.indexes.iter().any(|index| {
                let index: Vec<&str> = index.iter().map(String::as_str).collect();
                let (head, rest) = index.split_at(matched.len().min(index.len()));
                head.len() == matched.len()
                    && matched.iter().all(|name| head.contains(name))
                    && rest.starts_with(&key)
            });
            (serves && !key.is_empty()).then(|| work.rows.key.clone())
        }
    }
}

fn rowid() -> KeyColumn {
    KeyColumn {
        name: "rowid".to_owned(),
        type_name: "INTEGER".to_owned(),
        family: crate::domain::schema::Family::Integer,
        nullable: false,
    }
}

/// Finds where the batch ends, then works on the range up to there.
async fn range(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    cursor: &mut Cursor,
    limit: u32,
    key: &[KeyColumn],
) -> Result<Batch, ConnectorError> {
    let mut condition = condition;
    if let Some(after) = &cursor.after {
        condition = condition.then(" AND ").and(beyond(context, work.rows, key, after, Bound::After)?);
    }
    let upto = nth(session, context, work.rows, key, condition.clone(), limit).await?;
    if let Some(upto) = &upto {
        condition = condition.then(" AND ").and(beyond(context, work.rows, key, upto, Bound::UpTo)?);
    }
    let affected = change(session, context, work, condition).await?;
    let done = upto.is_none();
    cursor.after = upto.or_else(|| cursor.after.take());
    Ok(Batch { affected, done, ..Batch::default() })
}

/// The key of the last row of the batch; `None` when fewer rows are left.
async fn nth(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    key: &[KeyColumn],
    condition: Fragment,
    limit: u32,
) -> Result<Option<Vec<Key>>, ConnectorError> {
    let dialect = context.dialect;
    let names: Vec<String> = key.iter().map(|column| dialect.column(&rows.table, &column.name)).collect();
    let cells: Vec<String> =
        key.iter().zip(&names).map(|(column, name)| dialect.cell(name, column.family)).collect();
    let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&rows.table));
    let tail = format!(" ORDER BY {} LIMIT 1 OFFSET {}", names.join(", "), limit.saturating_sub(1));
    let found = session.query(&condition.within(&head, &tail).finish()).await?;
    let Some(row) = found.into_iter().next() else { return Ok(None) };
    let columns: Vec<&KeyColumn> = key.iter().collect();
    dialect.tuple(&columns, row).map(|tuple| tuple.into_iter().collect())
}
