//! How large the next batch is, how it makes room for others, and what it does that meets another writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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
/// Work that goes on for longer than this is long: see [`Pacing::long_pause`].
const LONG: Duration = Duration::from_millis(500);
/// No rest is longer: what took so long that it would be is of a kind that longer rests do not make better.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// What it takes at least where the database is far away, so that the way there does not become most of it.
const ROUND_TRIPS: u32 = 4;
/// How often a deadlock or serialization failure repeats a batch before it counts as a lock timeout.
pub const REPEATS: i32 = 10;

/// For how long a request, or a run, has worked in its targets.
#[derive(Debug, Default)]
pub struct Effort(AtomicU64);

impl Effort {
    fn add(&self, worked: Duration) {
        self.0.fetch_add(u64::try_from(worked.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_long(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) >= LONG.as_micros()
    }
}

/// How many rows the next batch takes: ×1.2 while it stays below the time target, ×0.5 above. It takes them in parts, with
/// its rests in between: the same work at the same rate keeps others waiting for shorter, and is committed as rarely.
pub struct Pace<'a> {
    pacing: Pacing,
    effort: &'a Effort,
    /// Of the next batch.
    rows: u32,
    /// Of its next statement.
    part: u32,
    /// How much of the batch under way was rest.
    rested: Duration,
    /// How much of it went before its rows were found, rests included.
    looked: Duration,
}

impl<'a> Pace<'a> {
    pub fn new(pacing: Pacing, effort: &'a Effort) -> Self {
        let within = |rows: u32| rows.clamp(pacing.min_rows, pacing.max_rows);
        Self {
            pacing,
            effort,
            rows: within(FIRST_BATCH),
            part: within(FIRST_PART),
            rested: Duration::ZERO,
            looked: Duration::ZERO,
        }
    }

    /// Takes in how long a batch took in the target, with its rests; answers how much of them is still due.
    pub fn took(&mut self, elapsed: Duration) -> Duration {
        let looked = std::mem::take(&mut self.looked);
        self.rows = self.scaled(self.rows, elapsed.saturating_sub(looked) < self.pacing.time_target);
        let rested = std::mem::take(&mut self.rested);
        let worked = elapsed.saturating_sub(rested);
        self.effort.add(worked);
        self.rest_of(worked).saturating_sub(rested).min(LONGEST_REST)
    }

    /// The rest that work asks for. What is done soon is hardly felt; what goes on for long has time, and would otherwise
    /// slow down everybody for as long.
    fn rest_of(&self, worked: Duration) -> Duration {
        let Pacing { pause, long_pause, .. } = self.pacing;
        let is_long = pause > 0.0 && self.effort.is_long();
        worked.mul_f64(if is_long { pause.max(long_pause) } else { pause })
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
            (self.rested, self.looked) = (Duration::ZERO, Duration::ZERO);
            let mut tx = connector.begin(limits).await.map_err(|error| fault(&error))?;
            // To rest in a transaction that nobody can write beside would be the contrary of kind.
            let in_parts = self.pacing.pause > 0.0 && !connector.keeps_writers_out();
            cursor.in_slices = in_parts;
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
            let Batch { affected, done, looking, recorded } = tx.batch(work, cursor, rows).await?;
            whole.affected += affected;
            whole.recorded.extend(recorded);
            whole.done = done;
            let took = begun.elapsed() - before;
            if !looking {
                left -= rows;
                // The last one may have been cut short.
                if rows == self.part {
                    self.part = self.scaled(rows, took < target);
                }
                if done || left == 0 || begun.elapsed() - self.looked >= self.pacing.time_target {
                    return Ok(whole);
                }
            }
            let resting = Instant::now();
            // Rows are locked meanwhile; what more is due comes after the batch.
            tokio::time::sleep(self.rest_of(took).min(self.pacing.time_target)).await;
            self.rested += resting.elapsed();
            if looking {
                self.looked = begun.elapsed();
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const WORKED: Duration = Duration::from_millis(100);

    #[test]
    fn what_goes_on_for_long_rests_for_longer() {
        let effort = Effort::default();
        let mut pace = Pace::new(Pacing::default(), &effort);
        let rests: Vec<Duration> = (0..5).map(|_| pace.took(WORKED)).collect();
        let short = Duration::from_millis(50);
        assert_eq!(rests, [short, short, short, short, WORKED * 20]);
        // Also where the next step of the same request begins.
        let mut next = Pace::new(Pacing::default(), &effort);
        assert_eq!(next.took(WORKED), WORKED * 20);
        assert_eq!(next.took(Duration::from_secs(9)), LONGEST_REST);
        let longer = Pacing { pause: 30.0, ..Pacing::default() };
        assert_eq!(Pace::new(longer, &effort).took(WORKED), WORKED * 30);
        let without = Pacing { pause: 0.0, ..Pacing::default() };
        assert_eq!(Pace::new(without, &effort).took(WORKED), Duration::ZERO);
    }

    /// Else a database in which rows are found slowly would be worked on row by row.
    #[test]
    fn the_search_for_rows_makes_no_batch_smaller() {
        let effort = Effort::default();
        let mut pace = Pace::new(Pacing::default(), &effort);
        pace.looked = Duration::from_secs(2);
        pace.took(Duration::from_secs(2) + WORKED);
        assert_eq!(pace.rows, 1_200);
        pace.took(Duration::from_secs(2) + WORKED);
        assert_eq!(pace.rows, 600);
    }
}
