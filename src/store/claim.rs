//! Claims and leases: how a request comes to exactly one worker, and comes free again when that worker is gone.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Double, Timestamp},
};
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, read},
    prepared::Prepared,
    rows::{RequestRow, uuid},
    schema::{audit_events, requests, runs},
};
use crate::domain::{
    audit::EventName,
    request::{Lease, LeaseOf, Request, State, Status},
};

/// PostgreSQL's clock as naive UTC; the time of the statement is stable within it, so indexes can be used.
pub(super) const POSTGRES_NOW: &str = "(statement_timestamp() AT TIME ZONE 'UTC')";

/// Open, and waiting for a person. Named by exclusion: an `IN` of the others tempts both planners to the index by
/// status and to sorting the whole backlog at every claim.
pub(super) const NOT_CLAIMABLE: [&str; 2] = ["pending", "on_hold"];

/// What is asked for again and again takes no longer: the sooner it fails, the sooner it is asked for anew.
const PROMPT: Duration = Duration::from_secs(4);

/// The same statement over either table of what is leased.
macro_rules! renew {
    ($conn:expr, $table:ident, $lease:ident, $duration:ident, $now:ident) => {{
        let own = $table::table.filter(
            $table::id
                .eq($lease.id.to_string())
                .and($table::epoch.eq($lease.epoch))
                .and($table::lease_until.is_not_null()),
        );
        match $conn {
            // The store's clock: of this very machine for a file, of the server otherwise.
            Conn::Sqlite(c) => {
                let until = $now.naive_utc() + delta($duration);
                diesel::update(own).set($table::lease_until.eq(until)).execute(c.get_mut()).await?
            }
            Conn::Postgres(c) => {
                let until = sql::<Timestamp>(POSTGRES_NOW)
                    .sql(" + interval '1 second' * ")
                    .bind::<Double, _>($duration.as_secs_f64());
                let renew = diesel::update(own).set($table::lease_until.eq(until.nullable()));
                Prepared(renew).execute(&mut **c).await?
            }
        }
    }};
}

/// A request that this worker owns until its lease ends.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub request: Request,
    pub lease: Lease,
}

/// What a look for work came to.
#[derive(Debug, Default)]
pub struct Claims {
    pub taken: Vec<Claimed>,
    /// They have failed: each crashed its workers as often as it may.
    pub given_up: Vec<Request>,
}

impl Store {
    /// Takes the claimable requests that have waited longest, at most `count`: approved, paused until now, or in
    /// progress with a lease that ran out; none that is left to people, see
    /// [`Request::claimable_from`]. One that was claimed `max_attempts` times in a row without durable
    /// progress has crashed its workers: it fails and is passed over.
    ///
    /// # Errors
    /// As every statement.
    pub async fn claim(
        &self,
        count: usize,
        worker: &str,
        lease: Duration,
        max_attempts: i32,
    ) -> Result<Claims, StoreError> {
        let mut tx = self.begin_within(Some(PROMPT)).await?;
        let mut claims = Claims::default();
        // Again where all that came had to be given up.
        while claims.taken.is_empty() {
            let oldest = tx.oldest_claimable(count).await?;
            if oldest.is_empty() {
                break;
            }
            for (row, now) in oldest {
                let asked = row.cancelled_by().map(str::to_owned);
                let mut request = row.into_request()?;
                if request.strikes >= max_attempts {
                    tx.give_up(&mut request, worker, now).await?;
                    claims.given_up.push(request);
                } else {
                    claims.taken.push(tx.take(request, asked, worker, now, lease).await?);
                }
            }
        }
        tx.commit().await?;
        Ok(claims)
    }

    /// Leases that this worker took and has not written anything under yet. Where it is not at work on one, the answer to
    /// its claim was lost.
    ///
    /// # Errors
    /// As every statement.
    pub async fn unwritten_claims(&self, worker: &str) -> Result<Vec<Lease>, StoreError> {
        let leased = requests::table
            .filter(requests::status.eq(Status::InProgress.as_str()).and(requests::lease_until.is_not_null()))
            .select((requests::id, requests::epoch, requests::audit_seq));
        let leased: Vec<(String, i64, i64)> = read!(self, |c| leased.load(c).await);
        let claimed = [EventName::RequestStarted, EventName::RequestResumed];
        let mut unwritten = Vec::new();
        for (id, epoch, seq) in leased {
            if self.is_last(&format!("request:{id}"), seq, claimed, worker).await? {
                unwritten.push(Lease { of: LeaseOf::Request, id: uuid(&id)?, epoch });
            }
        }
        Ok(unwritten)
    }

