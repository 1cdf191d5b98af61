//! Where a request stands, and what an attempt that went wrong asks for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::audit::EventName;

/// What the outside sees of [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a person: an approver, or whoever checks the identity.
    Pending,
    /// Waits for a worker; a claim moves it on.
    Approved,
    /// A worker holds it, or held it and crashed; the worker, or the next claim after the lease, moves it on.
    InProgress,
    /// Something outside is down; the claim at `next_attempt_at` moves it on.
    Paused,
    /// A legal hold keeps it; its end moves it on.
    OnHold,
    Completed,
    Failed,
    /// Refused by an approver.
    Denied,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Approved,
        Self::InProgress,
        Self::Paused,
        Self::OnHold,
        Self::Completed,
        Self::Failed,
        Self::Denied,
        Self::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::OnHold => "on_hold",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn is_end(self) -> bool {
        self.end_event().is_some()
    }

    /// The event that tells of this end; `None` of what is no end.
    #[must_use]
    pub fn end_event(self) -> Option<EventName> {
        match self {
            Self::Completed => Some(EventName::RequestCompleted),
            Self::Failed => Some(EventName::RequestFailed),
            Self::Denied => Some(EventName::RequestDenied),
            Self::Cancelled => Some(EventName::RequestCancelled),
            Self::Pending | Self::Approved | Self::InProgress | Self::Paused | Self::OnHold => None,
        }
    }

    /// Sealed keys go with the end; a failed request keeps them, so that `retry` still knows whom to look for.
    #[must_use]
    pub fn destroys_keys(self) -> bool {
        matches!(self, Self::Completed | Self::Denied | Self::Cancelled)
    }
}

/// Keeps apart the ends that must never look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// A step or rows were withheld.
    DoneWithExceptions,
    /// No row of this person anywhere.
    NoMatch,
    /// Failed or cancelled after the first effect.
    Partial,
    /// Failed, denied or cancelled before any effect.
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
    /// Another request of the person must end first.
    SubjectBusy,
    /// A rectification's value that its column can never hold.
    InvalidChanges,
    /// A step in code says that it needs a person.
    StepFailed,
    /// A retention policy would take every row of a table.
    MatchesEverything,
    /// A retention policy is not the one that was approved.
    PolicyChanged,
    /// A backup is not what it should be.
    BackupNotOk,
    /// A replay left somebody out.
    ReplayIncomplete,
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

impl Disposition {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Retry => "retry",
            Self::Fail => "fail",
        }
    }
}

impl RunCode {
    #[must_use]
    pub fn disposition(self) -> Disposition {
        match self {
            Self::ConnectionUnavailable
            | Self::LockTimeout
            | Self::SchemaChanged
            | Self::SubjectBusy
            | Self::ConstraintViolation => Disposition::Wait,
            Self::RowsRemaining | Self::Internal => Disposition::Retry,
            Self::AttemptsExhausted
            | Self::SubjectAmbiguous
            | Self::InvalidChanges
            | Self::StepFailed
            | Self::MatchesEverything
            | Self::PolicyChanged
            | Self::BackupNotOk
            | Self::ReplayIncomplete => Disposition::Fail,
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
            Self::SubjectBusy => "subject_busy",
            Self::InvalidChanges => "invalid_changes",
            Self::StepFailed => "step_failed",
            Self::MatchesEverything => "matches_everything",
            Self::PolicyChanged => "policy_changed",
            Self::BackupNotOk => "backup_not_ok",
            Self::ReplayIncomplete => "replay_incomplete",
        }
    }
}

/// A state with its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Pending,
    Approved,
    /// `error` is the last attempt's, while the next one waits or runs.
    InProgress {
        error: Option<RunError>,
        cancelled_by: Option<String>,
    },
    Paused {
        error: RunError,
    },
    OnHold,
    Completed {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
    },
    Failed {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
        error: RunError,
    },
    Denied {
        finished_at: DateTime<Utc>,
        outcome: Outcome,
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
            Self::Pending => Status::Pending,
            Self::Approved => Status::Approved,
            Self::InProgress { .. } => Status::InProgress,
            Self::Paused { .. } => Status::Paused,
            Self::OnHold => Status::OnHold,
            Self::Completed { .. } => Status::Completed,
            Self::Failed { .. } => Status::Failed,
            Self::Denied { .. } => Status::Denied,
            Self::Cancelled { .. } => Status::Cancelled,
        }
    }

    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Completed { outcome, .. }
            | Self::Failed { outcome, .. }
            | Self::Denied { outcome, .. }
            | Self::Cancelled { outcome, .. } => Some(*outcome),
            _ => None,
        }
    }

    #[must_use]
    pub fn finished_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Completed { finished_at, .. }
            | Self::Failed { finished_at, .. }
            | Self::Denied { finished_at, .. }
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
