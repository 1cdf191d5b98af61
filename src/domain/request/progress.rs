//! The transitions that a worker makes while it holds the lease. Each yields the event that must commit with it.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{Disposition, Kind, Outcome, Request, RunCode, RunError, State, StepState, StepStatus};
use crate::domain::audit::{EventName, NewEvent};

impl Request {
    /// An event about one step, with its counts as they stand.
    #[must_use]
    pub fn step_event(
        &self,
        position: usize,
        event: EventName,
        actor: &str,
        details: serde_json::Value,
    ) -> NewEvent {
        let step = self.steps.get(position);
        NewEvent {
            step: step.map(|step| step.name.clone()),
            action: step.map(|step| step.action.clone()),
            rows: step.map(StepState::counts),
            ..self.event(event, actor, details)
        }
    }

    /// Something durable happened: a claim that ends in a crash from here on counts anew.
    pub fn progressed(&mut self) {
        self.strikes = 0;
        self.waits = 0;
    }

    /// Ends the attempt as its error asks: *wait* pauses and gives the attempt back, *retry* waits for the next
    /// one until `max_attempts` failures, *fail* is the end. `run_at` is when to come back.
    pub fn troubled(
        &mut self,
        error: RunError,
        actor: &str,
        now: DateTime<Utc>,
        run_at: DateTime<Utc>,
        max_attempts: i32,
    ) -> Vec<NewEvent> {
        self.lease_until = None;
        self.strikes = 0;
        match error.code.disposition() {
            Disposition::Wait => vec![self.pause(error, actor, run_at)],
            Disposition::Retry => self.try_again(error, actor, now, run_at, max_attempts),
            Disposition::Fail => {
                self.step_failed(&error, now);
                vec![self.fail(error, actor, now)]
            }
        }
    }

    fn pause(&mut self, error: RunError, actor: &str, run_at: DateTime<Utc>) -> NewEvent {
        self.attempt = (self.attempt - 1).max(0);
        self.waits += 1;
        self.run_at = run_at;
        let details = json!({
            "code": error.code.as_str(), "connection": error.connection, "step": error.step,
            "next_attempt_at": crate::domain::audit::timestamp(run_at),
        });
        self.state = State::Paused { error };
        self.event(EventName::RequestPaused, actor, details)
    }

    fn try_again(
        &mut self,
        error: RunError,
        actor: &str,
        now: DateTime<Utc>,
        run_at: DateTime<Utc>,
        max_attempts: i32,
    ) -> Vec<NewEvent> {
        self.failures += 1;
        let details = json!({ "code": error.code.as_str(), "failures": self.failures });
        let position = self.steps.iter().position(|step| Some(&step.name) == error.step.as_ref());
        let mut events: Vec<NewEvent> = position
            .map(|position| self.step_event(position, EventName::StepFailed, actor, details))
            .into_iter()
            .collect();
        if self.failures < max_attempts {
            self.run_at = run_at;
            self.state = State::InProgress { error: Some(error), cancelled_by: self.cancelled_by() };
            return events;
        }
        self.step_failed(&error, now);
        let cause = Some(error.code);
        events.push(self.fail(RunError { code: RunCode::AttemptsExhausted, cause, ..error }, actor, now));
        events
    }

    fn step_failed(&mut self, error: &RunError, now: DateTime<Utc>) {
        if let Some(step) = self.steps.iter_mut().find(|step| Some(&step.name) == error.step.as_ref()) {
            step.status = StepStatus::Failed;
            step.finished_at = Some(now);
        }
    }

    /// The end that needs a person: nothing goes on by itself from here.
    pub fn fail(&mut self, error: RunError, actor: &str, now: DateTime<Utc>) -> NewEvent {
        let outcome = self.interrupted_outcome();
        let details = json!({
            "code": error.code.as_str(), "cause": error.cause.map(RunCode::as_str), "step": error.step,
        });
        self.end(State::Failed { finished_at: now, outcome, error }, actor, details)
    }

    /// Ends one that takes its workers down with it.
    pub fn give_up(&mut self, actor: &str, now: DateTime<Utc>) -> NewEvent {
        let strikes = self.strikes;
        let error = RunError {
            code: RunCode::AttemptsExhausted,
            detail: format!("its worker ended {strikes} times in a row without any progress on it"),
            connection: None,
            step: None,
            cause: Some(RunCode::Internal),
        };
        let details = json!({ "code": error.code, "cause": error.cause, "strikes": strikes });
        let outcome = if self.touched { Outcome::Partial } else { Outcome::NothingDone };
        self.end(State::Failed { finished_at: now, outcome, error }, actor, details)
    }

    /// Stops here until a legal hold ends; the attempt is given back.
    pub fn held(&mut self, hold: Uuid, actor: &str) -> NewEvent {
        if self.lease_until.take().is_some() {
            self.attempt = (self.attempt - 1).max(0);
        }
        self.strikes = 0;
        self.hold = Some(hold);
        self.state = State::OnHold;
        self.event(EventName::RequestHeld, actor, json!({ "hold_id": hold }))
    }

