//! What verification reads of the log, on one consistent state: rows as the bytes they are, many at a time, because there
//! may be hundreds of millions. On SQLite they are taken from its statement where it runs; diesel-async would copy each
//! value for the way to another thread.

use std::ops::Range;

use diesel::{
    QueryResult,
    backend::Backend,
    deserialize::{self, FromSqlRow},
    dsl::{exists, not, sql},
    expression::SqlLiteral,
    pg::Pg,
    prelude::*,
    row::{Field, Row},
    sql_query,
    sql_types::{BigInt, Binary, Bool, Nullable, Text},
    sqlite::{Sqlite, SqliteType},
};
use diesel_async::RunQueryDsl;

use super::{
    Snapshot, StoreError,
    checkpoints::{Checkpoint, CheckpointRow, checkpoint},
    conn::{Conn, on},
    log_schema::{checkpoints, log_entries, log_waiting},
    schema::audit_events,
};
use crate::domain::{
    audit::{
        raw::{RawEvent, digest_of},
        verify::{Broken, Fault},
    },
    tree::leaf_of,
};

/// Rows read at a time.
const CHUNK: i64 = 2000;

/// How far verification has got: the last that was read of each. `None` before the first, whatever could lie there.
#[derive(Default)]
pub(super) struct Verified {
    event: Option<(String, i64)>,
    entry: Option<i64>,
    queued: Option<String>,
    checkpoint: Option<i64>,
}

/// A condition on where to go on, by the last that was read; the first time the least that can be counts too.
fn behind<T>(columns: &str, last: Option<&T>) -> SqlLiteral<Bool> {
    sql(&format!("{columns} {} ", if last.is_some() { ">" } else { ">=" }))
}

/// Loads rows in one call, on SQLite in the place where its connection runs.
macro_rules! load {
    ($conn:expr, $query:expr) => {
        match $conn {
            Conn::Sqlite(c) => {
                c.get_mut().spawn_blocking(move |c| diesel::RunQueryDsl::load($query, c)).await
            }
            Conn::Postgres(c) => RunQueryDsl::load($query, &mut **c).await,
        }
    };
}

/// A database whose values are read as bytes.
trait Bytes: Backend {
    fn append(value: Self::RawValue<'_>, bytes: &mut Vec<u8>);
}

impl Bytes for Sqlite {
    fn append(mut value: Self::RawValue<'_>, bytes: &mut Vec<u8>) {
        match value.value_type() {
            Some(SqliteType::Binary) => bytes.extend_from_slice(value.read_blob()),
            _ => bytes.extend_from_slice(value.read_text().as_bytes()),
        }
    }
}

impl Bytes for Pg {
    fn append(value: Self::RawValue<'_>, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(value.as_bytes());
    }
}

/// Appends a column; `false` where it is NULL.
fn append<'a, DB: Bytes>(row: &impl Row<'a, DB>, column: usize, bytes: &mut Vec<u8>) -> bool {
    let Some(field) = row.get(column) else { return false };
    let Some(value) = field.value() else { return false };
    DB::append(value, bytes);
    true
}

/// An event as it lies in the store.
pub struct EventBytes {
    seq: i64,
    bytes: Vec<u8>,
    /// Where each of the other columns ends, and whether it has a value.
    ends: [(usize, bool); TEXTS],
}

/// Columns of [`EventBytes`] but `seq`.
const TEXTS: usize = 13;
/// What an event commonly takes.
const EVENT: usize = 640;

type Optional = Nullable<Text>;
type EventColumns = (
    BigInt,
    Text,
    Text,
    Text,
    Text,
    Optional,
    Optional,
    Text,
    Optional,
    Optional,
    Optional,
    Text,
    Text,
    Text,
);
type EntryColumns = (BigInt, Text, Binary);

macro_rules! bytes_from {
    ($db:ty) => {
        impl FromSqlRow<EventColumns, $db> for EventBytes {
            fn build_from_row<'a>(row: &impl Row<'a, $db>) -> deserialize::Result<Self> {
                let mut bytes = Vec::with_capacity(EVENT);
                let mut ends = [(0, false); TEXTS];
                for (column, end) in ends.iter_mut().enumerate() {
                    let has_value = append(row, column + 1, &mut bytes);
                    *end = (bytes.len(), has_value);
                }
                Ok(Self { seq: row.get_value::<BigInt, i64, _>(0)?, bytes, ends })
            }
        }
        impl FromSqlRow<EntryColumns, $db> for LogEntry {
            fn build_from_row<'a>(row: &impl Row<'a, $db>) -> deserialize::Result<Self> {
                let mut bytes = Vec::with_capacity(ENTRY);
                append(row, 1, &mut bytes);
                let id = bytes.len();
                append(row, 2, &mut bytes);
                Ok(Self { index: row.get_value::<BigInt, i64, _>(0)?, bytes, id })
            }
        }
    };
}
bytes_from!(Sqlite);
bytes_from!(Pg);

