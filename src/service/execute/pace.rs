//! How large the next batch is, how it makes room for others, and what it does that meets another writer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::trouble::{Interrupt, backoff};
use crate::{
    connectors::{Batch, Connector, ConnectorError, Cursor, ErrorKind, Limits, Taken, Tx, Work},
    domain::compiled::Step,
    service::Pacing,
};

/// Rows of a step's first batch, and of its first statement; the pace is found from there.
const FIRST_BATCH: u32 = 1_000;
const FIRST_PART: u32 = 250;
/// What one statement of a batch should take: whoever else needs the same processor or disk meanwhile waits for that long.
const PART: Duration = Duration::from_millis(2);
/// What it takes at least where the database is far away, so that the way there does not become most of it.
const ROUND_TRIPS: u32 = 4;
/// How often a deadlock or serialization failure repeats a batch before it counts as a lock timeout.
pub const REPEATS: i32 = 10;

/// How many rows the next batch takes: ×1.2 while it stays below the time target, ×0.5 above. It takes them in parts, with
/// its rests in between: the same work at the same rate keeps others waiting for shorter, and is committed as rarely.
pub struct Pace {
    pacing: Pacing,
    /// Of the next batch.
    rows: u32,
    /// Of its next statement.
    part: u32,
    /// How much of the batch under way was rest.
    rested: Duration,
}

impl Pace {
    pub fn new(pacing: Pacing) -> Self {
        let within = |rows: u32| rows.clamp(pacing.min_rows, pacing.max_rows);
        Self { pacing, rows: within(FIRST_BATCH), part: within(FIRST_PART), rested: Duration::ZERO }
    }

    /// Takes in how long a batch took in the target, with its rests; answers how much of them is still due.
    pub fn took(&mut self, elapsed: Duration) -> Duration {
        self.rows = self.scaled(self.rows, elapsed < self.pacing.time_target);
        let rested = std::mem::take(&mut self.rested);
        elapsed.saturating_sub(rested).mul_f64(self.pacing.pause).saturating_sub(rested)
    }

    /// More rows where there was time left, else half as many.
    fn scaled(&self, rows: u32, had_time: bool) -> u32 {
        let factor = if had_time { 1.2 } else { 0.5 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the configured rows"
        )]
        let rows = (f64::from(rows) * factor).ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        rows.clamp(self.pacing.min_rows, self.pacing.max_rows)
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
            let begun = Instant::now();
            self.rested = Duration::ZERO;
            let mut tx = connector.begin(limits).await.map_err(|error| fault(&error))?;
            // To rest in a transaction that nobody can write beside would be the contrary of kind.
            let in_parts = self.pacing.pause > 0.0 && !connector.keeps_writers_out();
            let ran = match in_parts {
                true => self.parts(&mut *tx, work, cursor, begun).await,
                false => tx.batch(work, cursor, self.rows).await,
            };
            let error = match ran {
                Ok(batch) => return Ok((tx, batch)),
                Err(error) => error,
            };
            drop(tx);
            *cursor = before;
            self.again(&error, &mut repeats).await.map_err(|()| fault(&error))?;
        }
    }

    /// One batch, by statements that take as long as a part of it should.
    async fn parts(
        &mut self,
        tx: &mut dyn Tx,
        work: &Work<'_>,
        cursor: &mut Cursor,
        begun: Instant,
    ) -> Result<Batch, ConnectorError> {
        let target = PART.max(tx.round_trip().await? * ROUND_TRIPS);
        let (mut whole, mut left) = (Batch::default(), self.rows);
        loop {
            let (rows, before) = (self.part.min(left), begun.elapsed());
            let Batch { affected, done, recorded } = tx.batch(work, cursor, rows).await?;
            whole.affected += affected;
            whole.recorded.extend(recorded);
            whole.done = done;
            left -= rows;
            let took = begun.elapsed() - before;
            // The last one may have been cut short.
            if rows == self.part {
                self.part = self.scaled(rows, took < target);
            }
            if done || left == 0 || begun.elapsed() >= self.pacing.time_target {
                return Ok(whole);
            }
            let resting = Instant::now();
            tokio::time::sleep(took.mul_f64(self.pacing.pause)).await;
            self.rested += resting.elapsed();
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
                (self.rows, self.part) = (self.scaled(self.rows, false), self.scaled(self.part, false));
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
