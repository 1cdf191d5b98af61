//! A data subject request: its states with their facts, and the transitions between them. A transition changes
//! the request and yields the event that must commit with it, or refuses.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    audit::{ChainHead, EventName, NewEvent},
    key::Key,
    rectification::Changes,
};

mod answering;
mod approval;
mod asked;
mod end;
mod keep;
pub mod letter;
mod manual;
mod progress;
mod replay;
mod rest;
#[cfg(test)]
mod sample;
mod state;
mod transitions;

pub use answering::{Answered, Answering, Channel, Extension, IdentityCheck, NEVER, SOON};
pub use approval::{DenialReason, Refusal};
pub use asked::{ExportOptions, Format, Places, Right};
pub use end::Packed;
pub use keep::{Ends, Kept};
pub use manual::{ByHand, CODE, MANUAL, ManualResult};
pub use replay::Replay;
pub use state::{Disposition, Outcome, RunCode, RunError, State, Status};
pub use transitions::{Cancelled, WithReason};

/// Which right is exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GDPR Art. 17.
    Erasure,
    /// GDPR Art. 15 and 20.
    Export,
    /// GDPR Art. 16.
    Rectification,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Erasure, Self::Export, Self::Rectification];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erasure => "erasure",
            Self::Export => "export",
            Self::Rectification => "rectification",
        }
    }
}

/// The lease of a claim. Every write of a worker names the epoch; one that another claim has raised is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub of: LeaseOf,
    pub id: Uuid,
    pub epoch: i64,
}

/// What is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseOf {
    Request,
    Run,
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
    /// How the month runs, and how it ended.
    pub answering: Answering,
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
    /// The legal hold that it met, or that its worker has to heed between two batches.
    pub hold: Option<Uuid>,
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
    /// For a person who carries it out.
    Waiting,
    Completed,
    /// Kept by its basis, or not possible by hand.
    Withheld,
    Failed,
}

impl StepStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Waiting => "waiting",
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
    /// Of a rectification or a mask: what is written, never the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Of a manual step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// Of rows that are kept for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
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
    /// What an approver wrote to a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial_text: Option<String>,
    /// Why the answer takes longer than a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_reason: Option<String>,
    /// Of an export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportOptions>,
    /// Of a rectification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// What people wrote to manual steps, by step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// Of a replay: what the person's row held beside the identities when they were erased, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<String, Key>,
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
            request_id: Some(self.id),
            subject_ref: self.subject_ref.clone(),
            ..NewEvent::new(event, actor, details)
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