impl EventBytes {
    #[must_use]
    pub fn raw(&self) -> RawEvent<'_> {
        let range = |column: usize| -> Range<usize> {
            let start = column.checked_sub(1).map_or(0, |before| self.ends[before].0);
            start..self.ends[column].0
        };
        let text = |column| &self.bytes[range(column)];
        let optional = |column: usize| self.ends[column].1.then(|| text(column));
        RawEvent {
            id: text(0),
            stream: text(1),
            seq: self.seq,
            at: text(2),
            event: text(3),
            request_id: optional(4),
            subject_ref: optional(5),
            actor: text(6),
            step: optional(7),
            action: optional(8),
            rows: optional(9),
            details: text(10),
            prev_hash: text(11),
            hash: text(12),
        }
    }
}

/// An entry of the log as it lies in the store.
pub struct LogEntry {
    index: i64,
    bytes: Vec<u8>,
    /// Where the event's id ends.
    id: usize,
}

/// What an entry commonly takes.
const ENTRY: usize = 36 + 2 * 32;

impl LogEntry {
    /// `None` where it is none.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        u64::try_from(self.index).ok()
    }

    #[must_use]
    pub fn event_id(&self) -> &[u8] {
        &self.bytes[..self.id]
    }

    /// Of its leaf, and of the complete subtrees that it ends.
    #[must_use]
    pub fn hashes(&self) -> &[u8] {
        &self.bytes[self.id..]
    }
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// What waits for its place.
pub struct Queued {
    pub event_id: String,
    /// Of the event; `None` where there is none.
    pub hash: Option<String>,
}

