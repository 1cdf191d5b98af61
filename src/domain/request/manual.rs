//! Steps that people carry out: they wait while the worker does its part, and the request for them. What a person says of
//! a step is recorded here; the words to it lie sealed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    InvalidState, Kind, Refusal, Request, State, StepState, StepStatus, WithReason, answering::NEVER,
};
use crate::domain::{
    audit::{EventName, NewEvent},
    compiled::{CompiledPlan, Step},
};

/// The action of a step that people carry out.
pub const MANUAL: &str = "manual";
/// The action of a step that the embedding program carries out.
pub const CODE: &str = "code";

/// What became of a manual step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManualResult {
    Done,
    /// It cannot be done (GDPR Art. 19).
    Impossible,
    /// It would take an effort out of all proportion (Art. 19).
    Disproportionate,
}

impl ManualResult {
    pub const ALL: [Self; 3] = [Self::Done, Self::Impossible, Self::Disproportionate];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Impossible => "impossible",
            Self::Disproportionate => "disproportionate",
        }
    }
}

/// What a manual step has that others have not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// For who does it.
    pub r#do: String,
    /// Who is to be told (GDPR Art. 17(2), 19).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// `None` until somebody has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ManualResult>,
}

impl Request {
    /// The worker has done its part, and somebody has yet to do theirs.
    #[must_use]
    pub fn has_manual_steps_alone_left(&self) -> bool {
        let waits = |step: &StepState| step.status == StepStatus::Waiting;
        self.steps.iter().any(waits) && self.steps.iter().all(|step| waits(step) || step.is_verified())
    }

    /// No worker holds it, and none is to take it before the last manual step is completed.
    #[must_use]
    pub fn is_left_to_people(&self) -> bool {
        matches!(self.state, State::InProgress { cancelled_by: None, .. })
            && self.lease_until.is_none()
            && self.has_manual_steps_alone_left()
    }

    /// The time from which a worker may claim it. It follows from the steps, so that nothing but a completed step, a
    /// cancellation or a hold can change it while people are waited for.
    #[must_use]
    pub fn claimable_from(&self) -> DateTime<Utc> {
        if self.is_left_to_people() { NEVER } else { self.run_at }
    }

    /// The person is known: from now on somebody may do their part.
    pub fn await_people(&mut self, actor: &str, now: DateTime<Utc>) -> Vec<NewEvent> {
        let mut begun = Vec::new();
        for (position, step) in self.steps.iter_mut().enumerate() {
            if step.by_hand.is_some() && step.status == StepStatus::Pending {
                step.status = StepStatus::Waiting;
                step.started_at = Some(now);
                step.rows_matched = Some(0);
                begun.push(position);
            }
        }
        let told =
            |position| self.step_event(position, EventName::StepStarted, actor, json!({ "manual": true }));
        begun.into_iter().map(told).collect()
    }

    /// The worker lets go of it: only people are waited for.
    pub fn leave_to_people(&mut self) {
        self.progressed();
        self.lease_until = None;
        self.state = State::InProgress { error: None, cancelled_by: None };
    }

    /// Records what became of a manual step; after the last one the request is due.
    ///
    /// # Errors
    /// For a step that there is not or that does not wait, and while a worker or a hold has the request.
    pub fn complete_step(
        &mut self,
        name: &str,
        result: ManualResult,
        actor: &str,
        with_note: WithReason,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        let known = self.steps.iter().position(|step| step.name == name);
        let position = known.ok_or(Refusal::NoSuchStep)?;
        if self.status().is_end() {
            return Err(InvalidState { status: self.status(), action: "worked on by hand" }.into());
        }
        if let Some(step) = self.steps.get(position).filter(|step| step.status != StepStatus::Waiting) {
            return Err(Refusal::StepNotWaiting(step.status));
        }
        if self.hold.is_some() {
            return Err(Refusal::StepHeld);
        }
        // The worker owns the row and the chain of its events.
        if self.lease_until.is_some() {
            return Err(Refusal::StepAtWork);
        }
        if let Some(step) = self.steps.get_mut(position) {
            step.settled_by_hand(result, now);
        }
        // A cancellation from here on leaves something done behind.
        self.touched |= result == ManualResult::Done;
        if self.steps.iter().all(StepState::is_verified) {
            self.run_at = now;
        }
        let event = match result {
            ManualResult::Done => EventName::StepCompleted,
            ManualResult::Impossible | ManualResult::Disproportionate => EventName::StepWithheld,
        };
        let details = json!({
            "manual": true, "result": result.as_str(), "note_given": with_note == WithReason::Given,
        });
        Ok(self.step_event(position, event, actor, details))
    }

    /// The steps in the order in which they are carried out. In the row those in code stand behind those of the tables,
    /// whose places are those of the compiled plan.
    pub fn steps_in_order(&self) -> impl Iterator<Item = &StepState> {
        let (code, others): (Vec<_>, Vec<_>) = self.steps.iter().partition(|step| step.action == CODE);
        code.into_iter().chain(others)
    }
}

impl StepState {
    /// All steps of a request that starts: those of the tables, in code, and by hand.
    #[must_use]
    pub fn of_plan(plan: &CompiledPlan, kind: Kind, tables: &[Step]) -> Vec<Self> {
        let mut steps = Self::initial(tables);
        steps.extend(plan.code(kind).iter().map(|step| Self::pending(&step.name, CODE)));
        steps.extend(plan.manual(kind).map(|step| Self {
            basis: step.basis.clone(),
            by_hand: Some(ByHand {
                r#do: step.r#do.clone(),
                recipient: step.recipient.clone(),
                result: None,
            }),
            ..Self::pending(&step.name, MANUAL)
        }));
        steps
    }

