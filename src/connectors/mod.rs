//! The systems that hold personal data. A connector knows how to read a catalog, count, and carry out one
//! batch; what to do and in which order is decided by `service::execute`, once, for all of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    compiled::{Action, ExportColumns, KeyColumn, KeySet, Root, Rows, TableName, TimeKind},
    fixture::Upserts,
    key::{Key, Tuple},
    package::{Column, Value},
    schema::Catalog,
};

pub mod backups;
pub mod files;
pub mod http;
pub mod objects;
mod packed;
pub mod sql;
pub mod web;

/// The values that the placeholders of a [`Rows`] stand for.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The root tuple; a missing row leaves `None` everywhere but in the identities that were given.
    pub root: Arc<Tuple>,
    /// One chunk (at most 1,000 tuples) of every key set that the rows are found through.
    pub chunk: BTreeMap<usize, Arc<Vec<Tuple>>>,
    /// All keys of a set: used inside `except` and `within`, where a chunk would not do.
    pub whole: BTreeMap<usize, Arc<Vec<Tuple>>>,
    /// Key of this request's own for `hmac` masks; 32 bytes.
    pub mask_key: Option<Arc<[u8; 32]>>,
}

/// What a batch works on: one alternative of a step's rows. Rows that an earlier alternative matches too are
/// left to that one.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    pub rows: &'a Rows,
    pub action: &'a Action,
    pub alternative: usize,
    pub keys: &'a Keys,
    /// The person's own row: the predicate also compares every identity column with the root tuple, so that a
    /// key that was given to somebody else meanwhile selects nothing.
    pub root: Option<&'a Root>,
}

/// Where a walk over a step's rows stands. Opaque outside the connectors but for what a resume needs.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// The key of the last row that was worked on, for walks in key order.
    pub after: Option<Vec<Key>>,
    /// How rows are found, where there is a choice.
    pub(crate) shape: Shape,
    /// Its user rests between calls: rows are looked for a few at a time, where that can be done.
    pub(crate) in_slices: bool,
    /// How many addresses the round has that is being collected; it goes on in the same transaction.
    pub(crate) collecting: Option<usize>,
    /// Row addresses that were collected and not yet worked on; shared between clones.
    pub(crate) collected: packed::Packed,
    /// How often addresses were collected.
    pub(crate) rounds: u32,
    /// How many there were the last time.
    pub(crate) found: usize,
    /// Rows changed since then.
    pub(crate) affected: u64,
    /// Rows that may still be worked on, where they have been counted: one that is written back each time would be
    /// found for ever.
    pub(crate) expected: Option<u64>,
}

/// How a walk finds its rows; chosen at its first batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Shape {
    #[default]
    Unknown,
    /// Addresses are collected, and worked on.
    Rounds,
    /// The table is passed through once.
    Windows(Window),
}

/// Where a pass through a table stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    /// The first block that was not passed.
    pub(crate) next: u64,
    /// How many the table had at the beginning.
    pub(crate) blocks: u64,
    /// Rows of the walk in a block, where they were looked for last.
    pub(crate) density: f64,
    /// Rows that went since the last block was passed.
    pub(crate) taken: u64,
}

/// A row of a [`MaskProgress::Recorded`](crate::domain::compiled::MaskProgress) mask: its key and what the
/// assigned columns are to hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordedRow {
    pub key: Vec<Key>,
    pub values: Tuple,
}

#[derive(Debug, Default)]
pub struct Batch {
    pub affected: u64,
    /// No row was left for this alternative and cursor when the batch ended.
    pub done: bool,
    /// Rows were looked for and none was worked on; the next call goes on in the same transaction.
    pub looking: bool,
    /// Recorded masks only: to be sealed in the store before the commit.
    pub recorded: Vec<RecordedRow>,
}

/// Rows that were handed over; personal data.
pub struct Taken {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    pub batch: Batch,
}

/// What to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountOf {
    /// Every row that the selection matches.
    Matched,
    /// Rows on which the action still has work to do: a masked row that still matches is not among them, nor is
    /// a row that `delete_if_unreferenced` leaves alone.
    Remaining,
}

