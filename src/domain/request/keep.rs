//! The end of a `keep`: rows that had to stay (GDPR Art. 17(3)) are deleted when the duty to keep them is over, each by
//! its own time and under the request that found them. The request had been completed; it is taken up again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Kind, Request, State, StepState, StepStatus};
use crate::domain::audit::{EventName, NewEvent, timestamp};

/// What is known of rows that are kept for a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// When the first of them is over; `None`: no more of them will be, or nobody has looked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<DateTime<Utc>>,
    /// When the last of them is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
    /// Their ends are known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
    /// Those that are over are being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
    /// The request had been completed with these rows kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reopened: bool,
}

/// When the first and the last of some rows are over.
pub type Ends = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl Request {
    /// When the first of the rows that it keeps is over.
    #[must_use]
    pub fn keep_until(&self) -> Option<DateTime<Utc>> {
        self.steps.iter().filter_map(|step| step.kept.as_ref()?.next).min()
    }

    /// Rows are kept for a time, and nobody has looked yet when that is over.
    #[must_use]
    pub fn has_keeps_to_look_at(&self) -> bool {
        self.steps.iter().any(|step| step.kept.as_ref().is_some_and(|kept| !kept.measured))
    }

    /// It had been completed, and was taken up again because a keep was over.
    #[must_use]
    pub fn is_reopened(&self) -> bool {
        self.steps.iter().any(|step| step.kept.as_ref().is_some_and(|kept| kept.reopened))
    }

    /// Takes a completed erasure up again; `None` where nothing that it keeps is over by that time.
    pub fn reopen(&mut self, over: DateTime<Utc>, actor: &str, now: DateTime<Utc>) -> Option<NewEvent> {
        let is_over = self.keep_until().is_some_and(|until| until <= over);
        if self.kind != Kind::Erasure || !matches!(self.state, State::Completed { .. }) || !is_over {
            return None;
        }
        let is_due = |step: &&StepState| {
            step.kept.as_ref().and_then(|kept| kept.next).is_some_and(|until| until <= over)
        };
        let due: Vec<String> = self.steps.iter().filter(is_due).map(|step| step.name.clone()).collect();
        for kept in self.steps.iter_mut().filter_map(|step| step.kept.as_mut()) {
            kept.reopened = true;
        }
        self.state = State::InProgress { error: None, cancelled_by: None };
        // Whatever the last attempt but one has said: from here on nothing of it is void or asked for anew.
        self.touched = true;
        self.run_at = now;
        self.attempt = 0;
        self.failures = 0;
        self.waits = 0;
        self.strikes = 0;
        Some(self.event(EventName::KeepEnded, actor, json!({ "steps": due })))
    }

    /// Begins to delete what is over of a step's rows: so many are there, and so many of them stay.
    pub fn begin_end_of_keep(
        &mut self,
        position: usize,
        (there, staying): (i64, i64),
        before: DateTime<Utc>,
        actor: &str,
    ) -> Option<NewEvent> {
        self.touched = true;
        let step = self.steps.get_mut(position)?;
        let kept = step.kept.as_mut()?;
        if kept.ending {
            // It goes on, and what was booked counts; more may be over by now.
            step.rows_withheld = staying;
            return None;
        }
        kept.ending = true;
        step.action = DELETE.to_owned();
        step.status = StepStatus::InProgress;
        step.finished_at = None;
        step.rows_remaining = None;
        step.rows_withheld = staying;
        step.rows_matched = Some(step.rows_affected + there);
        let details = json!({ "keep_ended": true, "before": timestamp(before) });
        Some(self.step_event(position, EventName::StepStarted, actor, details))
    }

    /// Nothing that is over is left of a step's rows, which a fresh count has shown; so many of them stay.
    pub fn keep_looked_at(
        &mut self,
        position: usize,
        staying: i64,
        (next, last): Ends,
        actor: &str,
        now: DateTime<Utc>,
    ) -> Vec<NewEvent> {
        let Some(step) = self.steps.get_mut(position) else { return Vec::new() };
        let Some(kept) = step.kept.as_mut() else { return Vec::new() };
        let was_ending = std::mem::take(&mut kept.ending);
        (kept.next, kept.last, kept.measured) = (next, last, true);
        if !was_ending && staying == step.rows_withheld {
            return Vec::new();
        }
        step.verified(staying, now);
        if staying > 0 {
            step.status = StepStatus::Withheld;
            step.action = KEEP.to_owned();
        }
        let details = json!({ "keep_ended": true, "next": next.map(timestamp) });
        let event = if staying > 0 { EventName::StepWithheld } else { EventName::StepCompleted };
        vec![
            self.step_event(position, event, actor, details),
            self.step_event(position, EventName::StepVerified, actor, json!({ "keep_ended": true })),
        ]
    }
}

