//! Schedules at work. Every process looks at them; the row of a schedule lets one of them fire it, and the moment that it
//! fires for is the run's key, so that each becomes one run. What was missed while no process ran is made up for once.
//!
//! apalis-cron is not used for this: its clock ticks in each process, so that two of them fire twice, and it knows nothing
//! of moments that passed while none was there.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::{Asked, Service, new_run};
use crate::{
    domain::{
        audit::timestamp,
        run::{Params, Run, Task},
        schedule::Schedule,
    },
    points::{self, Point},
    service::error::ServiceError,
    store::{Begun, Firing, StoreError, Tx},
};

/// How often is looked for a schedule that is due.
const LOOK: Duration = Duration::from_secs(1);

/// Fires what is due until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while !service.upkeep.schedules.is_empty() && !*stop.borrow() {
        if let Err(error) = fire(&service).await {
            tracing::warn!(%error, "schedules could not be looked at");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Fires every schedule that is due, by the store's clock; the runs that came of it.
///
/// # Errors
/// When the store does not answer; those before were fired.
pub async fn fire(service: &Service) -> Result<Vec<Run>, StoreError> {
    let now = service.store.now().await?;
    fire_at(service, now).await
}

/// As [`fire`], at a given time.
///
/// # Errors
/// When the store does not answer; those before were fired.
pub async fn fire_at(service: &Service, now: DateTime<Utc>) -> Result<Vec<Run>, StoreError> {
    let known = service.store.firings().await?;
    let mut fired = Vec::new();
    for schedule in &service.upkeep.schedules {
        let firing = known.iter().find(|known| known.name == schedule.name);
        if firing.is_some_and(|firing| is_at_rest(schedule, firing, now)) {
            continue;
        }
        let mut tx = service.store.begin().await?;
        let run = fire_one(service, &mut tx, schedule, now).await?;
        tx.commit().await?;
        if run.is_some() {
            points::reached(Point::RunScheduled);
            service.runs_wake.notify_one();
        }
        fired.extend(run);
    }
    Ok(fired)
}

/// Nothing is to be done: it is not due, and waits for the moment that it should.
fn is_at_rest(schedule: &Schedule, firing: &Firing, now: DateTime<Utc>) -> bool {
    firing.timing == schedule.timing.to_string()
        && firing.next_at.is_none_or(|next| now < next)
        // Otherwise the clock was ahead when it fired last, and is right again.
        && firing.next_at == schedule.timing.next_after(now)
}

async fn fire_one(
    service: &Service,
    tx: &mut Tx,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    let timing = schedule.timing.to_string();
    let next_at = schedule.timing.next_after(now);
    let new = Firing {
        name: schedule.name.clone(),
        timing: timing.clone(),
        next_at,
        fired_at: None,
        run_id: None,
        skipped_at: None,
    };
    let mut firing = tx.lock_firing(&new).await?;
    // Another timing counts from now on; what the old one missed is its own.
    let is_due = firing.timing == timing && firing.next_at.is_some_and(|due| due <= now);
    // Of several that were missed the last one: it is made up for once.
    let due = schedule.timing.last_until(now).filter(|_| is_due);
    let mut begun = None;
    if let Some(due) = due
        && let Some(mut run) = scheduled(service, schedule, due, now)
    {
        match tx.begin_run(&mut run).await? {
            Begun::New => {
                (firing.fired_at, firing.run_id) = (Some(due), Some(run.id));
                begun = Some(run);
            }
            Begun::Known(run) => (firing.fired_at, firing.run_id) = (Some(due), Some(run.id)),
            Begun::Busy(run) => {
                tracing::warn!(schedule = %schedule.name, run = %run.id, "not fired: the run before is not over");
                firing.skipped_at = Some(due);
            }
        }
    }
    (firing.timing, firing.next_at) = (timing, next_at);
    tx.put_firing(&firing).await?;
    Ok(begun)
}

fn scheduled(service: &Service, schedule: &Schedule, due: DateTime<Utc>, now: DateTime<Utc>) -> Option<Run> {
    let params = match &schedule.task {
        Task::Retention(name) => {
            let before = service.upkeep.policies.get(name)?.older_than.before(now)?;
            Params::Retention { policy_version: None, before }
        }
        Task::Backup(_) => Params::Backup,
        // The configuration has checked it.
        Task::Replay => return None,
    };
    let asked = Asked { by: format!("schedule:{}", schedule.name), idempotency_key: Some(timestamp(due)) };
    Some(new_run(service, schedule.task.clone(), params, asked))
}

/// A schedule as its reader sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    pub name: String,
    pub handler: String,
    pub timing: String,
    pub next_at: Option<DateTime<Utc>>,
    pub fired_at: Option<DateTime<Utc>>,
    pub skipped_at: Option<DateTime<Utc>>,
    /// The last run of the handler, whoever asked for it.
    pub last_run: Option<LastRun>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LastRun {
    pub id: uuid::Uuid,
    pub status: &'static str,
    pub outcome: Option<&'static str>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl LastRun {
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self {
            id: run.id,
            status: run.status().as_str(),
            outcome: run.state.outcome().map(crate::domain::request::Outcome::as_str),
            started_at: run.started_at,
            finished_at: run.state.finished_at(),
        }
    }
}

/// The schedules of the configuration.
///
/// # Errors
/// When the store does not answer.
pub async fn list(service: &Service) -> Result<Vec<Reading>, StoreError> {
    let known = service.store.firings().await?;
    let now = service.store.now().await?;
    let mut all = Vec::new();
    for schedule in &service.upkeep.schedules {
        let timing = schedule.timing.to_string();
        let firing = known.iter().find(|known| known.name == schedule.name);
        let next = firing.filter(|firing| firing.timing == timing).map(|firing| firing.next_at);
        all.push(Reading {
            name: schedule.name.clone(),
            handler: schedule.task.to_string(),
            timing,
            next_at: next.unwrap_or_else(|| schedule.timing.next_after(now)),
            fired_at: firing.and_then(|firing| firing.fired_at),
            skipped_at: firing.and_then(|firing| firing.skipped_at),
            last_run: service.store.last_run(&schedule.task).await?.as_ref().map(LastRun::of),
        });
    }
    Ok(all)
}

/// Runs what a schedule would, now.
///
/// # Errors
/// `NotFound` when there is none of that name; otherwise as [`begin`](super::begin).
pub async fn run_now(service: &Service, name: &str, asked: Asked) -> Result<(Run, bool), ServiceError> {
    let schedule = service.upkeep.schedules.iter().find(|schedule| schedule.name == name);
    let task = schedule.ok_or(ServiceError::NotFound)?.task.clone();
    super::begin(service, task, asked).await
}
