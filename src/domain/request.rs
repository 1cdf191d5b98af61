//! A data subject request: its states with their facts, and the transitions between them. A transition changes
//! the request and yields the event that must commit with it, or refuses.

mod progress;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::{ChainHead, EventName, NewEvent};

mod rest;
#[cfg(test)]
mod sample;
mod transitions;

pub use transitions::{Cancelled, WithReason};

/// Which right is exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GDPR Art. 17.
    Erasure,
}

impl Kind {
    pub const ALL: [Self; 1] = [Self::Erasure];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erasure => "erasure",
        }
    }
}

/// What the outside sees of [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for a worker; a claim moves it on.
    Approved,
    /// A worker holds it, or held it and crashed; the worker, or the next claim after the lease, moves it on.
    InProgress,
    /// Something outside is down; the claim at `next_attempt_at` moves it on.
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 6] =
        [Self::Approved, Self::InProgress, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Sealed keys go with the end; a failed request keeps them, so that `retry` still knows whom to look for.
    #[must_use]
    pub fn destroys_keys(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

/// Keeps apart the ends that must never look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    /// A step or rows were withheld.
    DoneWithExceptions,
    /// No row of this person anywhere.
    NoMatch,
    /// Failed or cancelled after the first effect.
    Partial,
    /// Failed or cancelled before any effect.
    NothingDone,
}

impl Outcome {
    pub const ALL: [Self; 5] =
        [Self::Done, Self::DoneWithExceptions, Self::NoMatch, Self::Partial, Self::NothingDone];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneWithExceptions => "done_with_exceptions",
            Self::NoMatch => "no_match",
            Self::Partial => "partial",
            Self::NothingDone => "nothing_done",
        }
    }
}

/// Run-time trouble, as `error` shows it. `detail` never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    pub code: RunCode,
    pub detail: String,
    pub connection: Option<String>,
    pub step: Option<String>,
    /// Under `attempts_exhausted`: the code that used them up.
    pub cause: Option<RunCode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCode {
    ConnectionUnavailable,
    LockTimeout,
    SchemaChanged,
    ConstraintViolation,
    RowsRemaining,
    Internal,
    AttemptsExhausted,
    SubjectAmbiguous,
}

/// What a failure in a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Something outside is in the way: `paused`, no attempt used.
    Wait,
    /// Again with backoff, until the attempts are used up.
    Retry,
    /// Over.
    Fail,
}

impl RunCode {
    #[must_use]
    pub fn disposition(self) -> Disposition {
        match self {
            Self::ConnectionUnavailable
            | Self::LockTimeout
            | Self::SchemaChanged
            | Self::ConstraintViolation => Disposition::Wait,
            Self::RowsRemaining | Self::Internal => Disposition::Retry,
            Self::AttemptsExhausted | Self::SubjectAmbiguous => Disposition::Fail,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionUnavailable => "connection_unavailable",
            Self::LockTimeout => "lock_timeout",
            Self::SchemaChanged => "schema_changed",
            Self::ConstraintViolation => "constraint_violation",
            Self::RowsRemaining => "rows_remaining",
            Self::Internal => "internal",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::SubjectAmbiguous => "subject_ambiguous",
        }
    }
}

/// A state with its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Approved,
    /// `error` is the last attempt's, while the next one waits or runs.
    InProgress {
        error: Option<RunError>,
        cancelled_by: Option<String>,
    },
    Paused {
        error: RunError,
    },
    Completed {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
    },
    Failed {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
        error: RunError,
    },
    Cancelled {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
    },
}

