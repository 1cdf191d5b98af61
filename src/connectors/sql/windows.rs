//! Walks over a PostgreSQL table in its own order, some blocks at a time. Where a person has so much of a table that the
//! database would read all of it anyway, or no index leads to their rows, nothing has to be collected so, and no search
//! starts again from the beginning. Rows that come meanwhile, or move behind the walk, are found by the fresh count.

use super::{
    context::Context,
    dialect::{Dialect, internal},
    fragment::Fragment,
    session::Session,
    statement::Bind,
    walk::finished,
};
use crate::{
    connectors::{Batch, ConnectorError, Shape, Window, Work},
    domain::compiled::{Action, Alternative, Source},
};

/// Rows that a block is taken to hold until one was seen.
const DENSE: f64 = 100.0;
/// The least that is reckoned with: a batch of 10,000 rows reads no more than 10,000 blocks (80 MB).
const SPARSE: f64 = 1.0;

/// More rows than the largest block holds (32 kB): some that a trigger writes back are among them.
const FULL_BLOCK: u64 = 2_000;
/// With as many rows in a block hardly any of them is left out.
const PER_BLOCK: u64 = 4;

/// Blocks of a table, and whether its rows are in the order of their addresses and the server (from 14 on) finds them so.
const TABLE: &str = "SELECT (pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::bigint)::text, \
    (a.amname = 'heap' AND current_setting('server_version_num')::int >= 140000)::int::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE c.oid = ";

/// Whether work could be done like this: on one table, where each row is told by its own columns alone.
pub(super) fn fit(context: Context<'_>, work: &Work<'_>) -> bool {
    let rows = work.rows;
    let is_one_table = context.facts.table(&rows.table).is_some_and(|facts| !facts.spread);
    let by_own_columns = match rows.any_of.as_slice() {
        [Alternative::Match { links, .. }] => links.iter().all(|link| matches!(link.source, Source::Root(_))),
        [Alternative::Age(_)] => true,
        _ => false,
    };
    context.dialect == Dialect::Postgres
        && matches!(work.action, Action::Delete)
        && is_one_table
        && by_own_columns
        && rows.filter.is_none()
        && rows.except.is_empty()
        && rows.within.is_empty()
}

/// How a walk goes that has not begun.
///
/// # Errors
/// As the database says.
pub(super) async fn shape(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: &Fragment,
) -> Result<Shape, ConnectorError> {
    let table = context.dialect.table(&work.rows.table);
    let name = Fragment::bound(Bind::Text(Some(table.clone()))).within(TABLE, "::text::regclass");
    let found = session.query(&name.finish()).await?.into_iter().next().unwrap_or_default();
    let mut cells = found.into_iter().map(Option::unwrap_or_default);
    let blocks = cells.next().and_then(|blocks| blocks.parse().ok());
    let Some(blocks) = blocks.filter(|_| cells.next().as_deref() == Some("1")) else {
        return Ok(Shape::Rounds);
    };
    // An address is in no index, so that an index alone would not do.
    let asked = condition.clone().within(&format!("EXPLAIN SELECT ctid FROM {table} WHERE "), "");
    let plan = session.query(&asked.finish().once()).await?;
    Ok(match is_dense(plan.iter().flatten().flatten(), blocks) {
        true => Shape::Windows(Window { next: 0, blocks, density: DENSE, taken: 0 }),
        false => Shape::Rounds,
    })
}

/// Whether a plan reads all blocks of the table, or about as many: by how it goes, or by the rows that it expects.
fn is_dense<'a>(plan: impl IntoIterator<Item = &'a String>, blocks: u64) -> bool {
    let mut expected = None;
    for line in plan {
        let node = line.trim_start_matches([' ', '-', '>']);
        if node.starts_with("Seq Scan on ") || node.starts_with("Parallel Seq Scan on ") {
            return true;
        }
        let rows = node.split_once(" rows=").and_then(|(_, rows)| rows.split(' ').next()?.parse().ok());
        expected = expected.or(rows);
    }
    expected.is_some_and(|rows: u64| rows / PER_BLOCK >= blocks)
}

