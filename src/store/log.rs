//! The Merkle log over the events of all streams: the sequencer's part, which gives every committed event its place, and
//! what proofs are made of. Events commit in another order than that of their ids, so that no id tells how far the log has
//! got: each waits from its own transaction on, in a queue, or on SQLite, with its one writer at a time, mostly by its id.

use std::collections::HashMap;

use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Text},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    log_schema::{log_entries, log_queue, log_waiting},
    schema::audit_events,
};
use crate::domain::{
    audit::{hex, unhex},
    tree::{Digest, Edge, Leaves, Subtree, consistency, inclusion, joined, subtrees},
};
use crate::points::{self, Point};

/// One sequencer at a time for each schema; the first number is one that no other program is likely to lock.
const ADVISORY_LOCK: &str = "pg_try_advisory_xact_lock(716174366, hashtext(current_schema()))";
const INSERT: &str =
    "INSERT INTO log_entries (leaf_index, event_id, hashes) SELECT * FROM unnest($1, $2, $3)";
/// The same from the first index and a list of what [`together`] makes.
const SQLITE_INSERT: &str = "INSERT INTO log_entries (leaf_index, event_id, hashes) \
     SELECT ? + key, substr(value, instr(value, ' ') + 1), unhex(substr(value, 1, instr(value, ' ') - 1)) \
     FROM json_each(?)";

/// How far the log has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// Entries.
    pub size: u64,
    /// Events wait for their place.
    pub is_behind: bool,
}

/// What one turn of the sequencer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced {
    /// Events that were given their place.
    pub events: usize,
    /// The tree behind them.
    pub edge: Edge,
}

impl Store {
    /// # Errors
    /// As every statement.
    pub async fn log_state(&self) -> Result<LogState, StoreError> {
        let mut held = self.lookup().await?;
        let size = size(&mut held.conn).await?;
        let waiting = log_waiting::table.select(log_waiting::event_id).limit(1);
        let waiting: Option<String> = on!(&mut held.conn, |c| waiting.first(c).await.optional())?;
        held.give_back();
        Ok(LogState { size, is_behind: waiting.is_some() })
    }

    /// The place of an event; `None` before it has one.
    ///
    /// # Errors
    /// As every statement.
    pub async fn leaf_index(&self, event: Uuid) -> Result<Option<u64>, StoreError> {
        let query = log_entries::table
            .filter(log_entries::event_id.eq(event.to_string()))
            .select(log_entries::leaf_index);
        let index: Option<i64> = read!(self, |c| query.first(c).await.optional());
        Ok(index.map(i64::cast_unsigned))
    }

    /// The root of the tree when it had that size.
    ///
    /// # Errors
    /// `Internal` when it never had.
    pub async fn log_root(&self, size: u64) -> Result<Digest, StoreError> {
        let root = self.digests(std::slice::from_ref(&(0..size))).await?;
        root.into_iter().next().ok_or_else(|| StoreError::internal("a root is missing"))
    }

    /// The proof that a leaf is in the tree of that size (RFC 6962 §2.1.1); `None` where it is not.
    ///
    /// # Errors
    /// `Internal` when the tree never had that size.
    pub async fn inclusion_proof(&self, leaf: u64, size: u64) -> Result<Option<Vec<Digest>>, StoreError> {
        match inclusion(leaf, size) {
            Some(proof) => Ok(Some(self.digests(&proof).await?)),
            None => Ok(None),
        }
    }

    /// The proof that the tree of the size `new` continues that of the size `old` (RFC 6962 §2.1.2); `None` where it
    /// cannot.
    ///
    /// # Errors
    /// `Internal` when the tree never had these sizes.
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<Option<Vec<Digest>>, StoreError> {
        match consistency(old, new) {
            Some(proof) => Ok(Some(self.digests(&proof).await?)),
            None => Ok(None),
        }
    }

    /// The common hash of each of these ranges.
    async fn digests(&self, ranges: &[Leaves]) -> Result<Vec<Digest>, StoreError> {
        let wanted: Vec<Subtree> = ranges.iter().flat_map(subtrees).collect();
        let mut held = self.lookup().await?;
        let found = stored(&mut held.conn, &wanted).await?;
        held.give_back();
        let mut found = found.into_iter();
        Ok(ranges
            .iter()
            .map(|leaves| {
                let own: Vec<Digest> = found.by_ref().take(subtrees(leaves).len()).collect();
                joined(&own)
            })
            .collect())
    }
}

