//! A reading of the whole log in constant memory, on one consistent state: events that are appended meanwhile
//! would otherwise look like chains that outgrew their heads.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::{StreamExt, stream, stream::BoxStream};

use super::{
    EventFilter, EventOrder, Store, StoreError,
    conn::{Conn, on},
    events::{Position, load},
    log_schema::{audit_readings, log_entries},
    pool::Held,
    schema::{backups, consents, fixture_files, holds, ledgers, plans, requests, runs, sweeps},
    verification::Verified,
};
use crate::domain::audit::{ChainHead, Event, exported::Exported};

/// Rows read at a time.
const CHUNK: i64 = 500;

/// The kinds of stream, in byte order: each has a table of its owners.
const OWNERS: [&str; 10] =
    ["backup", "consent", "fixture", "hold", "ledger", "plan", "reading", "request", "run", "sweep"];

/// A key, and the head beside it.
type HeadRow = (String, i64, String);

/// The heads of one table behind a key.
macro_rules! heads {
    ($conn:expr, $table:ident, $key:ident, $after:ident) => {{
        let query = $table::table.filter($table::$key.gt($after)).order($table::$key).limit(CHUNK).select((
            $table::$key,
            $table::audit_seq,
            $table::audit_hash,
        ));
        on!($conn, |c| query.load(c).await)?
    }};
}

/// The head of a stream as its owner row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub stream: String,
    pub head: ChainHead,
}

/// One consistent state of the log, for as long as it is held. Dropping it closes its connection.
pub struct Snapshot {
    pub(super) held: Held,
    events: Option<Position>,
    /// The last stream whose head was read.
    heads: Option<String>,
    pub(super) verified: Verified,
}

impl Store {
    /// Opens a consistent view of the log.
    ///
    /// # Errors
    /// As every statement.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut held = self.inner.snapshots.get(None).await?;
        let start = match held.conn {
            // In SQLite every read transaction sees one state of the file.
            Conn::Sqlite(_) => "BEGIN",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        held.conn.batch(start).await?;
        Ok(Snapshot { held, events: None, heads: None, verified: Verified::default() })
    }

    /// All events that pass the filter, in chunks, on one consistent state.
    #[must_use]
    pub fn stream_events(
        &self,
        filter: EventFilter,
        order: EventOrder,
    ) -> BoxStream<'static, Result<Vec<Event>, StoreError>> {
        stream::try_unfold((self.clone(), None), move |(store, snapshot)| {
            let filter = filter.clone();
            async move {
                let mut snapshot = store.reading(snapshot).await?;
                let chunk = snapshot.next_events(&filter, order).await?;
                if chunk.is_empty() {
                    snapshot.close().await?;
                    return Ok(None);
                }
                Ok(Some((chunk, (store, Some(snapshot)))))
            }
        })
        .boxed()
    }

    async fn reading(&self, begun: Option<Snapshot>) -> Result<Snapshot, StoreError> {
        match begun {
            Some(snapshot) => Ok(snapshot),
            None => self.snapshot().await,
        }
    }
}

impl Snapshot {
    /// The next chunk of events, empty at the end; filter and order are the same at every call.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_events(
        &mut self,
        filter: &EventFilter,
        order: EventOrder,
    ) -> Result<Vec<Event>, StoreError> {
        let events = load(&mut self.held.conn, filter, order, self.events.as_ref(), CHUNK).await?;
        if let Some(last) = events.last() {
            self.events = Some(Position::of(last));
        }
        Ok(events)
    }

    /// As [`next_events`](Self::next_events), the oldest first, each with its place in the log.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_exported(&mut self, filter: &EventFilter) -> Result<Vec<Exported>, StoreError> {
        let events = self.next_events(filter, EventOrder::Oldest).await?;
        let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        let query = log_entries::table
            .filter(log_entries::event_id.eq_any(&ids))
            .select((log_entries::event_id, log_entries::leaf_index));
        let places: Vec<(String, i64)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        let places: HashMap<String, i64> = places.into_iter().collect();
        let place = |id: &String| places.get(id).copied().map(i64::cast_unsigned);
        let exported = |(event, id): (Event, &String)| Exported { event, index: place(id) };
        Ok(events.into_iter().zip(&ids).map(exported).collect())
    }

    /// The next chunk of heads, in byte order of the stream's name, empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let last = self.heads.clone().unwrap_or_default();
        for kind in OWNERS {
            // `;` follows `:`.
            if last > format!("{kind};") {
                continue;
            }
            let after = last.strip_prefix(&format!("{kind}:")).unwrap_or_default();
            let rows = self.heads_of(kind, after).await?;
            let heads: Vec<Head> = rows.into_iter().map(|row| head(kind, row)).collect();
            if let Some(last) = heads.last() {
                self.heads = Some(last.stream.clone());
                return Ok(heads);
            }
        }
        Ok(Vec::new())
    }

    async fn heads_of(&mut self, kind: &str, after: &str) -> Result<Vec<HeadRow>, StoreError> {
        let conn = &mut self.held.conn;
        Ok(match kind {
            "backup" => heads!(conn, backups, name, after),
            "consent" => heads!(conn, consents, id, after),
            "fixture" => heads!(conn, fixture_files, id, after),
            "hold" => heads!(conn, holds, id, after),
            "ledger" => heads!(conn, ledgers, id, after),
            "plan" => heads!(conn, plans, name, after),
            "reading" => heads!(conn, audit_readings, day, after),
            "request" => heads!(conn, requests, id, after),
            "run" => heads!(conn, runs, id, after),
            _ => heads!(conn, sweeps, name, after),
        })
    }

    /// Ends the reading and hands its connection back.
    ///
    /// # Errors
    /// When the session was lost.
    pub async fn close(mut self) -> Result<(), StoreError> {
        self.held.conn.batch("COMMIT").await?;
        self.held.give_back();
        Ok(())
    }
}

fn head(kind: &str, (name, seq, hash): HeadRow) -> Head {
    Head { stream: format!("{kind}:{name}"), head: ChainHead { seq, hash } }
}
