//! How a run comes to one worker, and what is found of a claim whose answer was lost.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::{dsl::sql, prelude::*, sql_types::Timestamp};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{ClaimedRun, RunRow};
use crate::{
    domain::{
        audit::EventName,
        replay::Progress,
        request::{Lease, LeaseOf, RunCode, RunError, Status},
        run::Run,
    },
    store::{
        Store, StoreError, Tx,
        claim::{NOT_CLAIMABLE, POSTGRES_NOW, delta},
        conn::{Conn, read},
        schema::runs,
    },
};

impl Tx {
    /// The run that has waited longest, or the one of that id, locked, with the time by the store's clock.
    async fn claimable_run(&mut self, id: Option<Uuid>) -> Result<Option<(Run, NaiveDateTime)>, StoreError> {
        let clock = self.clock;
        let found: Option<(RunRow, NaiveDateTime)> = match self.conn().await? {
            Conn::Sqlite(c) => {
                let now = clock.now().naive_utc();
                let mut query =
                    runs::table.select(RunRow::as_select()).into_boxed::<diesel::sqlite::Sqlite>();
                if let Some(id) = id {
                    query = query.filter(runs::id.eq(id.to_string()));
                }
                let row: Option<RunRow> = query
                    .filter(runs::finished_at.is_null().and(runs::status.ne_all(NOT_CLAIMABLE)))
                    .filter(runs::run_at.le(now))
                    .filter(runs::lease_until.is_null().or(runs::lease_until.le(now)))
                    .order((runs::run_at, runs::id))
                    .limit(1)
                    .get_result(c.get_mut())
                    .await
                    .optional()?;
                row.map(|row| (row, now))
            }
            // Claimers pass each other by: see `oldest_claimable`.
            Conn::Postgres(c) => {
                let now = sql::<Timestamp>(POSTGRES_NOW);
                let wanted = id.map(|id| id.to_string()).unwrap_or_default();
                runs::table
                    .filter(runs::finished_at.is_null().and(runs::status.ne_all(NOT_CLAIMABLE)))
                    .filter(runs::run_at.le(now.clone()))
                    .filter(runs::lease_until.is_null().or(runs::lease_until.le(now.clone().nullable())))
                    .filter(
                        runs::id
                            .eq(wanted.clone())
                            .or(wanted.clone().into_sql::<diesel::sql_types::Text>().eq("")),
                    )
                    .order((runs::run_at, runs::id))
                    .limit(1)
                    .select((RunRow::as_select(), now))
                    .for_update()
                    .skip_locked()
                    .get_result(&mut **c)
                    .await
                    .optional()?
            }
        };
        found.map(|(row, now)| Ok((row.into_run()?, now))).transpose()
    }
}

impl Store {
    /// Takes the run that has waited longest, or the one of that id. One that was claimed `max_attempts` times in a row
    /// without progress has crashed its workers: it fails and is passed over.
    ///
    /// # Errors
    /// As every statement.
    pub async fn claim_run(
        &self,
        id: Option<Uuid>,
        worker: &str,
        lease: Duration,
        max_attempts: i32,
    ) -> Result<Option<ClaimedRun>, StoreError> {
        let mut tx = self.begin().await?;
        while let Some((mut run, now)) = tx.claimable_run(id).await? {
            let now = now.and_utc();
            let gives_up = run.strikes >= max_attempts;
            let event = match gives_up {
                true => {
                    let error = RunError {
                        code: RunCode::AttemptsExhausted,
                        detail: format!(
                            "its worker ended {} times in a row without any progress",
                            run.strikes
                        ),
                        connection: None,
                        step: None,
                        cause: Some(RunCode::Internal),
                    };
                    Some(run.fail(error, worker, now))
                }
                false => run.claimed(worker, now, now + delta(lease)),
            };
            let epoch = run.epoch + 1;
            let stream = run.stream();
            tx.append_to(&stream, &mut run.head, event.into_iter().collect()).await?;
            tx.put_run(&run, Some(epoch)).await?;
            run.epoch = epoch;
            if !gives_up {
                tx.commit().await?;
                let lease = Lease { of: LeaseOf::Run, id: run.id, epoch };
                return Ok(Some(ClaimedRun { run, lease }));
            }
        }
        tx.commit().await?;
        Ok(None)
    }

    /// As [`unwritten_claims`](Self::unwritten_claims), of runs. A replay that looks again at what it waits for says nothing
    /// when it is claimed: such a claim is left to its lease.
    ///
    /// # Errors
    /// As every statement.
    pub async fn unwritten_run_claims(&self, worker: &str) -> Result<Vec<Lease>, StoreError> {
        let leased = runs::table
            .filter(runs::status.eq(Status::InProgress.as_str()).and(runs::lease_until.is_not_null()));
        let leased: Vec<RunRow> = read!(self, |c| leased.select(RunRow::as_select()).load(c).await);
        let claimed = [EventName::RunStarted, EventName::RunResumed];
        let mut unwritten = Vec::new();
        for row in leased {
            let run = row.into_run()?;
            let is_told = !Progress::read(&run.report).is_some_and(Progress::waits);
            if is_told && self.is_last(&run.stream(), run.head.seq, claimed, worker).await? {
                unwritten.push(Lease { of: LeaseOf::Run, id: run.id, epoch: run.epoch });
            }
        }
        Ok(unwritten)
    }
}
