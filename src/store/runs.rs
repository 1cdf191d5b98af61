//! Runs: inserted once, claimed by one worker at a time, written under the epoch of the claim.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{dsl::sql, prelude::*, sql_types::Timestamp};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    claim::POSTGRES_NOW,
    conn::{Conn, on, read},
    rows::{StatusRow, from_json, to_json, utc, uuid},
    schema::runs,
};
use crate::domain::{
    audit::{ChainHead, NewEvent},
    request::Lease,
    run::{Run, Task},
};

mod claim;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = runs, treat_none_as_default_value = false)]
struct RunRow {
    id: String,
    task: String,
    created_by: String,
    idempotency_key: Option<String>,
    created_at: NaiveDateTime,
    epoch: i64,
    lease_until: Option<NaiveDateTime>,
    cancelled_by: Option<String>,
    #[diesel(embed)]
    changing: ChangingRow,
}

/// The columns that a save writes; `epoch`, `lease_until` and `cancelled_by` are set where that is meant.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = runs, treat_none_as_default_value = false, treat_none_as_null = true)]
struct ChangingRow {
    status: String,
    outcome: Option<String>,
    started_at: Option<NaiveDateTime>,
    finished_at: Option<NaiveDateTime>,
    run_at: NaiveDateTime,
    attempt: i32,
    strikes: i32,
    failures: i32,
    waits: i32,
    steps: String,
    report: String,
    error: Option<String>,
    params: String,
    audit_seq: i64,
    audit_hash: String,
}

impl ChangingRow {
    fn of(run: &Run) -> Result<Self, StoreError> {
        let StatusRow { status, outcome, finished_at, error } = StatusRow::of(&run.state)?;
        Ok(Self {
            status,
            outcome,
            finished_at,
            error,
            started_at: run.started_at.map(|at| at.naive_utc()),
            run_at: run.run_at.naive_utc(),
            attempt: run.attempt,
            strikes: run.strikes,
            failures: run.failures,
            waits: run.waits,
            steps: to_json(&run.steps)?,
            report: to_json(&run.report)?,
            params: to_json(&run.params)?,
            audit_seq: run.head.seq,
            audit_hash: run.head.hash.clone(),
        })
    }
}

impl RunRow {
    fn of(run: &Run) -> Result<Self, StoreError> {
        Ok(Self {
            id: run.id.to_string(),
            task: run.task.to_string(),
            created_by: run.created_by.clone(),
            idempotency_key: run.idempotency_key.clone(),
            created_at: run.created_at.naive_utc(),
            epoch: run.epoch,
            lease_until: run.lease_until.map(|at| at.naive_utc()),
            cancelled_by: run.cancelled_by().map(str::to_owned),
            changing: ChangingRow::of(run)?,
        })
    }

    fn into_run(self) -> Result<Run, StoreError> {
        let row = self.changing;
        let status = StatusRow {
            status: row.status,
            outcome: row.outcome,
            finished_at: row.finished_at,
            error: row.error,
        };
        Ok(Run {
            id: uuid(&self.id)?,
            task: self.task.parse().map_err(|_| StoreError::internal("a run's task is unknown"))?,
            params: from_json(&row.params)?,
            created_by: self.created_by,
            idempotency_key: self.idempotency_key,
            created_at: self.created_at.and_utc(),
            started_at: utc(row.started_at),
            state: status.state(self.cancelled_by)?,
            run_at: row.run_at.and_utc(),
            attempt: row.attempt,
            strikes: row.strikes,
            failures: row.failures,
            waits: row.waits,
            epoch: self.epoch,
            lease_until: utc(self.lease_until),
            steps: from_json(&row.steps)?,
            report: from_json(&row.report)?,
            head: ChainHead { seq: row.audit_seq, hash: row.audit_hash },
        })
    }
}

/// What became of a run that was to be inserted.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    New,
    /// The same call was made before.
    Known(Box<Run>),
    /// Another run of the task is not over.
    Busy(Box<Run>),
}

/// A run that this worker owns until its lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedRun {
    pub run: Run,
    pub lease: Lease,
}

/// Which runs; `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub task: Option<Task>,
    /// Open ones, or ended ones.
    pub open: Option<bool>,
    pub before: Option<Uuid>,
}

impl Tx {
    /// Inserts a run with its event, unless the same call was made before or a run of the task is open.
    ///
    /// # Errors
    /// As every statement.
    pub async fn begin_run(&mut self, run: &mut Run) -> Result<Begun, StoreError> {
        if let Some(known) = self.run_by_key(run).await? {
            return Ok(Begun::Known(Box::new(known)));
        }
        let mut head = ChainHead::default();
        let stream = run.stream();
        let event = run.created();
        // Two processes at once: the loser's insert waits for the winner's commit and then does nothing.
        run.head = ChainHead::default();
        let insert = diesel::insert_into(runs::table).values(RunRow::of(run)?).on_conflict_do_nothing();
        if on!(self.conn().await?, |c| insert.execute(c).await)? == 0 {
            if let Some(known) = self.run_by_key(run).await? {
                return Ok(Begun::Known(Box::new(known)));
            }
            let open = self.open_run(&run.task).await?;
            return open.map(|run| Begun::Busy(Box::new(run))).ok_or(StoreError::Busy);
        }
        self.append_to(&stream, &mut head, vec![event]).await?;
        run.head = head;
        self.put_run(run, None).await?;
        Ok(Begun::New)
    }