#[derive(Debug, Clone, Copy)]
pub struct Count<'a> {
    pub rows: &'a Rows,
    pub action: &'a Action,
    pub keys: &'a Keys,
    pub of: CountOf,
}

/// Rows on their way into a package.
pub struct Extract {
    /// How many rows there are, counted in the transaction that reads them.
    pub matched: u64,
    /// In chunks of at most 1,000 rows.
    pub rows: RowStream,
}

/// The person's row, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The root tuple, and for each of [`Root::must_be_unshared`] how many *other* root rows have the same values.
    Found { tuple: Tuple, sharing: Vec<u64> },
    /// No row has the given values.
    NotFound,
    /// The given identities lead to different rows, or one leads to several.
    Ambiguous,
    /// A value without `ignore_case` would find a row in another case.
    OtherCase,
    /// There is one row, but its key does not lead back to it alone: it is NULL or empty text, which match nothing, or
    /// reads as the key of another row.
    NoKey,
}

/// Time limits of one target session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub lock_timeout: Duration,
    pub statement_timeout: Duration,
}

/// Trusted SQL of a plan that `check` prepares against the live schema.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    Rows(&'a Rows),
    Step(&'a Rows, &'a Action),
}

/// What one fixture file puts into a database.
#[derive(Debug, Clone, Copy)]
pub enum Fixture<'a> {
    /// SQL, run as it is.
    Script(&'a str),
    Rows(&'a [Upserts]),
}

/// Why a fixture was not loaded, and the line of its file, where that is known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct FixtureError {
    pub error: ConnectorError,
    pub line: Option<usize>,
}

impl From<ConnectorError> for FixtureError {
    fn from(error: ConnectorError) -> Self {
        Self { error, line: None }
    }
}

#[async_trait]
pub trait Connector: Send + Sync {
    /// The database behind it, whoever signs in: the same for two connections to one database.
    fn place(&self) -> Option<String> {
        None
    }

    /// Whether it can be worked with at the moment, as far as a small question tells.
    async fn answers(&self) -> bool {
        self.fingerprint().await.is_ok()
    }

    /// Whether a transaction that writes keeps everybody else from writing anything.
    fn keeps_writers_out(&self) -> bool {
        false
    }

    /// The live schema.
    async fn catalog(&self) -> Result<Catalog, ConnectorError>;

    /// Changes whenever the schema did; cheap enough to be asked at every claim.
    async fn fingerprint(&self) -> Result<String, ConnectorError>;

    /// Finds the root row by what was given: positions in [`Root::columns`] and values, scope included.
    async fn resolve(&self, root: &Root, given: &[(usize, Key)]) -> Result<Resolution, ConnectorError>;

    /// Reads the root row again by [`Root::key`] of a tuple that was resolved before; `NotFound` if it is gone.
    async fn reread(&self, root: &Root, tuple: &Tuple) -> Result<Resolution, ConnectorError>;