impl Snapshot {
    /// The next events in the order of (stream, seq), empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_event_bytes(&mut self) -> Result<Vec<EventBytes>, StoreError> {
        use audit_events as e;
        let last = self.verified.event.clone();
        // Compared as a pair, which goes straight to its place in the index.
        let behind = behind("(stream, seq)", last.as_ref()).sql("(");
        let (stream, seq) = last.unwrap_or((String::new(), i64::MIN));
        let behind = behind.bind::<Text, _>(stream).sql(", ").bind::<BigInt, _>(seq).sql(")");
        let query = e::table.filter(behind).order((e::stream, e::seq)).limit(CHUNK).select((
            e::seq,
            e::id,
            e::stream,
            e::at,
            e::event,
            e::request_id,
            e::subject_ref,
            e::actor,
            e::step,
            e::action,
            e::counts,
            e::details,
            e::prev_hash,
            e::hash,
        ));
        let events: Vec<EventBytes> = load!(&mut self.held.conn, query)?;
        if let Some(last) = events.last() {
            self.verified.event = Some((String::from_utf8_lossy(last.raw().stream).into_owned(), last.seq));
        }
        Ok(events)
    }

    /// How many events the table holds, counted without the index by which they are read: one that shows less than
    /// there is hides from its reader what others see.
    ///
    /// # Errors
    /// As every statement.
    pub async fn count_events(&mut self) -> Result<u64, StoreError> {
        let from = match &mut self.held.conn {
            Conn::Sqlite(_) => "SELECT count(*) AS count FROM audit_events NOT INDEXED",
            conn @ Conn::Postgres(_) => {
                // For the rest of this snapshot, which has walked the chains already.
                conn.batch("SET LOCAL enable_seqscan = on; SET LOCAL enable_indexonlyscan = off").await?;
                "SELECT count(*) AS count FROM audit_events"
            }
        };
        let counted: Counted = on!(&mut self.held.conn, |c| sql_query(from).get_result(c).await)?;
        Ok(counted.count.cast_unsigned())
    }

    /// The next entries of the log by their place, empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_entries(&mut self) -> Result<Vec<LogEntry>, StoreError> {
        use log_entries as l;
        let query = l::table
            .filter(
                behind("leaf_index", self.verified.entry.as_ref())
                    .bind::<BigInt, _>(self.verified.entry.unwrap_or(i64::MIN)),
            )
            .order(l::leaf_index)
            .limit(CHUNK)
            .select((l::leaf_index, l::event_id, l::hashes));
        let entries: Vec<LogEntry> = load!(&mut self.held.conn, query)?;
        self.verified.entry = entries.last().map(|last| last.index).or(self.verified.entry);
        Ok(entries)
    }

    /// The next of what waits for a place, empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_queued(&mut self) -> Result<Vec<Queued>, StoreError> {
        let query = log_waiting::table
            .filter(
                behind("event_id", self.verified.queued.as_ref())
                    .bind::<Text, _>(self.verified.queued.clone().unwrap_or_default()),
            )
            .order(log_waiting::event_id)
            .limit(CHUNK);
        let rows: Vec<(String, Option<String>)> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        if let Some((last, _)) = rows.last() {
            self.verified.queued = Some(last.clone());
        }
        Ok(rows.into_iter().map(|(event_id, hash)| Queued { event_id, hash }).collect())
    }

    /// The next checkpoints by their number, empty at the end.
    ///
    /// # Errors
    /// As every statement.
    pub async fn next_checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        let query = checkpoints::table
            .filter(
                behind("number", self.verified.checkpoint.as_ref())
                    .bind::<BigInt, _>(self.verified.checkpoint.unwrap_or(i64::MIN)),
            )
            .order(checkpoints::number)
            .limit(CHUNK);
        let rows: Vec<CheckpointRow> = on!(&mut self.held.conn, |c| query.load(c).await)?;
        self.verified.checkpoint = rows.last().map(|(number, ..)| *number).or(self.verified.checkpoint);
        Ok(rows.into_iter().map(checkpoint).collect())
    }

    /// The first entry, among those before `end`, that is not the leaf of an event. For when it is known that something
    /// is wrong: every entry and its event are looked at.
    ///
    /// # Errors
    /// As every statement.
    pub async fn misplaced_entry(&mut self, end: Option<u64>) -> Result<Option<Broken>, StoreError> {
        type Found = (i64, Vec<u8>, Option<String>, Option<i64>, Option<String>);
        let end = end.and_then(|end| i64::try_from(end).ok()).unwrap_or(i64::MAX);
        let mut after = i64::MIN;
        loop {
            let query = log_entries::table
                .left_join(audit_events::table.on(audit_events::id.eq(log_entries::event_id)))
                .filter(log_entries::leaf_index.gt(after).and(log_entries::leaf_index.lt(end)))
                .order(log_entries::leaf_index)
                .limit(CHUNK)
                .select((
                    log_entries::leaf_index,
                    log_entries::hashes,
                    audit_events::stream.nullable(),
                    audit_events::seq.nullable(),
                    audit_events::hash.nullable(),
                ));
            let rows: Vec<Found> = on!(&mut self.held.conn, |c| query.load(c).await)?;
            let Some((last, ..)) = rows.last() else { return Ok(None) };
            after = *last;
            for (index, hashes, stream, seq, hash) in rows {
                let leaf =
                    hash.as_deref().and_then(|hash| digest_of(hash.as_bytes())).map(|hash| leaf_of(&hash));
                let reason = if hash.is_none() { Fault::EventMissing } else { Fault::LeafMismatch };
                if leaf.is_none_or(|leaf| !hashes.starts_with(&leaf)) {
                    return Ok(Some(Broken { stream, seq, reason, index: u64::try_from(index).ok() }));
                }
            }
        }
    }

    /// The first event that has no entry and does not wait for one, or else that has one and waits all the same.
    ///
    /// # Errors
    /// As every statement.
    pub async fn misplaced_event(&mut self) -> Result<Option<Broken>, StoreError> {
        use audit_events as e;
        let entry = || log_entries::table.filter(log_entries::event_id.eq(e::id));
        let queued = || log_waiting::table.filter(log_waiting::event_id.eq(e::id));
        let broken =
            |reason| move |(stream, seq): (String, i64)| Broken::event(stream.as_bytes(), seq, reason);
        let lost = e::table
            .filter(not(exists(entry())).and(not(exists(queued()))))
            .order((e::stream, e::seq))
            .select((e::stream, e::seq));
        let lost: QueryResult<Option<(String, i64)>> =
            on!(&mut self.held.conn, |c| lost.first(c).await.optional());
        if let Some(lost) = lost? {
            return Ok(Some(broken(Fault::PlaceMissing)(lost)));
        }
        let twice = e::table
            .filter(exists(entry()).and(exists(queued())))
            .order((e::stream, e::seq))
            .select((e::stream, e::seq));
        let twice: Option<(String, i64)> = on!(&mut self.held.conn, |c| twice.first(c).await.optional())?;
        Ok(twice.map(broken(Fault::QueueMismatch)))
    }
}
