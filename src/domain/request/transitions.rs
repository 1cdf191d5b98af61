//! The transitions that a person causes: cancel and retry. Each changes the request and yields the events that
//! commit with it, or refuses.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{InvalidState, Kept, Outcome, Request, State, StepState, StepStatus};
use crate::domain::{
    audit::{EventName, NewEvent},
    compiled::{CompiledPlan, Step},
};

/// What a `cancel` came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelled {
    /// Nobody was at work: the request has ended, and its keys, locks and open slot are to be released.
    AtOnce(NewEvent),
    /// A worker is at it and ends the request between two batches, or the next one does, once it has booked what an
    /// attempt may have left unrecorded.
    Asked,
}

impl Request {
    /// Cancels, at once where no worker holds the request and no record of one can be missing.
    ///
    /// # Errors
    /// When the request has ended, or was taken up again after its end.
    pub fn cancel(
        &mut self,
        actor: &str,
        with_reason: WithReason,
        now: DateTime<Utc>,
    ) -> Result<Cancelled, InvalidState> {
        let lost = self.may_have_lost_a_record();
        if self.is_reopened() && !self.status().is_end() {
            let action = "cancelled: it was completed, and deletes what it kept; place a legal hold instead";
            return Err(InvalidState { status: self.status(), action });
        }
        match &mut self.state {
            // Also when the lease ran out: its worker may have crashed between a target commit and its record,
            // and the next claim books that before it ends the request.
            State::InProgress { cancelled_by, .. } if self.lease_until.is_some() => {
                cancelled_by.get_or_insert_with(|| actor.to_owned());
                Ok(Cancelled::Asked)
            }
            State::Approved | State::InProgress { .. } | State::Paused { .. } | State::OnHold if lost => {
                let cancelled_by = Some(self.cancelled_by().unwrap_or_else(|| actor.to_owned()));
                self.state = State::InProgress { error: self.state.error().cloned(), cancelled_by };
                self.run_at = now;
                Ok(Cancelled::Asked)
            }
            State::Pending
            | State::Approved
            | State::InProgress { .. }
            | State::Paused { .. }
            | State::OnHold => {
                let details = json!({ "reason_given": with_reason == WithReason::Given });
                let outcome = if self.touched { Outcome::Partial } else { Outcome::NothingDone };
                Ok(Cancelled::AtOnce(self.end_as_cancelled(outcome, actor, details, now)))
            }
            State::Completed { .. }
            | State::Failed { .. }
            | State::Denied { .. }
            | State::Cancelled { .. } => Err(InvalidState { status: self.status(), action: "cancelled" }),
        }
    }

    /// Nobody is waited for any more.
    pub(super) fn end_as_cancelled(
        &mut self,
        outcome: Outcome,
        by: &str,
        details: serde_json::Value,
        now: DateTime<Utc>,
    ) -> NewEvent {
        for step in self.steps.iter_mut().filter(|step| step.status == StepStatus::Waiting) {
            step.status = StepStatus::Pending;
        }
        self.end(State::Cancelled { finished_at: now, outcome }, by, details)
    }

    /// Gives a failed or paused request a new budget of attempts and makes it due now.
    ///
    /// # Errors
    /// In every other state.
    pub fn retry(
        &mut self,
        actor: &str,
        with_reason: WithReason,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, InvalidState> {
        let from = self.status();
        match self.state {
            State::Paused { .. } => {}
            State::Failed { .. } => {
                self.state = State::Approved;
                for step in self.steps.iter_mut().filter(|step| step.status == StepStatus::Failed) {
                    // What it did is there, and a commit of it may be there unbooked.
                    let begun = step.started_at.is_some();
                    step.status = if begun { StepStatus::InProgress } else { StepStatus::Pending };
                    step.finished_at = None;
                }
            }
            _ => return Err(InvalidState { status: from, action: "retried" }),
        }
        self.failures = 0;
        self.waits = 0;
        self.strikes = 0;
        self.run_at = now;
        let details = json!({ "from": from.as_str(), "reason_given": with_reason == WithReason::Given });
        Ok(self.event(EventName::RequestRetried, actor, details))
    }

    /// Has a request that has touched nothing look for its person anew: the row has changed. What was read of an export
    /// so far stays shown, since that never falls.
    pub fn void_resolution(&mut self, actor: &str) -> NewEvent {
        self.resolved = false;
        for step in self.steps.iter_mut().filter(|step| step.by_hand.is_none()) {
            *step = StepState {
                basis: step.basis.take(),
                kept: step.kept.take(),
                columns: std::mem::take(&mut step.columns),
                rows_affected: step.rows_affected,
                ..StepState::pending(&step.name, &step.action)
            };
        }
        self.event(EventName::SubjectChanged, actor, json!({}))
    }

    /// Replaces the plan of a request that has touched nothing. What was resolved under the old one is void.
    pub fn pin(&mut self, plan: &CompiledPlan, steps: &[Step]) {
        self.plan_version.clone_from(&plan.version);
        self.resolved = false;
        self.subject_ref = None;
        self.steps = StepState::of_plan(plan, self.kind, steps);
    }
}

/// Whether the actor gave a reason. The reason itself is free text, and no event holds free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithReason {
    Given,
    None,
}

impl StepState {
    /// The steps of the tables of a request that starts, in the order of execution.
    #[must_use]
    pub fn initial(steps: &[Step]) -> Vec<Self> {
        steps
            .iter()
            .map(|step| Self {
                basis: step.basis.clone(),
                kept: step.until().map(|_| Kept::default()),
                columns: step.action.written_columns(),
                ..Self::pending(&step.name, step.action.name())
            })
            .collect()
    }