const KEEP: &str = "keep";
const DELETE: &str = "delete";

impl StepState {
    /// Rows of it whose keep is over are being deleted.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.ending)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{clock::Clock, request::Outcome};

    fn kept(next: Option<DateTime<Utc>>) -> StepState {
        let kept = Kept { next, last: next, measured: true, ..Kept::default() };
        StepState { kept: Some(kept), status: StepStatus::Withheld, ..StepState::sample() }
    }

    #[test]
    fn only_a_completed_erasure_is_taken_up_again_and_only_when_something_is_over() {
        let now = Clock.now();
        let (finished_at, outcome) = (now, Outcome::DoneWithExceptions);
        let later = now + TimeDelta::seconds(1);
        for (state, next, taken) in [
            (State::Completed { finished_at, outcome }, Some(now), true),
            (State::Completed { finished_at, outcome }, Some(later), false),
            (State::Completed { finished_at, outcome }, None, false),
            (State::InProgress { error: None, cancelled_by: None }, Some(now), false),
            (State::Denied { finished_at, outcome: Outcome::NothingDone }, Some(now), false),
        ] {
            let mut request = Request { state: state.clone(), ..Request::sample(Uuid::nil()) };
            request.steps = vec![kept(next), kept(Some(later))];
            let event = request.reopen(now, "system", now);
            assert_eq!(event.is_some(), taken, "{state:?} {next:?}");
            assert_eq!(request.is_reopened(), taken);
            assert_eq!(request.status().is_end(), !taken && state.status().is_end());
            if let Some(event) = event {
                assert_eq!(event.details["steps"].as_array().unwrap().len(), 1);
            }
        }
    }

    #[test]
    fn counts_add_up_while_a_keep_ends() {
        let now = Clock.now();
        let mut request = Request::sample(Uuid::nil());
        request.steps = vec![StepState { rows_affected: 0, ..kept(Some(now)) }];
        request.begin_end_of_keep(0, (10, 4), now, "worker").unwrap();
        let step = &request.steps[0];
        assert!(step.is_ending() && step.is_under_way() && step.is_verified());
        request.steps[0].book(6);
        // A crash: what was booked counts. Meanwhile one more is over.
        assert_eq!(request.begin_end_of_keep(0, (4, 3), now, "worker"), None);
        request.steps[0].book(1);
        let events = request.keep_looked_at(0, 3, (Some(now), Some(now)), "worker", now);
        let step = &request.steps[0];
        assert_eq!((events.len(), step.action.as_str(), step.status), (2, KEEP, StepStatus::Withheld));
        assert_eq!(
            (step.rows_matched, step.rows_affected, step.rows_withheld, step.rows_remaining),
            (Some(10), 7, 3, Some(0))
        );
        request.begin_end_of_keep(0, (3, 0), now, "worker").unwrap();
        request.steps[0].book(3);
        request.keep_looked_at(0, 0, (None, None), "worker", now);
        let step = &request.steps[0];
        assert_eq!(
            (step.action.as_str(), step.status, step.rows_affected),
            (DELETE, StepStatus::Completed, 10)
        );
        assert_eq!(request.keep_until(), None);
    }
}
