//! One target transaction, and how soon what it did must be on disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{context::Context, count, dialect::Dialect, facts::Facts, rectify, session::Session, take, walk};
use crate::connectors::{Batch, ConnectorError, Count, Cursor, NO_LIMIT, Taken, Tx, Work};

/// PostgreSQL writes its log in order: the commit that is waited for makes all before it durable. So a walk waits for
/// its last batch only. A server that crashes in between loses batches whose rows the fresh count finds again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Durable {
    /// A later batch of the same walk is to come.
    Later,
    /// The last batch changed nothing, and PostgreSQL does not wait for a transaction that wrote nothing.
    Flushed,
    Now,
}

impl Durable {
    fn after(work: &Work<'_>, limit: u32, batch: &Batch) -> Self {
        // What the store holds of a recorded batch is compared with the target, not counted.
        if limit == NO_LIMIT || work.root.is_some() || !batch.recorded.is_empty() {
            return Self::Now;
        }
        match (batch.done, batch.affected) {
            (false, _) => Self::Later,
            (true, 0) => Self::Flushed,
            (true, _) => Self::Now,
        }
    }
}

pub(super) struct SqlTx {
    session: Session,
    facts: Arc<Facts>,
    /// Of the batches so far; nothing to wait for without one.
    durable: Option<Durable>,
}

impl SqlTx {
    pub(super) fn new(session: Session, facts: Arc<Facts>) -> Self {
        Self { session, facts, durable: None }
    }
}

#[async_trait]
impl Tx for SqlTx {
    async fn batch(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Batch, ConnectorError> {
        let batch = walk::batch(&mut self.session, &self.facts, work, cursor, limit).await?;
        self.durable = self.durable.max(Some(Durable::after(work, limit, &batch)));
        Ok(batch)
    }

    async fn batches(&mut self, works: &[Work<'_>]) -> Result<Vec<Batch>, ConnectorError> {
        self.durable = Some(Durable::Now);
        walk::at_once_each(&mut self.session, &self.facts, works).await
    }

    async fn take(
        &mut self,
        work: &Work<'_>,
        cursor: &mut Cursor,
        limit: u32,
    ) -> Result<Taken, ConnectorError> {
        self.durable = Some(Durable::Now);
        take::take(&mut self.session, &self.facts, work, cursor, limit).await
    }

    async fn trial(&mut self, work: &Work<'_>) -> Result<(), ConnectorError> {
        let context = Context::new(self.session.dialect(), &self.facts, work.keys);
        rectify::trial(&mut self.session, context, work).await
    }

    async fn count(&mut self, counts: &[Count<'_>]) -> Result<Vec<u64>, ConnectorError> {
        count::run(&mut self.session, &self.facts, counts).await
    }

    async fn round_trip(&mut self) -> Result<Duration, ConnectorError> {
        let sent = Instant::now();
        // On PostgreSQL the beginning of the transaction goes along.
        self.session.run(if self.session.dialect() == Dialect::MySql { "DO 0" } else { "" }).await?;
        Ok(sent.elapsed())
    }

    async fn check_constraints(&mut self) -> Result<(), ConnectorError> {
        match self.session.dialect() {
            Dialect::Postgres => self.session.run("SET CONSTRAINTS ALL IMMEDIATE").await,
            Dialect::MySql | Dialect::Sqlite => Ok(()),
        }
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ConnectorError> {
        match self.durable.filter(|_| self.facts.flushes) {
            Some(Durable::Later) => self.session.precede("SET LOCAL synchronous_commit = off"),
            Some(Durable::Flushed) => {
                self.session.precede("SELECT pg_catalog.pg_logical_emit_message(true, 'rightful', ''::text)");
            }
            Some(Durable::Now) | None => {}
        }
        self.session.run("COMMIT").await
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.session.run("ROLLBACK").await
    }
}
