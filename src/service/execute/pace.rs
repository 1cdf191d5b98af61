//! How large the next batch is, and what a batch does that meets another writer.

use std::{sync::Arc, time::Duration};

use super::trouble::{Interrupt, backoff};
use crate::{
    connectors::{Batch, Connector, ConnectorError, Cursor, ErrorKind, Limits, Taken, Tx, Work},
    domain::compiled::Step,
    service::Pacing,
};

/// Rows of a step's first batch; the pace is found from there.
const FIRST_BATCH: u32 = 1_000;
/// How often a deadlock or serialization failure repeats a batch before it counts as a lock timeout.
pub const REPEATS: i32 = 10;

/// How many rows the next batch takes: ×1.2 while it stays below the time target, ×0.5 above.
pub struct Pace {
    pacing: Pacing,
    rows: u32,
}

impl Pace {
    pub fn new(pacing: Pacing) -> Self {
        Self { pacing, rows: FIRST_BATCH.clamp(pacing.min_rows, pacing.max_rows) }
    }

    /// Takes in how long a batch took in the target; answers how long to rest.
    pub fn took(&mut self, elapsed: Duration) -> Duration {
        let factor = if elapsed < self.pacing.time_target { 1.2 } else { 0.5 };
        self.scale(factor);
        elapsed.mul_f64(self.pacing.pause)
    }

    fn scale(&mut self, factor: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the configured rows"
        )]
        let rows = (f64::from(self.rows) * factor).ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        self.rows = rows.clamp(self.pacing.min_rows, self.pacing.max_rows);
    }

    /// As [`batch`](Self::batch), with at most `most` rows that are handed over before they go.
    pub async fn take(
        &mut self,
        connector: &Arc<dyn Connector>,
        limits: Limits,
        step: &Step,
        work: &Work<'_>,
        cursor: &mut Cursor,
        most: u32,
    ) -> Result<(Box<dyn Tx>, Taken), Interrupt> {
        let mut repeats = 0;
        loop {
            let before = cursor.clone();
            let fault = |error: &ConnectorError| Interrupt::at(error, &step.connection, Some(&step.name));
            let mut tx = connector.begin(limits).await.map_err(|error| fault(&error))?;
            let error = match tx.take(work, cursor, self.rows.min(most)).await {
                Ok(taken) => return Ok((tx, taken)),
                Err(error) => error,
            };
            drop(tx);
            *cursor = before;
            self.again(&error, &mut repeats).await.map_err(|()| fault(&error))?;
        }
    }

    /// Runs one batch up to its commit. Deadlocks repeat it; a statement that takes too long halves it.
    pub async fn batch(
        &mut self,
        connector: &Arc<dyn Connector>,
        limits: Limits,
        step: &Step,
        work: &Work<'_>,
        cursor: &mut Cursor,
    ) -> Result<(Box<dyn Tx>, Batch), Interrupt> {
        let mut repeats = 0;
        loop {
            let before = cursor.clone();
            let fault = |error: &ConnectorError| Interrupt::at(error, &step.connection, Some(&step.name));
            let mut tx = connector.begin(limits).await.map_err(|error| fault(&error))?;
            let error = match tx.batch(work, cursor, self.rows).await {
                Ok(batch) => return Ok((tx, batch)),
                Err(error) => error,
            };
            drop(tx);
            *cursor = before;
            self.again(&error, &mut repeats).await.map_err(|()| fault(&error))?;
        }
    }

    /// Whether a batch is tried again, after making room for whoever was in its way.
    async fn again(&mut self, error: &ConnectorError, repeats: &mut i32) -> Result<(), ()> {
        match error.kind {
            ErrorKind::Conflict if *repeats < REPEATS => {
                step_aside(*repeats).await;
                *repeats += 1;
                Ok(())
            }
            ErrorKind::StatementTimeout if !self.is_at_minimum() => {
                self.scale(0.5);
                Ok(())
            }
            _ => Err(()),
        }
    }

    fn is_at_minimum(&self) -> bool {
        self.rows <= self.pacing.min_rows
    }
}

/// Lets the other side of a deadlock finish before the batch is repeated.
pub async fn step_aside(repeats: i32) {
    tokio::time::sleep(backoff(Duration::from_millis(5), repeats, Duration::from_secs(1))).await;
}