    /// Goes on after its hold has ended; `None` when no hold keeps it.
    pub fn released(&mut self, actor: &str, now: DateTime<Utc>) -> Option<NewEvent> {
        let hold = self.hold.take()?;
        if self.state != State::OnHold {
            return None;
        }
        self.state = match self.resolved {
            true => State::InProgress { error: None, cancelled_by: None },
            false => State::Approved,
        };
        self.run_at = now;
        Some(self.event(EventName::RequestReleased, actor, json!({ "hold_id": hold })))
    }

    /// Gives the claim back without using an attempt: another request of this person runs, or the worker stops.
    pub fn given_back(&mut self, run_at: DateTime<Utc>) {
        self.attempt = (self.attempt - 1).max(0);
        self.strikes = 0;
        self.lease_until = None;
        self.run_at = run_at;
        self.state = match &self.state {
            State::InProgress { cancelled_by: None, .. } if !self.resolved => State::Approved,
            other => other.clone(),
        };
    }

    /// The end that a person asked for, reached between two batches.
    pub fn cancelled(&mut self, by: &str, now: DateTime<Utc>) -> NewEvent {
        let outcome = self.interrupted_outcome();
        self.end_as_cancelled(outcome, by, json!({}), now)
    }

    /// Every step is verified: the one way to `completed`. `found` says whether the person's row was there.
    pub fn complete(&mut self, found: bool, actor: &str, now: DateTime<Utc>) -> NewEvent {
        let matched: i64 = self.steps.iter().filter_map(|step| step.rows_matched).sum();
        let withheld: i64 = self.steps.iter().map(|step| step.rows_withheld).sum();
        // What people did is something that was done, whether a table knew the person or not.
        let by_hand = self.steps.iter().any(|step| step.by_hand.is_some());
        let not_possible = self.steps.iter().any(|step| step.status == StepStatus::Withheld);
        let outcome = if matched == 0 && !found && !by_hand {
            Outcome::NoMatch
        } else if withheld > 0 || not_possible {
            Outcome::DoneWithExceptions
        } else {
            Outcome::Done
        };
        let affected: i64 = self.steps.iter().map(|step| step.rows_affected).sum();
        NewEvent {
            rows: Some(
                json!({ "matched": matched, "affected": affected, "withheld": withheld, "remaining": 0 }),
            ),
            ..self.end(State::Completed { finished_at: now, outcome }, actor, json!({}))
        }
    }

    /// A batch may have been committed that nobody booked: the process died in between, or the reply was lost. Not
    /// only by the last attempt, since one may end before it gets to booking what the one before it left.
    #[must_use]
    pub fn may_have_lost_a_record(&self) -> bool {
        self.touched && self.steps.iter().any(StepState::is_under_way)
    }

    /// Who asked for the cancellation that the worker has yet to carry out.
    #[must_use]
    pub fn cancelled_by(&self) -> Option<String> {
        match &self.state {
            State::InProgress { cancelled_by, .. } => cancelled_by.clone(),
            _ => None,
        }
    }

    /// Somebody asked for the cancellation while a worker held the request.
    pub fn asked_to_cancel(&mut self, by: Option<String>) {
        if let State::InProgress { cancelled_by, .. } = &mut self.state {
            *cancelled_by = by;
        }
    }

    /// The outcome of an end before completion.
    #[must_use]
    pub fn interrupted_outcome(&self) -> Outcome {
        // Nothing of an export that was not finished is handed out.
        let affected = self.kind != Kind::Export && self.steps.iter().any(|step| step.rows_affected > 0);
        if self.touched || affected { Outcome::Partial } else { Outcome::NothingDone }
    }
}

impl StepState {
    /// The counts as an audit event holds them.
    #[must_use]
    pub fn counts(&self) -> serde_json::Value {
        json!({
            "matched": self.rows_matched, "affected": self.rows_affected,
            "withheld": self.rows_withheld, "remaining": self.rows_remaining,
        })
    }

    /// More of it was found after it was proved to be done: it begins once more, which the log shows.
    pub fn reopened(&mut self) {
        self.status = StepStatus::Pending;
        self.rows_remaining = None;
        self.finished_at = None;
    }

    /// Begun, and not yet proved to be done.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.status == StepStatus::InProgress && (self.is_ending() || !self.is_verified())
    }

    /// Proved to be done. While the keep of its rows ends that is so still: see [`Request::begin_end_of_keep`].
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.rows_remaining == Some(0) || self.status == StepStatus::Withheld || self.is_ending()
    }

    /// Books a batch. Rows that appeared after the first count raise `rows_matched` with them, so that matched =
    /// affected + withheld + remaining holds at the end and the percentage never falls.
    pub fn book(&mut self, affected: u64) {
        self.rows_affected += i64::try_from(affected).unwrap_or(i64::MAX);
        self.batches += 1;
        self.raise_matched();
    }

    /// Fresh counts: nothing is left to do, `withheld` rows stay.
    pub fn verified(&mut self, withheld: i64, now: DateTime<Utc>) {
        self.rows_withheld = withheld;
        self.rows_remaining = Some(0);
        self.status = StepStatus::Completed;
        self.finished_at = Some(now);
        self.raise_matched();
    }

    fn raise_matched(&mut self) {
        let seen = self.rows_affected + self.rows_withheld;
        self.rows_matched = Some(self.rows_matched.unwrap_or(0).max(seen));
    }
}