    async fn run_by_key(&mut self, run: &Run) -> Result<Option<Run>, StoreError> {
        let Some(key) = &run.idempotency_key else { return Ok(None) };
        let query =
            runs::table.filter(runs::created_by.eq(&run.created_by).and(runs::idempotency_key.eq(key)));
        let row: Option<RunRow> =
            on!(self.conn().await?, |c| query.select(RunRow::as_select()).get_result(c).await.optional())?;
        row.map(RunRow::into_run).transpose()
    }

    async fn open_run(&mut self, task: &Task) -> Result<Option<Run>, StoreError> {
        let query = runs::table.filter(runs::task.eq(task.to_string()).and(runs::finished_at.is_null()));
        let row: Option<RunRow> =
            on!(self.conn().await?, |c| query.select(RunRow::as_select()).get_result(c).await.optional())?;
        row.map(RunRow::into_run).transpose()
    }

    /// A run, kept from being changed by others until this transaction ends.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_run(&mut self, id: Uuid) -> Result<Option<Run>, StoreError> {
        let query = runs::table.find(id.to_string());
        let row: Option<RunRow> = match self.conn().await? {
            Conn::Sqlite(c) => query.select(RunRow::as_select()).get_result(c.get_mut()).await.optional()?,
            Conn::Postgres(c) => {
                let query = query.select(RunRow::as_select()).for_update();
                query.get_result(&mut **c).await.optional()?
            }
        };
        row.map(RunRow::into_run).transpose()
    }

    /// Writes a run with its events. Yields who asked for its end meanwhile.
    ///
    /// # Errors
    /// `LeaseLost` when another claim has raised the epoch since.
    pub async fn write_run(
        &mut self,
        run: &mut Run,
        events: Vec<NewEvent>,
    ) -> Result<Option<String>, StoreError> {
        let stream = run.stream();
        // Saved first: to who lost the lease that is the failure to tell.
        let mut written = run.clone();
        self.put_run(&written, None).await?;
        self.append_to(&stream, &mut written.head, events).await?;
        let asked = self.put_run(&written, None).await?;
        *run = written;
        Ok(asked)
    }

    async fn put_run(&mut self, run: &Run, epoch: Option<i64>) -> Result<Option<String>, StoreError> {
        let same_claim = runs::id.eq(run.id.to_string()).and(runs::epoch.eq(run.epoch));
        let lease = match (epoch, run.lease_until) {
            (Some(_), until) => Some(runs::lease_until.eq(until.map(|at| at.naive_utc()))),
            (None, None) => Some(runs::lease_until.eq(None::<NaiveDateTime>)),
            // Only a renewal moves it.
            (None, Some(_)) => None,
        };
        let cancel = match run.cancelled_by() {
            Some(by) => Some(runs::cancelled_by.eq(Some(by))),
            None if run.status().is_end() => Some(runs::cancelled_by.eq(None::<&str>)),
            None => None,
        };
        let raise = epoch.map(|epoch| runs::epoch.eq(epoch));
        let update = diesel::update(runs::table.filter(same_claim))
            .set((ChangingRow::of(run)?, lease, cancel, raise))
            .returning(runs::cancelled_by);
        let asked: Option<Option<String>> =
            on!(self.conn().await?, |c| update.get_result(c).await.optional())?;
        asked.ok_or(StoreError::LeaseLost)
    }
}

impl Store {
    /// One run.
    ///
    /// # Errors
    /// As every statement.
    pub async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> {
        let query = runs::table.find(id.to_string());
        let row: Option<RunRow> =
            read!(self, |c| query.select(RunRow::as_select()).get_result(c).await.optional());
        row.map(RunRow::into_run).transpose()
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn runs(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, StoreError> {
        let mut held = self.reader().await?;
        let rows: Vec<RunRow> = on!(&mut held.conn, |c, Db| {
            let mut query = runs::table.select(RunRow::as_select()).into_boxed::<Db>();
            if let Some(task) = &filter.task {
                query = query.filter(runs::task.eq(task.to_string()));
            }
            query = match filter.open {
                Some(true) => query.filter(runs::finished_at.is_null()),
                Some(false) => query.filter(runs::finished_at.is_not_null()),
                None => query,
            };
            if let Some(before) = filter.before {
                query = query.filter(runs::id.lt(before.to_string()));
            }
            query.order(runs::id.desc()).limit(limit).load(c).await
        })?;
        held.give_back();
        rows.into_iter().map(RunRow::into_run).collect()
    }

    /// The last run of a task, open or not.
    ///
    /// # Errors
    /// As every statement.
    pub async fn last_run(&self, task: &Task) -> Result<Option<Run>, StoreError> {
        let filter = RunFilter { task: Some(task.clone()), ..RunFilter::default() };
        Ok(self.runs(&filter, 1).await?.into_iter().next())
    }

    /// The time by the store's clock: the server's, or for a file that of this machine.
    ///
    /// # Errors
    /// As every statement.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let mut held = self.lookup().await?;
        let now = match &mut held.conn {
            Conn::Sqlite(_) => self.clock().now(),
            Conn::Postgres(c) => {
                let now: NaiveDateTime =
                    diesel::select(sql::<Timestamp>(POSTGRES_NOW)).get_result(&mut **c).await?;
                now.and_utc()
            }
        };
        held.give_back();
        Ok(now)
    }
}