impl Tx {
    /// Becomes the one sequencer until this transaction ends; `false` where another is.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_log(&mut self) -> Result<bool, StoreError> {
        match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(_) => Ok(true),
            Conn::Postgres(c) => Ok(diesel::select(sql::<Bool>(ADVISORY_LOCK)).get_result(&mut **c).await?),
        }
    }

    /// Gives a place to events that wait for one, the oldest by their ids first. Only for who has
    /// [locked](Self::lock_log) the log.
    ///
    /// # Errors
    /// As every statement.
    pub async fn sequence(&mut self, limit: usize) -> Result<Sequenced, StoreError> {
        let conn = self.conn().await?;
        let taken = taken(&mut *conn, limit).await?;
        let size = size(&mut *conn).await?;
        let mut edge = Edge::new(size, stored(&mut *conn, &subtrees(&(0..size))).await?);
        if taken.is_empty() {
            return Ok(Sequenced { events: 0, edge });
        }
        let (mut indexes, mut ids, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for (id, hash) in taken {
            indexes.push(edge.size().cast_signed());
            hashes.push(edge.append(&unhex(&hash)).concat());
            ids.push(id);
        }
        points::reached(Point::LogRead);
        // One statement for all of them: a statement each costs the writers more than all the rest does.
        match &mut *conn {
            Conn::Sqlite(c) => {
                let insert = sql_query(SQLITE_INSERT)
                    .bind::<BigInt, _>(size.cast_signed())
                    .bind::<Text, _>(together(&ids, &hashes)?);
                insert.execute(c.get_mut()).await?;
            }
            Conn::Postgres(c) => {
                let insert = sql_query(INSERT)
                    .bind::<Array<BigInt>, _>(&indexes)
                    .bind::<Array<Text>, _>(&ids)
                    .bind::<Array<Binary>, _>(&hashes);
                insert.execute(&mut **c).await?;
            }
        }
        points::reached(Point::LogPlaced);
        Ok(Sequenced { events: ids.len(), edge })
    }
}

/// Each event's hashes in hex, a blank and its id, as a JSON list: SQLite has no arrays.
fn together(ids: &[String], hashes: &[Vec<u8>]) -> Result<String, StoreError> {
    let entry = |(id, hashes): (&String, &Vec<u8>)| format!("{} {id}", hex(hashes));
    let entries: Vec<String> = ids.iter().zip(hashes).map(entry).collect();
    serde_json::to_string(&entries).map_err(|_| StoreError::internal("an entry of the log is no JSON"))
}

/// Takes what waited longest, by its ids: events without a place and their hashes, the oldest first.
async fn taken(conn: &mut Conn, limit: usize) -> Result<Vec<(String, String)>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match conn {
        // Nobody else writes, so that what lies before the last of them is what was read.
        Conn::Sqlite(c) => {
            let c = c.get_mut();
            let oldest = log_waiting::table.order(log_waiting::event_id).limit(limit);
            let waiting: Vec<(String, Option<String>)> = oldest.load(c).await?;
            if let Some((last, _)) = waiting.last() {
                diesel::delete(log_queue::table.filter(log_queue::event_id.le(last))).execute(c).await?;
            }
            Ok(waiting.into_iter().filter_map(|(id, hash)| Some((id, hash?))).collect())
        }
        // In two readings, as the join may be carried out by walking through all events that there are.
        Conn::Postgres(c) => {
            let c = &mut **c;
            let oldest = log_queue::table.order(log_queue::event_id).limit(limit);
            let ids: Vec<String> = oldest.select(log_queue::event_id).load(c).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let events = audit_events::table
                .filter(audit_events::id.eq_any(&ids))
                .select((audit_events::id, audit_events::hash));
            let events = events.order(audit_events::id).load(c).await?;
            diesel::delete(log_queue::table.filter(log_queue::event_id.eq_any(&ids))).execute(c).await?;
            Ok(events)
        }
    }
}

async fn size(conn: &mut Conn) -> Result<u64, StoreError> {
    let last = log_entries::table.select(max(log_entries::leaf_index));
    let last: Option<i64> = on!(conn, |c| last.first(c).await)?;
    Ok(last.map_or(0, |last| last.cast_unsigned() + 1))
}

/// The hashes of these complete subtrees, which lie with the leaves that they end with.
async fn stored(conn: &mut Conn, wanted: &[Subtree]) -> Result<Vec<Digest>, StoreError> {
    let leaves: Vec<i64> = wanted.iter().map(|subtree| subtree.last_leaf().cast_signed()).collect();
    let query = log_entries::table
        .filter(log_entries::leaf_index.eq_any(&leaves))
        .select((log_entries::leaf_index, log_entries::hashes));
    let rows: Vec<(i64, Vec<u8>)> = on!(conn, |c| query.load(c).await)?;
    let rows: HashMap<i64, Vec<u8>> = rows.into_iter().collect();
    let digest = |(subtree, leaf): (&Subtree, &i64)| {
        let (hashes, _) = rows.get(leaf)?.as_chunks::<32>();
        hashes.get(usize::try_from(subtree.level).ok()?).copied()
    };
    let missing = || StoreError::internal("the log does not reach that far");
    wanted.iter().zip(&leaves).map(|wanted| digest(wanted).ok_or_else(missing)).collect()
}
