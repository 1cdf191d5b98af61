//! Runs: what the service does by itself or at an admin's word beside people's requests. Retention, the
//! verification of backups and replays are tracked like requests: queued, leased, resumed, decided upon and audited.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    audit::{ChainHead, EventName, NewEvent, timestamp},
    replay::Progress,
    request::{Disposition, Outcome, RunCode, RunError, State, Status, StepState, StepStatus},
};

mod decisions;
mod task;

pub use decisions::CannotDecide;
pub use task::{NoTask, Task, TaskKind};

/// What a run was asked for, which no resume changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Params {
    Retention {
        /// The version that was shown, and is carried out; of a schedule the one that its first attempt finds.
        policy_version: Option<String>,
        /// The first moment that is not old any more.
        before: DateTime<Utc>,
    },
    Backup,
    Replay {
        /// Erasures that were completed from then on; `None`: all that the ledger holds.
        since: Option<DateTime<Utc>>,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub id: Uuid,
    pub task: Task,
    pub params: Params,
    /// A token's `sub`, `cli:USER`, or `schedule:NAME`.
    pub created_by: String,
    /// Told apart from the same call sent again; of a schedule the moment it fired for.
    pub idempotency_key: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub state: State,
    /// The earliest time of the next claim.
    pub run_at: DateTime<Utc>,
    pub attempt: i32,
    /// Claims in a row that ended in a crash without durable progress.
    pub strikes: i32,
    pub failures: i32,
    /// Pauses in a row, for their backoff.
    pub waits: i32,
    pub epoch: i64,
    /// Until then the claim's worker owns the run; the store's clock.
    pub lease_until: Option<DateTime<Utc>>,
    /// What it works on, in the order of execution; empty until that was counted.
    pub steps: Vec<StepState>,
    /// What came of it, beside the steps' counts.
    pub report: Value,
    /// Of the last audit event of `run:<id>`.
    pub head: ChainHead,
}