    /// Counts, read-only, in one session, all within `limit`.
    async fn count(&self, counts: &[Count<'_>], limit: Duration) -> Result<Vec<u64>, ConnectorError>;

    /// The oldest and the newest time of the rows that a selection matches, as far as they hold one; within `limit`.
    async fn span(
        &self,
        rows: &Rows,
        keys: &Keys,
        column: &KeyColumn,
        time: TimeKind,
        limit: Duration,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, ConnectorError>;

    /// The distinct keys of a set without NULLs and empty texts, streamed in chunks of at most 1,000.
    async fn keys(&self, set: &KeySet, keys: &Keys) -> Result<KeyStream, ConnectorError>;

    /// How many of those rows hold the recorded values now (0 or all: a batch is one transaction).
    async fn recorded(&self, work: &Work<'_>, rows: &[RecordedRow]) -> Result<u64, ConnectorError>;

    /// Keys and present values of every matching row of a recorded mask, in chunks of at most 1,000.
    async fn masked_rows(&self, work: &Work<'_>) -> Result<RecordedStream, ConnectorError>;

    /// The columns of a table that are to be exported, as the live schema has them.
    async fn columns(
        &self,
        table: &TableName,
        columns: &ExportColumns,
    ) -> Result<Vec<Column>, ConnectorError>;

    /// Reads the rows of one alternative, as of one moment.
    async fn extract(&self, work: &Work<'_>, columns: &ExportColumns) -> Result<Extract, ConnectorError>;

    /// Starts a target transaction.
    async fn begin(&self, limits: Limits) -> Result<Box<dyn Tx>, ConnectorError>;

    /// Loads a fixture in one transaction; how many rows were not there like that (0 of SQL, which does not say). Where
    /// the database ends a transaction with each change of its schema (MySQL), SQL may be left half done.
    async fn load(&self, fixture: Fixture<'_>) -> Result<u64, FixtureError>;

    /// Prepares trusted SQL without running it; `Err` holds the database's own words (schema, never data).
    async fn prepare(&self, trusted: Trusted<'_>) -> Result<Result<(), String>, ConnectorError>;

    /// After an erasure: let the database drop what it still holds of deleted rows (SQLite: WAL checkpoint).
    async fn settle(&self) -> Result<(), ConnectorError>;
}

pub type KeyStream = futures::stream::BoxStream<'static, Result<Vec<Tuple>, ConnectorError>>;
pub type RowStream = futures::stream::BoxStream<'static, Result<Vec<Vec<Value>>, ConnectorError>>;
pub type RecordedStream = futures::stream::BoxStream<'static, Result<Vec<RecordedRow>, ConnectorError>>;

/// A batch without a limit: one statement by predicate over all alternatives at once. Only where a count has just
/// shown that the rows fit one batch.
pub const NO_LIMIT: u32 = u32::MAX;

/// One target transaction; dropping it rolls back and gives no half-finished session back to the pool.
#[async_trait]
pub trait Tx: Send {
    /// Works on at most `limit` rows ([`NO_LIMIT`]: on all) and moves the cursor.
    async fn batch(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Batch, ConnectorError>;

    /// [`batch`](Self::batch) without a limit for each of these, in their order.
    async fn batches(&mut self, works: &[Work<'_>]) -> Result<Vec<Batch>, ConnectorError> {
        let mut batches = Vec::with_capacity(works.len());
        for work in works {
            batches.push(self.batch(work, &mut Cursor::default(), NO_LIMIT).await?);
        }
        Ok(batches)
    }

    /// Hands over at most `limit` rows and deletes exactly those.
    async fn take(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Taken, ConnectorError>;

    /// Asks whether a rectification can be carried out, before anything of it is written.
    async fn trial(&mut self, _work: &Work<'_>) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// Counts inside this transaction.
    async fn count(&mut self, counts: &[Count<'_>]) -> Result<Vec<u64>, ConnectorError>;

    /// How long a call takes that has nothing to do there.
    async fn round_trip(&mut self) -> Result<Duration, ConnectorError>;

    /// Has the database check at once what it would check only at the commit. SQLite cannot; what a correction changes
    /// there is asked for by [`trial`](Self::trial).
    async fn check_constraints(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), ConnectorError>;

    async fn rollback(self: Box<Self>) -> Result<(), ConnectorError>;
}

/// What went wrong with a target, sorted by what to do about it. The text names constraints and states, never
/// a value: drivers quote rows in their messages.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct ConnectorError {
    pub kind: ErrorKind,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Cannot be reached, refused the login, or the session was lost; a commit may or may not have happened.
    Unavailable,
    /// A lock was not granted in time.
    LockTimeout,
    /// Deadlock or serialization failure: the batch is simply repeated.
    Conflict,
    /// The statement ran longer than it may.
    StatementTimeout,
    /// A table, column, type or right is not what it was.
    SchemaChanged,
    /// Other rows stand in the way, or the constraint did not say what it minds.
    ConstraintViolation,
    /// A CHECK constraint refused the value itself.
    CheckViolation,
    /// A column cannot hold the value, or an expression has none.
    UnfitValue,
    /// A new value that the column can never hold.
    InvalidValue,
    Internal,
}