    /// One that nobody has begun.
    #[must_use]
    pub fn pending(name: &str, action: &str) -> Self {
        Self {
            name: name.to_owned(),
            action: action.to_owned(),
            status: StepStatus::Pending,
            basis: None,
            rows_matched: None,
            rows_affected: 0,
            rows_remaining: None,
            rows_withheld: 0,
            batches: 0,
            columns: Vec::new(),
            started_at: None,
            finished_at: None,
            by_hand: None,
            kept: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        clock::Clock,
        request::{RunCode, RunError, Status},
    };

    fn request(state: State) -> Request {
        let now = Clock.now();
        Request {
            state,
            run_at: now + chrono::TimeDelta::seconds(300),
            attempt: 3,
            strikes: 1,
            failures: 8,
            waits: 2,
            ..Request::sample(Uuid::nil())
        }
    }

    fn error() -> RunError {
        RunError { code: RunCode::Internal, detail: String::new(), connection: None, step: None, cause: None }
    }

    fn every_state() -> [State; 9] {
        let (finished_at, outcome) = (Clock.now(), Outcome::NothingDone);
        [
            State::Pending,
            State::Approved,
            State::InProgress { error: None, cancelled_by: None },
            State::Paused { error: error() },
            State::OnHold,
            State::Completed { finished_at, outcome },
            State::Failed { finished_at, outcome, error: error() },
            State::Denied { finished_at, outcome },
            State::Cancelled { finished_at, outcome },
        ]
    }

    #[test]
    fn open_requests_can_be_cancelled_and_ended_ones_cannot() {
        for state in every_state() {
            let mut subject = request(state);
            let before = subject.clone();
            match subject.cancel("bob", WithReason::None, Clock.now()) {
                Ok(Cancelled::AtOnce(event)) => {
                    assert!(!before.status().is_end());
                    assert_eq!((subject.status(), event.actor.as_str()), (Status::Cancelled, "bob"));
                }
                Ok(Cancelled::Asked) => panic!("nobody is at work"),
                Err(refused) => {
                    assert!(before.status().is_end());
                    assert_eq!((refused.status, subject), (before.status(), before));
                }
            }
        }
    }

    #[test]
    fn a_worker_is_asked_and_the_first_who_asked_is_kept() {
        let mut subject = request(State::InProgress { error: None, cancelled_by: None });
        subject.lease_until = Some(Clock.now());
        for actor in ["bob", "carol"] {
            assert_eq!(subject.cancel(actor, WithReason::Given, Clock.now()), Ok(Cancelled::Asked));
        }
        assert_eq!(subject.cancelled_by().as_deref(), Some("bob"));
    }

    /// Its step is under way, so a commit may be there that nobody booked: the next worker looks first.
    #[test]
    fn what_may_be_missing_is_booked_before_a_cancellation() {
        let at_work = |state: &State| !state.status().is_end() && *state != State::Pending;
        for state in every_state().into_iter().filter(at_work) {
            for (touched, status, at_once) in [
                (true, StepStatus::InProgress, false),
                (false, StepStatus::InProgress, true),
                (true, StepStatus::Pending, true),
                (true, StepStatus::Completed, true),
            ] {
                let mut subject = request(state.clone());
                subject.touched = touched;
                subject.steps = vec![StepState { status, ..StepState::sample() }];
                let now = Clock.now();
                let cancelled = subject.cancel("bob", WithReason::None, now).unwrap();
                assert_eq!(cancelled != Cancelled::Asked, at_once, "{state:?} {touched} {status:?}");
                if !at_once {
                    assert_eq!((subject.cancelled_by().as_deref(), subject.run_at), (Some("bob"), now));
                    assert_eq!(subject.state.error(), state.error(), "what paused it stays to be read");
                }
            }
        }
    }

    #[test]
    fn what_was_touched_is_partial() {
        let mut subject = request(State::Paused { error: error() });
        subject.touched = true;
        subject.cancel("bob", WithReason::None, Clock.now()).unwrap();
        assert_eq!(subject.state.outcome(), Some(Outcome::Partial));
    }

    #[test]
    fn a_step_that_was_begun_stays_begun_when_it_is_retried() {
        let (finished_at, outcome) = (Clock.now(), Outcome::Partial);
        let failed = StepState { status: StepStatus::Failed, ..StepState::sample() };
        let mut subject = request(State::Failed { finished_at, outcome, error: error() });
        subject.touched = true;
        subject.steps =
            vec![StepState { started_at: Some(finished_at), batches: 3, ..failed.clone() }, failed];
        subject.retry("bob", WithReason::None, Clock.now()).unwrap();
        let statuses: Vec<_> = subject.steps.iter().map(|step| step.status).collect();
        assert_eq!(statuses, [StepStatus::InProgress, StepStatus::Pending]);
        assert!(subject.may_have_lost_a_record());
    }

    #[test]
    fn failed_and_paused_get_a_new_budget() {
        for state in every_state() {
            let mut subject = request(state);
            let from = subject.status();
            let now = Clock.now();
            let retried = subject.retry("bob", WithReason::None, now).is_ok();
            assert_eq!(retried, matches!(from, Status::Failed | Status::Paused), "{from:?}");
            if retried {
                assert_eq!((subject.failures, subject.waits, subject.strikes), (0, 0, 0));
                assert_eq!(subject.run_at, now);
                assert!(!subject.status().is_end());
            }
        }
    }
}
