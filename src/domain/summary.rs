//! What an auditor asks first: how many requests there were, month by month, whether people were answered in time (GDPR
//! Art. 12(3)), and how much was erased.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::request::{Kind, Request};

/// A hundredth of a day, in microseconds.
const HUNDREDTH: i64 = 864_000_000;

/// What a line counts together: the month of `submitted_at` (UTC, `2026-11`), the kind and the status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub month: String,
    pub kind: &'static str,
    pub status: &'static str,
}

/// Some requests, counted. Every one is exactly one of `on_time`, `late`, `not_due` and `replays`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub requests: u64,
    /// Answered before the month was over, or before it had begun.
    pub on_time: u64,
    /// Answered after it was over; or it is over, and no answer was recorded.
    pub late: u64,
    /// Not answered, and the month is not over, or stands still while an identity has to be confirmed.
    pub not_due: u64,
    /// Erased again after a restore: no month runs for them, and nobody is to be answered.
    pub replays: u64,
    /// No answer was recorded: those that are not due, and of the late ones those that still wait.
    pub unanswered: u64,
    /// Affected rows of erasures, whatever was done with them.
    pub rows_erased: i64,
    /// Of these, deleted.
    pub rows_deleted: i64,
    /// Of these, masked.
    pub rows_masked: i64,
    /// Requests whose days are known, and their sum in microseconds.
    pub days: (i64, i64),
}

/// Tallies by group, and of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// When it is counted: what is late is late then.
    pub at: DateTime<Utc>,
    pub lines: BTreeMap<Group, Tally>,
    pub total: Tally,
}

impl Summary {
    #[must_use]
    pub fn new(at: DateTime<Utc>) -> Self {
        Self { at, lines: BTreeMap::new(), total: Tally::default() }
    }

    /// Counts one more request.
    pub fn add(&mut self, request: &Request) {
        let group = Group {
            month: request.submitted_at.format("%Y-%m").to_string(),
            kind: request.kind.as_str(),
            status: request.status().as_str(),
        };
        self.lines.entry(group).or_default().add(request, self.at);
        self.total.add(request, self.at);
    }
}

impl Tally {
    fn add(&mut self, request: &Request, now: DateTime<Utc>) {
        self.requests += 1;
        self.add_answer(request, now);
        if let Some(microseconds) = taken(request) {
            self.days.0 += 1;
            self.days.1 = self.days.1.saturating_add(microseconds);
        }
        if request.kind == Kind::Erasure {
            for step in &request.steps {
                self.rows_erased += step.rows_affected;
                match step.action.as_str() {
                    // A `keep` of which rows are gone: those whose time was over.
                    "delete" | "delete_if_unreferenced" | "keep" => self.rows_deleted += step.rows_affected,
                    "mask" => self.rows_masked += step.rows_affected,
                    _ => {}
                }
            }
        }
    }

    fn add_answer(&mut self, request: &Request, now: DateTime<Utc>) {
        if request.answering.replay.is_some() {
            self.replays += 1;
            return;
        }
        let is_late = match &request.answering.answered {
            Some(answered) => request.due_at().is_some_and(|due| due < answered.at),
            None => request.is_overdue(now),
        };
        let is_answered = request.answering.answered.is_some();
        self.late += u64::from(is_late);
        self.on_time += u64::from(is_answered && !is_late);
        self.not_due += u64::from(!is_answered && !is_late);
        self.unanswered += u64::from(!is_answered);
    }

    /// Mean days from the beginning of the month to the answer, or to the end where no answer was recorded, to two
    /// decimals. `None` where that is known of no request.
    #[must_use]
    pub fn mean_days(&self) -> Option<f64> {
        let (requests, microseconds) = self.days;
        let each = microseconds.checked_div(requests)?;
        let hundredths = i32::try_from((each + HUNDREDTH / 2) / HUNDREDTH).ok()?;
        Some(f64::from(hundredths) / 100.0)
    }
}

