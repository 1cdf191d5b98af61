//! Runs: asked for by an admin or a schedule, decided by an approver where the configuration wants that, carried out
//! by one worker at a time.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Service, actions::finish, error::ServiceError, retention};
use crate::{
    connectors::objects::Objects,
    domain::{
        audit::ChainHead,
        period::Period,
        request::State,
        retention::Policy,
        run::{Params, Run, Task, TaskKind},
        schedule::Schedule,
        sweep::Periods,
    },
    points::{self, Point},
    store::{Begun, RunFilter, StoreError},
};

mod keeper;
pub mod schedules;
pub mod worker;

pub(super) use keeper::Keeper;

/// What the configuration says of all that is done beside requests.
#[derive(Default)]
pub struct Upkeep {
    pub policies: BTreeMap<String, Policy>,
    pub schedules: Vec<Schedule>,
    /// The kinds of run that wait for an approver.
    pub approval: Vec<TaskKind>,
    /// Where archived rows go.
    pub archives: Option<Objects>,
    /// How long the service keeps what is its own.
    pub periods: Periods,
    /// How long the ledger keeps a completed erasure; `None`: for ever.
    pub ledger: Option<Period>,
}

/// Who asks for a run.
#[derive(Debug, Clone)]
pub struct Asked {
    /// A token's `sub`, `cli:USER`, or `schedule:NAME`.
    pub by: String,
    pub idempotency_key: Option<String>,
}

/// Puts a run into the queue; false beside it where the same call was made before.
///
/// # Errors
/// When there is no such task, its policy does not fit the live schema, or another run of it is not over.
pub async fn begin(service: &Service, task: Task, asked: Asked) -> Result<(Run, bool), ServiceError> {
    let now = service.store.now().await?;
    let params = match &task {
        Task::Retention(name) => {
            let before = retention::policy(service, name)?.older_than.before(now);
            let before = before.ok_or(ServiceError::Internal("the policy reaches beyond the calendar"))?;
            let policy_version = retention::version(service, name, before, now).await?;
            Params::Retention { policy_version: Some(policy_version), before }
        }
        Task::Backup(name) if !service.backups.by_name.contains_key(name) => {
            return Err(ServiceError::NotFound);
        }
        Task::Backup(_) => Params::Backup,
        // Asked for with more than its name: see `replays`.
        Task::Replay => return Err(ServiceError::NotFound),
    };
    begin_with(service, task, params, asked).await
}

/// As [`begin`], with what is asked for.
///
/// # Errors
/// When another run of the task is not over.
pub(super) async fn begin_with(
    service: &Service,
    task: Task,
    params: Params,
    asked: Asked,
) -> Result<(Run, bool), ServiceError> {
    let mut run = new_run(service, task, params, asked);
    let mut tx = service.store.begin().await?;
    let begun = tx.begin_run(&mut run).await;
    let begun = finish(tx, begun.map_err(ServiceError::from)).await?;
    match begun {
        Begun::New => {
            points::reached(Point::RunAccepted);
            service.runs_wake.notify_one();
            Ok((run, true))
        }
        Begun::Known(known) if !known.is_same_call(&run) => Err(ServiceError::IdempotencyKeyReused),
        Begun::Known(known) => Ok((*known, false)),
        Begun::Busy(open) => Err(ServiceError::DuplicateRun(open.id)),
    }
}

fn new_run(service: &Service, task: Task, params: Params, asked: Asked) -> Run {
    let now = service.clock.now();
    let waits = service.upkeep.approval.contains(&task.kind());
    Run {
        id: service.clock.new_id(),
        task,
        params,
        created_by: asked.by,
        idempotency_key: asked.idempotency_key,
        created_at: now,
        started_at: None,
        state: if waits { State::Pending } else { State::Approved },
        // By the store's clock, which may be behind: it is due at once.
        run_at: now - chrono::TimeDelta::minutes(5),
        attempt: 0,
        strikes: 0,
        failures: 0,
        waits: 0,
        epoch: 0,
        lease_until: None,
        steps: Vec::new(),
        report: serde_json::json!({}),
        head: ChainHead::default(),
    }
}

/// What a person decides about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Deny,
    Cancel,
    Retry,
}

/// Carries out what an approver or an admin decided.
///
/// # Errors
/// In a state that does not allow it, and for one's own run where that is not allowed.
pub async fn decide(
    service: &Service,
    actor: &str,
    id: Uuid,
    decision: Decision,
) -> Result<Run, ServiceError> {
    let mut tx = service.store.begin().await?;
    let outcome = async {
        let mut run = tx.lock_run(id).await?.ok_or(ServiceError::NotFound)?;
        let now = service.clock.now();
        let events = match decision {
            Decision::Approve => vec![run.approve(actor, now)?],
            Decision::Deny => vec![run.deny(actor, now)?],
            Decision::Cancel => run.cancel(actor, now)?.into_iter().collect(),
            Decision::Retry => vec![run.retry(actor, now)?],
        };
        tx.write_run(&mut run, events).await?;
        Ok(run)
    }
    .await;
    let run = finish(tx, outcome).await?;
    service.runs_wake.notify_one();
    Ok(run)
}

/// One run.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn read(service: &Service, id: Uuid) -> Result<Run, ServiceError> {
    service.store.run(id).await?.ok_or(ServiceError::NotFound)
}

/// A page of runs, newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn list(service: &Service, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, StoreError> {
    service.store.runs(filter, limit).await
}
