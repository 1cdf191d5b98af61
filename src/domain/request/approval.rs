//! The second pair of eyes: an approver, never the submitter, lets a request go or denies it (GDPR Art. 12(5), (6)).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{InvalidState, Outcome, Request, State, StepStatus, WithReason};
use crate::domain::audit::{EventName, NewEvent};

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    SuspectedFraud,
    IdentityNotVerified,
    NoMatch,
    NotCovered,
    Excessive,
    Other,
}

impl DenialReason {
    pub const ALL: [Self; 6] = [
        Self::SuspectedFraud,
        Self::IdentityNotVerified,
        Self::NoMatch,
        Self::NotCovered,
        Self::Excessive,
        Self::Other,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuspectedFraud => "suspected_fraud",
            Self::IdentityNotVerified => "identity_not_verified",
            Self::NoMatch => "no_match",
            Self::NotCovered => "not_covered",
            Self::Excessive => "excessive",
            Self::Other => "other",
        }
    }
}

/// Why somebody may not do what they asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    State(#[from] InvalidState),
    #[error("a request is decided by somebody else than who submitted it")]
    OwnRequest,
    #[error("the person's identity is not confirmed yet: record its check first, or deny the request")]
    IdentityNotConfirmed,
    #[error(
        "the month does not run before the person's identity is confirmed, so there is nothing to extend"
    )]
    Suspended,
    #[error("a worker is at it: extend it once it is paused or has ended")]
    AtWork,
    #[error("a request is extended once only, and this one is")]
    AlreadyExtended,
    #[error("the month is over: an extension has to be told before")]
    MonthIsOver,
    #[error("it erases again who was erased before and answered then: nobody waits for an answer")]
    NobodyWaits,
    #[error("the person has been answered already")]
    AlreadyAnswered,
    #[error("{0} lies in the future")]
    InFuture(&'static str),
    #[error("{0} lies before the request was received")]
    BeforeReceipt(&'static str),
    #[error("an identity is confirmed after it was asked for")]
    ConfirmedBeforeAsked,
    #[error("the request has no step of this name")]
    NoSuchStep,
    #[error("nobody is waited for at this step: it is {}", .0.as_str())]
    StepNotWaiting(StepStatus),
    #[error("a legal hold keeps the request: complete the step once that has ended")]
    StepHeld,
    #[error(
        "what was sealed with the request has been destroyed, because its time is over: submit a new one"
    )]
    IdentitiesDestroyed,
    #[error("a worker is at it: complete the step in a moment, once the worker has paused or done its part")]
    StepAtWork,
}

impl Request {
    /// Lets a worker have it. The caller has seen to it that the plan is the one that the approver was shown.
    ///
    /// # Errors
    /// Unless it is pending, its identity confirmed, and somebody else's.
    pub fn approve(
        &mut self,
        actor: &str,
        with_note: WithReason,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        self.require_decision_by(actor, "approved")?;
        if self.answering.is_suspended() {
            return Err(Refusal::IdentityNotConfirmed);
        }
        self.state = State::Approved;
        self.run_at = now;
        let details =
            json!({ "plan_version": self.plan_version, "note_given": with_note == WithReason::Given });
        Ok(self.event(EventName::RequestApproved, actor, details))
    }

    /// Ends it unserved.
    ///
    /// # Errors
    /// Unless it is pending and somebody else's.
    pub fn deny(
        &mut self,
        actor: &str,
        reason: DenialReason,
        with_text: WithReason,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        self.require_decision_by(actor, "denied")?;
        let outcome = if self.touched { Outcome::Partial } else { Outcome::NothingDone };
        self.answering.denial = Some(reason);
        let details = json!({ "reason": reason.as_str(), "text_given": with_text == WithReason::Given });
        Ok(self.end(State::Denied { finished_at: now, outcome }, actor, details))
    }

    fn require_decision_by(&self, actor: &str, action: &'static str) -> Result<(), Refusal> {
        if actor == self.created_by {
            return Err(Refusal::OwnRequest);
        }
        match self.state {
            State::Pending => Ok(()),
            _ => Err(InvalidState { status: self.status(), action }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        clock::Clock,
        request::{IdentityCheck, Status},
    };

    fn pending() -> Request {
        Request { state: State::Pending, ..Request::sample(Uuid::nil()) }
    }

    #[test]
    fn nobody_decides_on_their_own_request() {
        let now = Clock.now();
        let mut own = pending();
        let before = own.clone();
        assert_eq!(own.approve("alice", WithReason::None, now), Err(Refusal::OwnRequest));
        let denied = own.deny("alice", DenialReason::Other, WithReason::None, now);
        assert_eq!((denied, own), (Err(Refusal::OwnRequest), before));
    }

    #[test]
    fn only_a_pending_request_is_decided_on_and_only_once() {
        let now = Clock.now();
        let mut approved = pending();
        let event = approved.approve("arno", WithReason::Given, now).unwrap();
        assert_eq!((approved.status(), event.event), (Status::Approved, EventName::RequestApproved));
        let again = approved.deny("anna", DenialReason::Other, WithReason::None, now);
        assert!(matches!(again, Err(Refusal::State(state)) if state.status == Status::Approved));

        let mut denied = pending();
        let event = denied.deny("arno", DenialReason::Excessive, WithReason::None, now).unwrap();
        assert_eq!((event.event, &event.details["reason"]), (EventName::RequestDenied, &json!("excessive")));
        assert_eq!(denied.state, State::Denied { finished_at: now, outcome: Outcome::NothingDone });
        assert!(denied.approve("anna", WithReason::None, now).is_err());
    }

    #[test]
    fn who_is_not_known_to_be_the_person_is_not_served() {
        let now = Clock.now();
        let mut request = pending();
        request.answering.identity_check =
            Some(IdentityCheck { method: "callback".to_owned(), requested_at: now, confirmed_at: None });
        assert_eq!(request.approve("arno", WithReason::None, now), Err(Refusal::IdentityNotConfirmed));
        assert!(request.deny("arno", DenialReason::IdentityNotVerified, WithReason::None, now).is_ok());
    }
}
