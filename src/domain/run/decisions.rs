//! What people decide about a run. An approver is never who asked for it; one that a schedule started may be approved by
//! anyone who may approve.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Run;
use crate::domain::{
    audit::{EventName, NewEvent},
    request::{Outcome, State, Status},
};

/// Why that is not possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotDecide {
    #[error("a run that is {} cannot be {action}", .status.as_str())]
    State { status: Status, action: &'static str },
    #[error("a run is decided by somebody else than who asked for it")]
    OwnRun,
}

impl Run {
    /// Lets a worker have it.
    ///
    /// # Errors
    /// Unless it waits for an approver, who is somebody else.
    pub fn approve(&mut self, actor: &str, now: DateTime<Utc>) -> Result<NewEvent, CannotDecide> {
        self.require_decision_by(actor, "approved")?;
        self.state = State::Approved;
        self.run_at = now;
        Ok(self.event(EventName::RunApproved, actor, json!({})))
    }

    /// Ends it before it began.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub fn deny(&mut self, actor: &str, now: DateTime<Utc>) -> Result<NewEvent, CannotDecide> {
        self.require_decision_by(actor, "denied")?;
        self.state = State::Denied { finished_at: now, outcome: Outcome::NothingDone };
        Ok(self.event(EventName::RunDenied, actor, json!({})))
    }

    fn require_decision_by(&self, actor: &str, action: &'static str) -> Result<(), CannotDecide> {
        if self.state != State::Pending {
            return Err(CannotDecide::State { status: self.status(), action });
        }
        if self.created_by == actor {
            return Err(CannotDecide::OwnRun);
        }
        Ok(())
    }

    /// Asks for its end: `None` while a worker is at it, which ends it between two batches.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cancel(&mut self, actor: &str, now: DateTime<Utc>) -> Result<Option<NewEvent>, CannotDecide> {
        if self.status().is_end() {
            return Err(CannotDecide::State { status: self.status(), action: "cancelled" });
        }
        match &mut self.state {
            // Also when the lease ran out: the next claim books what its worker may have left unrecorded.
            State::InProgress { cancelled_by, .. } => {
                cancelled_by.get_or_insert_with(|| actor.to_owned());
                if self.lease_until.is_none() {
                    self.run_at = now;
                }
                Ok(None)
            }
            _ => Ok(Some(self.cancelled(actor, now))),
        }
    }

    /// Gives a failed or paused run a new budget of attempts and makes it due now.
    ///
    /// # Errors
    /// In every other state.
    pub fn retry(&mut self, actor: &str, now: DateTime<Utc>) -> Result<NewEvent, CannotDecide> {
        if !matches!(self.state, State::Failed { .. } | State::Paused { .. }) {
            return Err(CannotDecide::State { status: self.status(), action: "retried" });
        }
        self.state = State::Approved;
        (self.failures, self.strikes, self.waits) = (0, 0, 0);
        self.run_at = now;
        Ok(self.event(EventName::RunRetried, actor, json!({})))
    }
}