    /// Somebody has said what became of it.
    #[must_use]
    pub fn result(&self) -> Option<ManualResult> {
        self.by_hand.as_ref()?.result
    }

    /// It has no rows: what counts is that somebody stands for it.
    fn settled_by_hand(&mut self, result: ManualResult, now: DateTime<Utc>) {
        self.verified(0, now);
        if result != ManualResult::Done {
            self.status = StepStatus::Withheld;
        }
        if let Some(by_hand) = &mut self.by_hand {
            by_hand.result = Some(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        clock::Clock,
        request::{Outcome, Status},
    };

    fn by_hand(name: &str) -> StepState {
        let by_hand = ByHand { r#do: "Shred it".to_owned(), recipient: None, result: None };
        StepState { by_hand: Some(by_hand), ..StepState::pending(name, MANUAL) }
    }

    /// A table that is done, and two steps that wait.
    fn waiting() -> Request {
        let now = Clock.now();
        let mut request = Request {
            state: State::InProgress { error: None, cancelled_by: None },
            resolved: true,
            steps: vec![StepState::sample(), by_hand("paper"), by_hand("mailer")],
            ..Request::sample(Uuid::nil())
        };
        assert_eq!(request.await_people("worker:test", now).len(), 2);
        request.steps[0].verified(0, now);
        request
    }

    fn complete(request: &mut Request, name: &str, result: ManualResult) -> Result<NewEvent, Refusal> {
        request.complete_step(name, result, "alice", WithReason::None, Clock.now())
    }

    #[test]
    fn no_worker_takes_it_before_the_last_step_is_completed() {
        let mut request = waiting();
        assert_eq!(request.claimable_from(), NEVER);
        complete(&mut request, "paper", ManualResult::Done).unwrap();
        assert_eq!((request.claimable_from(), request.status()), (NEVER, Status::InProgress));
        let now = Clock.now();
        let last =
            request.complete_step("mailer", ManualResult::Impossible, "bob", WithReason::Given, now).unwrap();
        assert_eq!(request.claimable_from(), now);
        assert_eq!((last.event, last.actor.as_str()), (EventName::StepWithheld, "bob"));
        assert_eq!(last.step.as_deref(), Some("mailer"));
        assert_eq!(last.details, json!({ "manual": true, "result": "impossible", "note_given": true }));
        let statuses: Vec<_> = request.steps.iter().map(|step| step.status).collect();
        assert_eq!(statuses, [StepStatus::Completed, StepStatus::Completed, StepStatus::Withheld]);
    }

    /// Else nobody would come back after a crash between the last count and letting go.
    #[test]
    fn a_request_that_a_worker_holds_stays_claimable_for_the_next_one() {
        let mut request = waiting();
        request.lease_until = Some(Clock.now());
        assert_eq!(request.claimable_from(), request.run_at);
        request.leave_to_people();
        assert_eq!((request.claimable_from(), request.lease_until), (NEVER, None));
        request.asked_to_cancel(Some("bob".to_owned()));
        assert_eq!(request.claimable_from(), request.run_at, "a cancellation is to be carried out");
    }

    #[test]
    fn a_step_is_completed_once_and_by_nobody_else_meanwhile() {
        let mut request = waiting();
        assert_eq!(complete(&mut request, "nobody", ManualResult::Done), Err(Refusal::NoSuchStep));
        let table = complete(&mut request, "shop.visits", ManualResult::Done);
        assert_eq!(table, Err(Refusal::StepNotWaiting(StepStatus::Completed)));
        request.hold = Some(Uuid::nil());
        assert_eq!(complete(&mut request, "paper", ManualResult::Done), Err(Refusal::StepHeld));
        request.hold = None;
        request.lease_until = Some(Clock.now());
        assert_eq!(complete(&mut request, "paper", ManualResult::Done), Err(Refusal::StepAtWork));
        request.lease_until = None;
        complete(&mut request, "paper", ManualResult::Done).unwrap();
        let again = complete(&mut request, "paper", ManualResult::Impossible);
        assert_eq!(again, Err(Refusal::StepNotWaiting(StepStatus::Completed)));
        request.cancel("bob", WithReason::None, Clock.now()).unwrap();
        assert!(matches!(complete(&mut request, "mailer", ManualResult::Done), Err(Refusal::State(_))));
    }

    #[test]
    fn only_what_was_done_by_hand_makes_a_cancelled_request_partial() {
        for (result, outcome) in [
            (ManualResult::Done, Outcome::Partial),
            (ManualResult::Impossible, Outcome::NothingDone),
            (ManualResult::Disproportionate, Outcome::NothingDone),
        ] {
            let mut request = waiting();
            complete(&mut request, "paper", result).unwrap();
            request.cancel("bob", WithReason::None, Clock.now()).unwrap();
            assert_eq!(request.state.outcome(), Some(outcome), "{result:?}");
        }
    }

    #[test]
    fn what_people_did_counts_although_no_table_knew_the_person() {
        for (results, outcome) in [
            ([ManualResult::Done, ManualResult::Done], Outcome::Done),
            ([ManualResult::Done, ManualResult::Disproportionate], Outcome::DoneWithExceptions),
        ] {
            let mut request = waiting();
            for (name, result) in ["paper", "mailer"].into_iter().zip(results) {
                complete(&mut request, name, result).unwrap();
            }
            request.complete(false, "worker:test", Clock.now());
            assert_eq!(request.state.outcome(), Some(outcome));
        }
    }
}