impl State {
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Approved => Status::Approved,
            Self::InProgress { .. } => Status::InProgress,
            Self::Paused { .. } => Status::Paused,
            Self::Completed { .. } => Status::Completed,
            Self::Failed { .. } => Status::Failed,
            Self::Cancelled { .. } => Status::Cancelled,
        }
    }

    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Completed { outcome, .. }
            | Self::Failed { outcome, .. }
            | Self::Cancelled { outcome, .. } => Some(*outcome),
            _ => None,
        }
    }

    #[must_use]
    pub fn finished_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Completed { finished_at, .. }
            | Self::Failed { finished_at, .. }
            | Self::Cancelled { finished_at, .. } => Some(*finished_at),
            _ => None,
        }
    }

    #[must_use]
    pub fn error(&self) -> Option<&RunError> {
        match self {
            Self::InProgress { error, .. } => error.as_ref(),
            Self::Paused { error } | Self::Failed { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The lease of a claim. Every write of a worker names the epoch; one that another claim has raised is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub request_id: Uuid,
    pub epoch: i64,
}

/// The request row, whole. Identities and reason lie sealed elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub id: Uuid,
    pub kind: Kind,
    pub plan: String,
    pub plan_version: String,
    pub external_id: Option<String>,
    pub created_by: String,
    pub submitted_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub state: State,
    /// The earliest time of the next claim; shown as `next_attempt_at` once something went wrong.
    pub run_at: DateTime<Utc>,
    /// Claims so far, less those that were given back.
    pub attempt: i32,
    /// Claims in a row that ended in a crash without durable progress.
    pub strikes: i32,
    /// Failures of disposition `Retry` since submission or the last `retry`.
    pub failures: i32,
    /// Pauses in a row, for their backoff.
    pub waits: i32,
    pub epoch: i64,
    /// Until then the claim's worker owns the request; the store's clock.
    pub lease_until: Option<DateTime<Utc>>,
    /// The person is resolved: DESIGN.md §5 (a) has been committed.
    pub resolved: bool,
    /// A target commit has been announced; from here on an end is `partial`.
    pub touched: bool,
    /// The root identity's pseudonym.
    pub subject_ref: Option<String>,
    pub steps: Vec<StepState>,
    /// Of the last audit event of `request:<id>`.
    pub head: ChainHead,
}

/// The states of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Pending,
    InProgress,
    Completed,
    /// Kept by its basis.
    Withheld,
    Failed,
}

impl StepStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Withheld => "withheld",
            Self::Failed => "failed",
        }
    }
}

/// One step of a request, in the order of execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepState {
    pub name: String,
    pub action: String,
    pub status: StepStatus,
    pub basis: Option<String>,
    /// `None` until counted.
    pub rows_matched: Option<i64>,
    pub rows_affected: i64,
    /// `None` until verified.
    pub rows_remaining: Option<i64>,
    pub rows_withheld: i64,
    /// Recorded batches.
    pub batches: i32,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The subject as it was given: identity name → value. Personal data: sealed in the store, no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject(pub BTreeMap<String, serde_json::Value>);

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject([redacted])")
    }
}

/// The sealed part of a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidential {
    pub subject: Subject,
    pub reason: Option<String>,
}

/// A transition that the present state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request that is {} cannot be {action}", .status.as_str())]
pub struct InvalidState {
    pub status: Status,
    pub action: &'static str,
}

impl Request {
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// The stream of its audit events.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("request:{}", self.id)
    }

    /// An event of this request, without a step.
    #[must_use]
    pub fn event(&self, event: EventName, actor: &str, details: serde_json::Value) -> NewEvent {
        NewEvent {
            event,
            request_id: Some(self.id),
            subject_ref: self.subject_ref.clone(),
            actor: actor.to_owned(),
            step: None,
            action: None,
            rows: None,
            details,
        }
    }

    /// When the next attempt is due, for states in which one waits.
    #[must_use]
    pub fn next_attempt_at(&self) -> Option<DateTime<Utc>> {
        match &self.state {
            State::Paused { .. } => Some(self.run_at),
            State::InProgress { error: Some(_), .. } if self.lease_until.is_none() => Some(self.run_at),
            _ => None,
        }
    }
}