impl Run {
    /// The stream of its audit events.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("run:{}", self.id)
    }

    #[must_use]
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// Who asked for the end while a worker was at it.
    #[must_use]
    pub fn cancelled_by(&self) -> Option<&str> {
        match &self.state {
            State::InProgress { cancelled_by, .. } => cancelled_by.as_deref(),
            _ => None,
        }
    }

    /// Another one with the same key asks for the same. When a policy is run is no part of the question.
    #[must_use]
    pub fn is_same_call(&self, other: &Self) -> bool {
        self.task == other.task && (self.task != Task::Replay || self.params == other.params)
    }

    /// The event that commits with a new run.
    #[must_use]
    pub fn created(&self) -> NewEvent {
        let asked = match &self.params {
            Params::Retention { policy_version, before } => {
                json!({ "policy_version": policy_version, "before": timestamp(*before) })
            }
            Params::Backup => json!({}),
            Params::Replay { since } => json!({ "since": since.map(timestamp) }),
        };
        let mut details = json!({
            "task": self.task.to_string(),
            "approval": if self.state == State::Pending { "required" } else { "none" },
        });
        if let (Some(details), Some(asked)) = (details.as_object_mut(), asked.as_object()) {
            details.extend(asked.clone());
        }
        self.event(EventName::RunCreated, &self.created_by, details)
    }

    /// An event of this run.
    #[must_use]
    pub fn event(&self, event: EventName, actor: &str, details: Value) -> NewEvent {
        NewEvent::new(event, actor, details)
    }

    /// An event of one of its steps.
    #[must_use]
    pub fn step_event(&self, position: usize, event: EventName, actor: &str, rows: Value) -> NewEvent {
        let step = self.steps.get(position);
        NewEvent {
            step: step.map(|step| step.name.clone()),
            action: step.map(|step| step.action.clone()),
            rows: Some(rows),
            ..NewEvent::new(event, actor, json!({ "attempt": self.attempt }))
        }
    }

    /// Taken by a worker. A replay that merely looks again at the requests that it waits for tells nobody.
    pub fn claimed(
        &mut self,
        worker: &str,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Option<NewEvent> {
        let first = self.started_at.is_none();
        let looks_again = self.waits_for_requests();
        self.attempt += 1;
        self.strikes += 1;
        self.started_at.get_or_insert(now);
        self.lease_until = Some(lease_until);
        let (error, cancelled_by) = (self.state.error().cloned(), self.cancelled_by().map(str::to_owned));
        self.state = State::InProgress { error, cancelled_by };
        let name = if first { EventName::RunStarted } else { EventName::RunResumed };
        (!looks_again).then(|| self.event(name, worker, json!({ "attempt": self.attempt })))
    }

    /// It was given back, by itself, until requests that it made have ended.
    fn waits_for_requests(&self) -> bool {
        let is_given_back = self.state == State::InProgress { error: None, cancelled_by: None };
        is_given_back
            && self.lease_until.is_none()
            && Progress::read(&self.report).is_some_and(Progress::waits)
    }

    /// Something durable was done: whatever crashes from here on is no repetition.
    pub fn progressed(&mut self) {
        self.strikes = 0;
        self.waits = 0;
    }

    /// The worker stops, or somebody else is at it; the attempt does not count.
    pub fn given_back(&mut self, run_at: DateTime<Utc>) {
        self.attempt = (self.attempt - 1).max(0);
        self.strikes = 0;
        self.lease_until = None;
        self.run_at = run_at;
    }

    /// What an attempt that went wrong comes to; `run_at`: the next one's time.
    pub fn troubled(
        &mut self,
        error: RunError,
        actor: &str,
        now: DateTime<Utc>,
        run_at: DateTime<Utc>,
        max_attempts: i32,
    ) -> Vec<NewEvent> {
        match error.code.disposition() {
            Disposition::Fail => vec![self.fail(error, actor, now)],
            Disposition::Wait => {
                self.attempt = (self.attempt - 1).max(0);
                self.strikes = 0;
                self.waits += 1;
                self.lease_until = None;
                self.run_at = run_at;
                let details = json!({
                    "code": error.code.as_str(), "connection": error.connection, "step": error.step,
                    "next_attempt_at": timestamp(run_at),
                });
                self.state = State::Paused { error };
                vec![self.event(EventName::RunPaused, actor, details)]
            }
            Disposition::Retry => {
                self.failures += 1;
                if self.failures >= max_attempts {
                    let cause = Some(error.code);
                    let error = RunError { code: RunCode::AttemptsExhausted, cause, ..error };
                    return vec![self.fail(error, actor, now)];
                }
                self.strikes = 0;
                self.lease_until = None;
                self.run_at = run_at;
                let cancelled_by = self.cancelled_by().map(str::to_owned);
                self.state = State::InProgress { error: Some(error), cancelled_by };
                Vec::new()
            }
        }
    }

    /// The end that needs a person.
    pub fn fail(&mut self, error: RunError, actor: &str, now: DateTime<Utc>) -> NewEvent {
        let outcome = self.interrupted();
        let details = json!({
            "code": error.code.as_str(), "cause": error.cause.map(RunCode::as_str), "step": error.step,
            "outcome": outcome.as_str(),
        });
        self.lease_until = None;
        self.state = State::Failed { finished_at: now, outcome, error };
        self.event(EventName::RunFailed, actor, details)
    }

    /// The end that a person asked for.
    pub fn cancelled(&mut self, by: &str, now: DateTime<Utc>) -> NewEvent {
        let outcome = self.interrupted();
        self.lease_until = None;
        self.state = State::Cancelled { finished_at: now, outcome };
        self.event(EventName::RunCancelled, by, json!({ "outcome": outcome.as_str() }))
    }

    /// All was done that could be.
    pub fn complete(&mut self, outcome: Outcome, actor: &str, now: DateTime<Utc>) -> NewEvent {
        self.lease_until = None;
        self.state = State::Completed { finished_at: now, outcome };
        let sum = |of: &dyn Fn(&StepState) -> i64| self.steps.iter().map(of).sum::<i64>();
        let rows = json!({
            "matched": sum(&|step| step.rows_matched.unwrap_or(0)), "affected": sum(&|step| step.rows_affected),
            "withheld": sum(&|step| step.rows_withheld), "remaining": sum(&|step| step.rows_remaining.unwrap_or(0)),
        });
        let details = json!({ "outcome": outcome.as_str(), "report": self.report });
        NewEvent { rows: Some(rows), ..self.event(EventName::RunCompleted, actor, details) }
    }

    fn interrupted(&self) -> Outcome {
        let begun = |step: &StepState| step.rows_affected > 0 || step.status != StepStatus::Pending;
        let submitted = Progress::read(&self.report).is_some_and(|progress| progress.submitted > 0);
        if submitted || self.steps.iter().any(begun) { Outcome::Partial } else { Outcome::NothingDone }
    }
}
