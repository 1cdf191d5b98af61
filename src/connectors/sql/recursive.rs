//! Entries that are followed through themselves: threads, trees. Rows go leaf first, so that no row is removed
//! while one that is reached through it, or holds a foreign key onto it, is still there.

use std::collections::HashMap;

use super::{
    address::Address,
    closure,
    context::Context,
    dialect::internal,
    predicate,
    session::Session,
    statement::TextRow,
    walk,
    witness::{self, Witness},
};
use crate::{
    connectors::{Batch, ConnectorError, Cursor, NO_LIMIT, Work, packed::Packed},
    domain::{
        compiled::{KeyColumn, Rows},
        key::Tuple,
    },
};

/// A row of the selection: how it is found again, and for each own link what it points at and what it is pointed at by.
struct Node {
    kept: String,
    points_at: Vec<Tuple>,
    known_as: Vec<Tuple>,
}

/// Rows are remembered over many transactions, in which their place may become another row's, so the key comes first.
fn address<'a>(context: Context<'_>, rows: &'a Rows) -> Address<'a> {
    if rows.key.is_empty() { Address::of(context, rows) } else { Address::Key(&rows.key) }
}

/// # Errors
/// As the database says.
pub(super) async fn batch(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    cursor: &mut Cursor,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    if work.alternative > 0 {
        return Ok(walk::finished());
    }
    if cursor.rounds == 0 {
        cursor.rounds = 1;
        let nodes = nodes(session, context, work).await?;
        cursor.collected =
            Packed::groups(levels(&nodes).iter().map(|level| level.iter().map(|node| &*node.kept).collect()));
    }
    let address = address(context, work.rows);
    let mut affected = 0;
    // A batch stays within one level: MySQL checks foreign keys row by row.
    while cursor.collected.left() > 0 {
        let chunk = cursor.collected.take(usize::try_from(limit).unwrap_or(usize::MAX));
        let witnesses = witness::read(&chunk)?;
        let addresses: Vec<&str> = witnesses.iter().map(|witness| &*witness.address).collect();
        let here = address.any_of(context, work.rows, &addresses.join(","))?;
        let same = witness::unchanged(context, work.rows, &witnesses);
        let own = predicate::own_restrictions(context, work.rows)?;
        let condition = same.into_iter().chain(own).fold(here, |here, part| here.then(" AND ").and(part));
        affected += walk::change(session, context, work, condition).await?;
        if limit != NO_LIMIT {
            break;
        }
    }
    Ok(Batch { affected, done: cursor.collected.left() == 0, ..Batch::default() })
}

/// The columns of each own link: those that point, and those that are pointed at.
type OwnLink<'a> = (Vec<&'a KeyColumn>, Vec<&'a KeyColumn>);

async fn nodes(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
) -> Result<Vec<Node>, ConnectorError> {
    let (dialect, rows) = (context.dialect, work.rows);
    let links: Vec<OwnLink<'_>> = closure::own_links(rows)
        .map(|link| (link.columns.iter().collect(), link.source_columns.iter().collect()))
        .collect();
    let cell = |column: &&KeyColumn| dialect.cell(&dialect.column(&rows.table, &column.name), column.family);
    let mut cells = address(context, rows).cells(context, rows);
    cells.extend(witness::columns(rows).iter().map(cell));
    cells.extend(links.iter().flat_map(|(from, to)| from.iter().chain(to)).map(cell));
    let condition = super::count::remaining(context, rows, work.action, predicate::all(context, rows)?)?;
    let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&rows.table));
    let found = session.query(&condition.within(&head, "").finish()).await?;
    found.into_iter().map(|row| node(context, rows, &links, row)).collect()
}

fn node(
    context: Context<'_>,
    rows: &Rows,
    links: &[OwnLink<'_>],
    row: TextRow,
) -> Result<Node, ConnectorError> {
    let dialect = context.dialect;
    let address = address(context, rows);
    let mut cells = row.into_iter();
    let place: TextRow = cells.by_ref().take(address.cells(context, rows).len()).collect();
    let seen: TextRow = cells.by_ref().take(witness::columns(rows).len()).collect();
    let kept = Witness { address: address.read(dialect, place)?, cells: seen };
    let kept = serde_json::to_string(&kept).map_err(|_| internal("a row that cannot be kept"))?;
    let mut node = Node { kept, points_at: Vec::new(), known_as: Vec::new() };
    for (from, to) in links {
        node.points_at.push(dialect.tuple(from, cells.by_ref().take(from.len()).collect())?);
        node.known_as.push(dialect.tuple(to, cells.by_ref().take(to.len()).collect())?);
    }
    Ok(node)
}

/// Rows by level, the leaves first: a level is taken when all that points at it is gone. Rows that point at each
/// other in a ring end in one level.
fn levels(nodes: &[Node]) -> Vec<Vec<&Node>> {
    let mut parents: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut children: Vec<usize> = vec![0; nodes.len()];
    for link in 0..nodes.first().map_or(0, |node| node.points_at.len()) {
        let mut by_key: HashMap<&Tuple, Vec<usize>> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if let Some(key) = node.known_as.get(link) {
                by_key.entry(key).or_default().push(at);
            }
        }
        for (at, node) in nodes.iter().enumerate() {
            let targets = node.points_at.get(link).and_then(|key| by_key.get(key));
            for parent in targets.into_iter().flatten().filter(|parent| **parent != at) {
                parents[at].push(*parent);
                children[*parent] += 1;
            }
        }
    }
    let mut left: Vec<bool> = vec![true; nodes.len()];
    let mut order: Vec<Vec<usize>> = Vec::new();
    let mut free: Vec<usize> = (0..nodes.len()).filter(|at| children[*at] == 0).collect();
    while !free.is_empty() {
        let mut next = Vec::new();
        for at in &free {
            left[*at] = false;
            for parent in &parents[*at] {
                children[*parent] -= 1;
                if children[*parent] == 0 {
                    next.push(*parent);
                }
            }
        }
        order.push(std::mem::replace(&mut free, next));
    }
    let ring: Vec<usize> = (0..nodes.len()).filter(|at| left[*at]).collect();
    if !ring.is_empty() {
        order.push(ring);
    }
    order.into_iter().map(|level| level.into_iter().filter_map(|at| nodes.get(at)).collect()).collect()
}
