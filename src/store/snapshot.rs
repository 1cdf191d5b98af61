//! A reading of the whole log in constant memory, on one consistent state: events that are appended meanwhile
//! would otherwise look like chains that outgrew their heads.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::{StreamExt, stream, stream::BoxStream};

use super::{
    EventFilter, EventOrder, Store, StoreError,
    conn::{Conn, on},
    events::{Position, load},
    pool::Held,
    schema::{fixture_files, holds, plans, requests},
};
use crate::domain::audit::{ChainHead, Event};

/// Rows read at a time.
const CHUNK: i64 = 500;

/// The head of a stream as its owner row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub stream: String,
    pub head: ChainHead,
}

/// One consistent state of the log, for as long as it is held. Dropping it closes its connection.
pub struct Snapshot {
    held: Held,
    events: Option<Position>,
    /// The last stream whose head was read.
    heads: Option<String>,
}

impl Store {
    /// Opens a consistent view of the log.
    ///
    /// # Errors
    /// As every statement.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut held = self.inner.snapshots.get().await?;
        let start = match held.conn {
            // In SQLite every read transaction sees one state of the file.
            Conn::Sqlite(_) => "BEGIN",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        held.conn.batch(start).await?;
        Ok(Snapshot { held, events: None, heads: None })
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

    /// The next chunk of heads, in byte order of the stream's name, empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        // One table after the other is byte order: `fixture:` comes before `hold:`, that before `plan:`, and that
        // before `request:`.
        let last = self.heads.clone().unwrap_or_default();
        let mut heads = match last.is_empty() || last.starts_with("fixture:") {
            true => self.fixture_heads().await?,
            false => Vec::new(),
        };
        if heads.is_empty() && !last.starts_with("plan:") && !last.starts_with("request:") {
            heads = self.hold_heads().await?;
        }
        if heads.is_empty() && !last.starts_with("request:") {
            heads = self.plan_heads().await?;
        }
        if heads.is_empty() {
            heads = self.request_heads().await?;
        }
        if let Some(last) = heads.last() {
            self.heads = Some(last.stream.clone());
        }
        Ok(heads)
    }

    async fn fixture_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let after =
            self.heads.as_deref().and_then(|stream| stream.strip_prefix("fixture:")).unwrap_or_default();
        // A file that was never loaded has no stream yet.
        let query = fixture_files::table
            .filter(fixture_files::id.gt(after).and(fixture_files::audit_seq.gt(0)))
            .order(fixture_files::id)
            .limit(CHUNK)
            .select((fixture_files::id, fixture_files::audit_seq, fixture_files::audit_hash));
        let rows: Vec<(String, i64, String)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        Ok(rows.into_iter().map(|row| head("fixture", row)).collect())
    }

    async fn hold_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let after = self.heads.as_deref().and_then(|stream| stream.strip_prefix("hold:")).unwrap_or_default();
        let query = holds::table.filter(holds::id.gt(after)).order(holds::id).limit(CHUNK).select((
            holds::id,
            holds::audit_seq,
            holds::audit_hash,
        ));
        let rows: Vec<(String, i64, String)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        Ok(rows.into_iter().map(|row| head("hold", row)).collect())
    }

    async fn plan_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let after = self.heads.as_deref().and_then(|stream| stream.strip_prefix("plan:")).unwrap_or_default();
        let query = plans::table.filter(plans::name.gt(after)).order(plans::name).limit(CHUNK).select((
            plans::name,
            plans::audit_seq,
            plans::audit_hash,
        ));
        let rows: Vec<(String, i64, String)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        Ok(rows.into_iter().map(|row| head("plan", row)).collect())
    }

    async fn request_heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let after =
            self.heads.as_deref().and_then(|stream| stream.strip_prefix("request:")).unwrap_or_default();
        let query = requests::table.filter(requests::id.gt(after)).order(requests::id).limit(CHUNK).select((
            requests::id,
            requests::audit_seq,
            requests::audit_hash,
        ));
        let rows: Vec<(String, i64, String)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        Ok(rows.into_iter().map(|row| head("request", row)).collect())
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

fn head(kind: &str, (name, seq, hash): (String, i64, String)) -> Head {
    Head { stream: format!("{kind}:{name}"), head: ChainHead { seq, hash } }
}
