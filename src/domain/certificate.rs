//! Certificates: what became of a request, bound to the event that ended it, with the proof that this event is in the log
//! whose checkpoint somebody else keeps. Whoever has one and the log's public key needs nothing else to verify it, neither
//! this service nor its keys.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    audit::{Event, Hash, hex, timestamp},
    request::{
        DenialReason, Kind, ManualResult, Outcome, Packed, Request, RunCode, State, Status, StepState,
        StepStatus,
    },
};

mod proof;
mod verify;

pub use proof::Proof;
pub use verify::{Invalid, MAX_SIZE, Verified, verify};

/// The form of certificates. It says what [`Statement`] looks like, byte by byte: see there.
pub const FORMAT: &str = "rightful-certificate/1";

/// A certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub format: String,
    pub statement: Statement,
    /// The one that ended the request; its `details.statement` is the [hash](Statement::hash) of the statement.
    pub event: Event,
    /// That the event is in the log, as C2SP tlog-proof has it.
    pub proof: String,
}

/// What became of a request. It holds only what cannot change after the end, and nobody's identity or words. It is made
/// anew from the request whenever a certificate is asked for, perhaps years later, and must have the hash that the event
/// has: nothing in it may ever be changed, and what is added must be left out where it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub request_id: Uuid,
    pub kind: Kind,
    pub status: Status,
    pub outcome: Outcome,
    pub plan: Plan,
    /// When the controller received it.
    pub submitted_at: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: String,
    /// In the order of execution.
    pub steps: Vec<Step>,
    /// Why it was denied.
    pub denial: Option<DenialReason>,
    /// Why it failed.
    pub error: Option<Trouble>,
    /// Of an export that found something.
    pub package: Option<Packed>,
    /// The erasure that it does again.
    pub replay_of: Option<Uuid>,
}

/// The version of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    pub version: String,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub action: String,
    pub status: StepStatus,
    /// Why rows stay, or are masked only.
    pub basis: Option<String>,
    /// Those that were written, without what was in them.
    pub columns: Vec<String>,
    pub rows: Rows,
    /// When the first of the rows that stay for a time is over.
    pub kept_until: Option<String>,
    pub by_hand: Option<ByHand>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

/// Counts of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    pub matched: Option<i64>,
    pub affected: i64,
    pub withheld: i64,
    /// By a fresh count; `None` where none was made.
    pub remaining: Option<i64>,
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    pub r#do: String,
    pub recipient: Option<String>,
    pub result: Option<ManualResult>,
}

/// Why a request failed; no detail, which is for who operates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub code: RunCode,
    pub cause: Option<RunCode>,
    pub step: Option<String>,
}

impl Statement {
    /// `None` before the end.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let error = match &request.state {
            State::Failed { error, .. } => {
                Some(Trouble { code: error.code, cause: error.cause, step: error.step.clone() })
            }
            _ => None,
        };
        Some(Self {
            request_id: request.id,
            kind: request.kind,
            status: request.status(),
            outcome: request.state.outcome()?,
            plan: Plan { name: request.plan.clone(), version: request.plan_version.clone() },
            submitted_at: timestamp(request.submitted_at),
            created_at: timestamp(request.created_at),
            started_at: request.started_at.map(timestamp),
            finished_at: timestamp(request.state.finished_at()?),
            steps: request.steps_in_order().map(Step::of).collect(),
            denial: request.answering.denial,
            error,
            package: request.answering.package.clone(),
            replay_of: request.answering.replay.as_ref().map(|replay| replay.of),
        })
    }

    /// Hex SHA-256 over its RFC 8785 JSON.
    ///
    /// # Panics
    /// Never: it has text keys and no floats.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let canonical = serde_json_canonicalizer::to_vec(self);
        let canonical = canonical.expect("JSON of text keys and whole numbers can be written");
        hex(digest(&SHA256, &canonical).as_ref())
    }
}

impl Step {
    fn of(step: &StepState) -> Self {
        Self {
            name: step.name.clone(),
            action: step.action.clone(),
            status: step.status,
            basis: step.basis.clone(),
            columns: step.columns.clone(),
            rows: Rows {
                matched: step.rows_matched,
                affected: step.rows_affected,
                withheld: step.rows_withheld,
                remaining: step.rows_remaining,
            },
            kept_until: step.kept.as_ref().and_then(|kept| kept.next).map(timestamp),
            by_hand: step.by_hand.as_ref().map(|by_hand| ByHand {
                r#do: by_hand.r#do.clone(),
                recipient: by_hand.recipient.clone(),
                result: by_hand.result,
            }),
            started_at: step.started_at.map(timestamp),
            finished_at: step.finished_at.map(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::request::{Kept, Replay, RunError};

    /// As full as one can be.
    fn request() -> Request {
        let at = DateTime::from_timestamp_secs(1_790_000_000).unwrap();
        let by_hand = crate::domain::request::ByHand {
            r#do: "Shred it".to_owned(),
            recipient: Some("Mailer Inc.".to_owned()),
            result: Some(ManualResult::Impossible),
        };
        let step = StepState {
            basis: Some("§ 147 AO \u{1f4c1}".to_owned()),
            rows_matched: Some(3),
            columns: vec!["email".to_owned()],
            by_hand: Some(by_hand),
            kept: Some(Kept { next: Some(at), ..Kept::default() }),
            ..StepState::sample()
        };
        let error = RunError {
            code: RunCode::AttemptsExhausted,
            detail: "not stated".to_owned(),
            connection: None,
            step: Some("shop.visits".to_owned()),
            cause: Some(RunCode::Internal),
        };
        let mut request = Request {
            submitted_at: at,
            created_at: at,
            state: State::Failed { finished_at: at, outcome: Outcome::Partial, error },
            steps: vec![step],
            ..Request::sample(Uuid::nil())
        };
        request.answering.denial = Some(DenialReason::Other);
        request.answering.package = Some(Packed { size: 7, sha256: "00".to_owned(), encrypted: true });
        request.answering.replay = Some(Replay { of: Uuid::nil(), run: Uuid::nil(), found: true });
        request
    }

    /// Certificates of requests that ended long ago depend on it: this hash never changes.
    #[test]
    fn the_form_of_a_statement_is_fixed() {
        let hash = Statement::of(&request()).unwrap().hash();
        assert_eq!(hash, "d49a71a7edcaeda079e7b89aa276a29fc7a21d3f682129eda5df9f5876c370c7");
    }

    #[test]
    fn what_may_change_after_the_end_is_not_stated() {
        let mut request = request();
        let stated = Statement::of(&request).unwrap();
        request.external_id = Some("ZD-1".to_owned());
        request.subject_ref = Some("ref".to_owned());
        request.hold = Some(Uuid::nil());
        request.head.seq = 90;
        request.answering.reminded_at = Some(request.created_at);
        request.answering.answered = Some(crate::domain::request::Answered {
            at: request.created_at,
            channel: crate::domain::request::Channel::Email,
        });
        assert_eq!(Statement::of(&request), Some(stated));
        request.state = State::Approved;
        assert_eq!(Statement::of(&request), None);
    }
}