/// Microseconds from the beginning of the month to the answer or the end. The end of a request that was taken up again
/// because a `keep` was over is none that the person waited for.
fn taken(request: &Request) -> Option<i64> {
    let begun = request.answering.begins_at(request.submitted_at)?;
    let ended = match &request.answering.answered {
        Some(answered) => answered.at,
        None if request.is_reopened() => return None,
        None => request.state.finished_at()?,
    };
    Some((ended - begun).num_microseconds()?.max(0))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::request::{
        Answered, Channel, Extension, IdentityCheck, Kept, Outcome, Replay, State, StepState,
    };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    const RECEIVED: &str = "2026-03-10T12:00:00Z";

    fn received() -> Request {
        Request { submitted_at: at(RECEIVED), ..Request::sample(Uuid::nil()) }
    }

    fn ended(days: i64, answered: Option<i64>) -> Request {
        let mut request = received();
        let after = |days| at(RECEIVED) + TimeDelta::days(days);
        request.state = State::Completed { finished_at: after(days), outcome: Outcome::Done };
        request.answering.answered =
            answered.map(|days| Answered { at: after(days), channel: Channel::Letter });
        request
    }

    fn tally(request: &Request, now: &str) -> Tally {
        let mut summary = Summary::new(at(now));
        summary.add(request);
        assert_eq!(summary.lines.values().copied().collect::<Vec<_>>(), [summary.total]);
        let total = summary.total;
        assert_eq!(total.on_time + total.late + total.not_due + total.replays, total.requests);
        total
    }

    fn counts(tally: Tally) -> (u64, u64, u64, u64) {
        (tally.on_time, tally.late, tally.not_due, tally.unanswered)
    }

    #[test]
    fn late_is_judged_as_overdue_is() {
        let (before, after) = ("2026-04-10T12:00:00Z", "2026-04-10T12:00:01Z");
        assert_eq!(counts(tally(&received(), before)), (0, 0, 1, 1));
        assert_eq!(counts(tally(&received(), after)), (0, 1, 0, 1), "nobody has answered");
        assert_eq!(counts(tally(&ended(3, None), after)), (0, 1, 0, 1), "an end is no answer");
        assert_eq!(counts(tally(&ended(3, Some(31)), after)), (1, 0, 0, 0));
        assert_eq!(counts(tally(&ended(3, Some(32)), "2026-04-20T12:00:00Z")), (0, 1, 0, 0));
        let mut extended = ended(3, Some(32));
        extended.answering.extension = Some(Extension { months: 1, subject_informed_at: None });
        assert_eq!(counts(tally(&extended, "2026-04-20T12:00:00Z")), (1, 0, 0, 0));
    }

    #[test]
    fn the_month_and_the_days_count_from_a_confirmed_identity() {
        let check = |confirmed_at: Option<&str>| IdentityCheck {
            method: "callback".to_owned(),
            requested_at: at(RECEIVED),
            confirmed_at: confirmed_at.map(at),
        };
        let mut request = ended(42, Some(42));
        request.answering.identity_check = Some(check(Some("2026-04-10T12:00:00Z")));
        let counted = tally(&request, "2026-09-01T00:00:00Z");
        assert_eq!((counts(counted), counted.mean_days()), ((1, 0, 0, 0), Some(11.0)));
        request.answering.identity_check = Some(check(None));
        let counted = tally(&request, "2026-09-01T00:00:00Z");
        assert_eq!((counts(counted), counted.mean_days()), ((1, 0, 0, 0), None), "it never began");
        request.answering.answered = None;
        assert_eq!(counts(tally(&request, "2026-09-01T00:00:00Z")), (0, 0, 1, 1));
    }

    #[test]
    fn days_are_those_until_the_answer_or_else_the_end() {
        let now = "2026-09-01T00:00:00Z";
        assert_eq!(tally(&received(), now).mean_days(), None);
        assert_eq!(tally(&ended(3, None), now).mean_days(), Some(3.0));
        assert_eq!(tally(&ended(3, Some(5)), now).mean_days(), Some(5.0));
        let mut summary = Summary::new(at(now));
        for days in [1, 2, 2] {
            summary.add(&ended(days, None));
        }
        assert_eq!(summary.total.mean_days(), Some(1.67));
        let kept = Kept { reopened: true, ..Kept::default() };
        let mut again = ended(3_000, None);
        again.steps = vec![StepState { kept: Some(kept), ..StepState::sample() }];
        assert_eq!(tally(&again, now).mean_days(), None);
        again.answering.answered = Some(Answered { at: at("2026-03-14T12:00:00Z"), channel: Channel::Email });
        assert_eq!(tally(&again, now).mean_days(), Some(4.0));
    }

    #[test]
    fn replays_are_counted_apart_and_only_erasures_erase() {
        let mut request = ended(3, None);
        let step = |action: &str, rows| StepState {
            action: action.to_owned(),
            rows_affected: rows,
            ..StepState::sample()
        };
        request.steps = vec![step("delete", 1), step("mask", 20), step("unlink", 300), step("keep", 4_000)];
        let rows = |tally: Tally| (tally.rows_erased, tally.rows_deleted, tally.rows_masked);
        assert_eq!(rows(tally(&request, RECEIVED)), (4_321, 4_001, 20));
        request.answering.replay = Some(Replay { of: Uuid::nil(), run: Uuid::nil(), found: true });
        let counted = tally(&request, "2026-09-01T00:00:00Z");
        assert_eq!((counted.replays, counts(counted), counted.mean_days()), (1, (0, 0, 0, 0), None));
        assert_eq!(counted.rows_erased, 4_321);
        request.kind = Kind::Rectification;
        assert_eq!(rows(tally(&request, RECEIVED)), (0, 0, 0));
    }
}