    /// Whether a stream, whose last event has that number, ends with what this worker said.
    pub(super) async fn is_last(
        &self,
        stream: &str,
        seq: i64,
        said: [EventName; 2],
        worker: &str,
    ) -> Result<bool, StoreError> {
        let last = audit_events::table
            .filter(audit_events::stream.eq(stream).and(audit_events::seq.eq(seq)))
            .filter(
                audit_events::actor.eq(worker).and(audit_events::event.eq_any(said.map(EventName::as_str))),
            )
            .count();
        let found: i64 = read!(self, |c| last.get_result(c).await);
        Ok(found > 0)
    }

    /// Prolongs a lease from now on, by the store's clock; false when it was lost or given back.
    ///
    /// # Errors
    /// As every statement.
    pub async fn renew(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        let mut tx = self.begin_within(Some(PROMPT)).await?;
        let now = self.clock().now();
        let conn = tx.conn().await?;
        let renewed = match lease.of {
            LeaseOf::Request => renew!(conn, requests, lease, duration, now),
            LeaseOf::Run => renew!(conn, runs, lease, duration, now),
        };
        tx.commit().await?;
        Ok(renewed == 1)
    }
}

impl Tx {
    /// The requests to claim, locked, at most `count`, and the time by the store's clock.
    async fn oldest_claimable(
        &mut self,
        count: usize,
    ) -> Result<Vec<(RequestRow, NaiveDateTime)>, StoreError> {
        let open = requests::table
            .filter(requests::finished_at.is_null())
            .filter(requests::status.ne_all(NOT_CLAIMABLE))
            .order((requests::run_at, requests::id))
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        let (start, clock) = (self.start, self.clock);
        let found = match self.unstarted() {
            // BEGIN IMMEDIATE admits one claimer at a time; the file is on this machine, so is its clock.
            Conn::Sqlite(c) => {
                let now = clock.now().naive_utc();
                let rows: Vec<RequestRow> = open
                    .filter(requests::run_at.le(now))
                    .filter(requests::lease_until.is_null().or(requests::lease_until.le(now)))
                    .select(RequestRow::as_select())
                    .load(c.get_mut())
                    .await?;
                rows.into_iter().map(|row| (row, now)).collect()
            }
            // Claimers pass each other by: a row that another one is looking at is skipped, not waited for.
            Conn::Postgres(c) => {
                let now = sql::<Timestamp>(POSTGRES_NOW);
                let query = open
                    .filter(requests::run_at.le(now.clone()))
                    .filter(
                        requests::lease_until.is_null().or(requests::lease_until.le(now.clone().nullable())),
                    )
                    .select((RequestRow::as_select(), now))
                    .for_update()
                    .skip_locked();
                Conn::opening(c, start, Prepared(query).load(&mut &**c)).await??
            }
        };
        self.start = None;
        Ok(found)
    }

    async fn take(
        &mut self,
        mut request: Request,
        asked: Option<String>,
        worker: &str,
        now: NaiveDateTime,
        lease: Duration,
    ) -> Result<Claimed, StoreError> {
        let first = request.started_at.is_none();
        request.attempt += 1;
        request.strikes += 1;
        request.started_at.get_or_insert(now.and_utc());
        request.lease_until = Some(now.and_utc() + delta(lease));
        let error = request.state.error().cloned();
        request.state = State::InProgress { error, cancelled_by: asked.clone() };
        let name = if first { EventName::RequestStarted } else { EventName::RequestResumed };
        let event = request.event(name, worker, json!({ "attempt": request.attempt }));
        self.raise_epoch(&mut request, vec![event], asked.as_deref()).await?;
        let lease = Lease { of: LeaseOf::Request, id: request.id, epoch: request.epoch };
        Ok(Claimed { request, lease })
    }

    /// Ends a request that takes its workers down with it. The sealed keys stay: `retry` is still possible.
    async fn give_up(
        &mut self,
        request: &mut Request,
        worker: &str,
        now: NaiveDateTime,
    ) -> Result<(), StoreError> {
        let event = request.give_up(worker, now.and_utc());
        // The epoch rises here too: a worker that only seemed dead must not write over the end.
        self.raise_epoch(request, vec![event], None).await?;
        self.release(request.id).await
    }
}

pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