/// Works on at most `limit` rows of the next blocks.
///
/// # Errors
/// As the database says.
pub(super) async fn batch(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    condition: Fragment,
    window: &mut Window,
    limit: u32,
) -> Result<Batch, ConnectorError> {
    if window.next >= window.blocks {
        return Ok(finished());
    }
    let until = window.until(limit);
    let table = context.dialect.table(&work.rows.table);
    let ctid = context.dialect.column(&work.rows.table, "ctid");
    // The address of a row is compared, not told: with it in the text the database knows how few blocks these are.
    let head = format!(
        "DELETE FROM {table} WHERE {ctid} = ANY(ARRAY(SELECT {ctid} FROM {table} \
         WHERE {ctid} >= '({},0)'::tid AND {ctid} < '({until},0)'::tid AND ",
        window.next
    );
    let statement =
        condition.clone().within(&head, &format!(" LIMIT {limit})) AND ")).and(condition).finish();
    let affected = session.execute(&statement.once()).await?;
    if affected > u64::from(limit) {
        return Err(internal("more rows went than there were"));
    }
    window.passed(until, affected, limit);
    Ok(Batch { affected, done: window.next >= window.blocks, ..Batch::default() })
}

impl Window {
    /// Where the next window ends: as many blocks as should hold so many rows.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of blocks, of which a table has at most 2^32"
    )]
    fn until(&self, limit: u32) -> u64 {
        let blocks = (f64::from(limit) / self.density.max(SPARSE)).floor().max(1.0) as u64;
        (self.next + blocks).min(self.blocks)
    }

    /// Takes in what was found up to there.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn passed(&mut self, until: u64, found: u64, limit: u32) {
        self.taken += found;
        let more = found >= u64::from(limit) && (until - self.next > 1 || self.taken < FULL_BLOCK);
        if more {
            // Perhaps not all that is there: look again, at fewer blocks.
            self.density = self.density.max(SPARSE) * 2.0;
            return;
        }
        self.density = found as f64 / (until - self.next) as f64;
        (self.next, self.taken) = (until, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_how_densely_rows_lie() {
        let mut window = Window { next: 0, blocks: 1_000, density: DENSE, taken: 0 };
        assert_eq!(window.until(1_000), 10);
        // All of them may not have been all.
        window.passed(10, 1_000, 1_000);
        assert_eq!((window.next, window.until(1_000)), (0, 5));
        window.passed(5, 50, 1_000);
        assert_eq!((window.next, window.until(1_000)), (5, 105));
        window.passed(105, 0, 1_000);
        assert_eq!((window.next, window.until(600)), (105, 705));
        window.passed(705, 1, 600);
        assert_eq!(window.until(1_000), 1_000, "no further than the table");
        // A block holds more than a statement may take.
        window.density = 300.0;
        assert_eq!(window.until(1), 706);
        // Also where none was found before.
        let mut sparse = Window { next: 0, blocks: 1_000, density: 0.0, taken: 0 };
        sparse.passed(sparse.until(100), 100, 100);
        assert_eq!((sparse.next, sparse.until(100)), (0, 50));
        // Rows that come back keep nobody at the same block.
        for _ in 0..FULL_BLOCK {
            window.passed(706, 1, 1);
        }
        assert_eq!((window.next, window.taken), (706, 0));
    }

    #[test]
    fn a_plan_tells_whether_most_of_a_table_is_read() {
        let dense =
            |plan: &str, blocks| is_dense(&plan.lines().map(str::to_owned).collect::<Vec<_>>(), blocks);
        let all = "Gather  (cost=1000.00..5 rows=7 width=6)\n  ->  Parallel Seq Scan on visits  (cost=0.0 rows=3 width=6)";
        assert!(dense(all, 1_000));
        let some = "Bitmap Heap Scan on visits  (cost=8.00..9.00 rows=400 width=6)\n  Recheck Cond: (user_id = 1)\n  ->  \
                    Bitmap Index Scan on visits_by_user  (cost=0.00..7.00 rows=400000 width=0)";
        assert!(dense(some, 100) && !dense(some, 101));
        assert!(!dense("Index Scan using by on visits  (cost=0.43..8.45 rows=1 width=6)", 1_000));
    }
}
