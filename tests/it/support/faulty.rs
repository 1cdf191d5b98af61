//! A connector whose commits can be made to go wrong, as a network, a deadlock or a bug would.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use rightful::{
    connectors::{
        Batch, Connector, ConnectorError, Count, Cursor, ErrorKind, Extract, Fixture, FixtureError,
        KeyStream, Keys, Limits, RecordedRow, RecordedStream, Resolution, Taken, Trusted, Tx, Work,
    },
    domain::{
        compiled::{ExportColumns, KeyColumn, KeySet, Root, Rows, TableName, TimeKind},
        key::{Key, Tuple},
        package::Column,
        schema::Catalog,
    },
};

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is carried out, and the reply never arrives.
    LostReply,
    /// The database chose this transaction to end a deadlock.
    Deadlock,
    /// It is carried out, and the worker's task comes down.
    Panic,
}

/// The faults of the next commits, in order; after them all goes well.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<VecDeque<Fault>>>, Arc<AtomicUsize>);

impl Faults {
    pub fn next(&self, faults: &[Fault]) {
        self.lock().extend(faults);
    }

    /// The `number`th extract from now on breaks off after its first rows.
    pub fn break_off(&self, number: usize) {
        self.1.store(number, Ordering::SeqCst);
    }

    fn breaks_off(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) == Ok(1)
    }

    fn take(&self) -> Fault {
        self.lock().pop_front().unwrap_or(Fault::None)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Faulty {
    pub inner: Arc<dyn Connector>,
    pub faults: Faults,
}

struct FaultyTx {
    inner: Box<dyn Tx>,
    faults: Faults,
}

fn error(kind: ErrorKind) -> ConnectorError {
    ConnectorError { kind, detail: "as the test wants it".to_owned() }
}

#[async_trait]
impl Connector for Faulty {
    fn place(&self) -> Option<String> {
        self.inner.place()
    }

    async fn catalog(&self) -> Result<Catalog, ConnectorError> {
        self.inner.catalog().await
    }

    async fn fingerprint(&self) -> Result<String, ConnectorError> {
        self.inner.fingerprint().await
    }

    async fn resolve(&self, root: &Root, given: &[(usize, Key)]) -> Result<Resolution, ConnectorError> {
        self.inner.resolve(root, given).await
    }

    async fn reread(&self, root: &Root, tuple: &Tuple) -> Result<Resolution, ConnectorError> {
        self.inner.reread(root, tuple).await
    }

    async fn count(&self, counts: &[Count<'_>], limit: Duration) -> Result<Vec<u64>, ConnectorError> {
        self.inner.count(counts, limit).await
    }

    async fn span(
        &self,
        rows: &Rows,
        keys: &Keys,
        column: &KeyColumn,
        time: TimeKind,
        limit: Duration,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, ConnectorError> {
        self.inner.span(rows, keys, column, time, limit).await
    }

    async fn keys(&self, set: &KeySet, keys: &Keys) -> Result<KeyStream, ConnectorError> {
        self.inner.keys(set, keys).await
    }

    async fn recorded(&self, work: &Work<'_>, rows: &[RecordedRow]) -> Result<u64, ConnectorError> {
        self.inner.recorded(work, rows).await
    }

    async fn masked_rows(&self, work: &Work<'_>) -> Result<RecordedStream, ConnectorError> {
        self.inner.masked_rows(work).await
    }

    async fn columns(
        &self,
        table: &TableName,
        columns: &ExportColumns,
    ) -> Result<Vec<Column>, ConnectorError> {
        self.inner.columns(table, columns).await
    }

    async fn extract(&self, work: &Work<'_>, columns: &ExportColumns) -> Result<Extract, ConnectorError> {
        let Extract { matched, rows } = self.inner.extract(work, columns).await?;
        if !self.faults.breaks_off() {
            return Ok(Extract { matched, rows });
        }
        let broken = stream::iter([Err(error(ErrorKind::Unavailable))]);
        Ok(Extract { matched, rows: rows.take(1).chain(broken).boxed() })
    }

    async fn begin(&self, limits: Limits) -> Result<Box<dyn Tx>, ConnectorError> {
        let inner = self.inner.begin(limits).await?;
        Ok(Box::new(FaultyTx { inner, faults: self.faults.clone() }))
    }

    async fn load(&self, fixture: Fixture<'_>) -> Result<u64, FixtureError> {
        self.inner.load(fixture).await
    }

    async fn prepare(&self, trusted: Trusted<'_>) -> Result<Result<(), String>, ConnectorError> {
        self.inner.prepare(trusted).await
    }

    async fn settle(&self) -> Result<(), ConnectorError> {
        self.inner.settle().await
    }
}

#[async_trait]
impl Tx for FaultyTx {
    async fn batch(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Batch, ConnectorError> {
        self.inner.batch(work, cursor, limit).await
    }

    async fn batches(&mut self, works: &[Work<'_>]) -> Result<Vec<Batch>, ConnectorError> {
        self.inner.batches(works).await
    }

    async fn take(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Taken, ConnectorError> {
        self.inner.take(work, cursor, limit).await
    }

    async fn trial(&mut self, work: &Work<'_>) -> Result<(), ConnectorError> {
        self.inner.trial(work).await
    }

    async fn count(&mut self, counts: &[Count<'_>]) -> Result<Vec<u64>, ConnectorError> {
        self.inner.count(counts).await
    }

    async fn round_trip(&mut self) -> Result<Duration, ConnectorError> {
        self.inner.round_trip().await
    }

    async fn check_constraints(&mut self) -> Result<(), ConnectorError> {
        self.inner.check_constraints().await
    }

    async fn commit(self: Box<Self>) -> Result<(), ConnectorError> {
        match self.faults.take() {
            Fault::None => self.inner.commit().await,
            Fault::LostReply => {
                self.inner.commit().await?;
                Err(error(ErrorKind::Unavailable))
            }
            Fault::Deadlock => {
                self.inner.rollback().await?;
                Err(error(ErrorKind::Conflict))
            }
            Fault::Panic => {
                self.inner.commit().await?;
                panic!("as the test wants it")
            }
        }
    }

    async fn rollback(self: Box<Self>) -> Result<(), ConnectorError> {
        self.inner.rollback().await
    }
}
