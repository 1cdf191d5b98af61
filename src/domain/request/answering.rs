//! The duty beside the work: the person is told within a month what was done, or why nothing was (GDPR Art. 12(3),
//! (4)). The month runs from the receipt, stands still while an identity has to be confirmed (Art. 12(6)), can be
//! extended once, and ends with the answer, whatever the status.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{DenialReason, InvalidState, Packed, Refusal, Replay, Request, State};
use crate::domain::{
    audit::{EventName, NewEvent, timestamp},
    deadline,
};

/// 9999-01-01: later than every time that something is due, and a time that both stores keep and sort.
pub const NEVER: DateTime<Utc> = DateTime::from_timestamp_secs(253_370_764_800).unwrap();

/// An answer that is due within this time is due soon.
pub const SOON: TimeDelta = TimeDelta::days(7);

/// How the month of a request runs, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answering {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_check: Option<IdentityCheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<DenialReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
    /// When somebody was last reminded that the answer is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminded_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Of an export, once it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Packed>,
}

/// How it was made sure that the person is who they say (Art. 12(6)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityCheck {
    /// A word of the house, such as `callback`.
    pub method: String,
    pub requested_at: DateTime<Utc>,
    /// Until then the month does not run, and nothing is done.
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// By how much the month is longer (Art. 12(3)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// 1 or 2.
    pub months: u32,
    /// When the person was told of it; they must be within the first month.
    pub subject_informed_at: Option<DateTime<Utc>>,
}

/// When and how the person was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub at: DateTime<Utc>,
    pub channel: Channel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Letter,
    Portal,
    Phone,
    InPerson,
    Other,
}

impl Channel {
    pub const ALL: [Self; 6] =
        [Self::Email, Self::Letter, Self::Portal, Self::Phone, Self::InPerson, Self::Other];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Letter => "letter",
            Self::Portal => "portal",
            Self::Phone => "phone",
            Self::InPerson => "in_person",
            Self::Other => "other",
        }
    }
}

impl Answering {
    /// An identity was asked for and is not confirmed.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.identity_check.as_ref().is_some_and(|check| check.confirmed_at.is_none())
    }

    /// When the month begins; `None` while it stands still, and for a replay.
    #[must_use]
    pub fn begins_at(&self, submitted_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.identity_check {
            _ if self.replay.is_some() => None,
            // Somebody who was known already has their month from the receipt on.
            Some(check) => Some(check.confirmed_at?.max(submitted_at)),
            None => Some(submitted_at),
        }
    }

    /// When the person must have been answered; `None` while the month does not run.
    #[must_use]
    pub fn due_at(&self, submitted_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let months = 1 + self.extension.as_ref().map_or(0, |extension| extension.months);
        Some(deadline::after_months(self.begins_at(submitted_at)?, months))
    }
}

impl IdentityCheck {
    /// `latest`: times after it lie in the future.
    ///
    /// # Errors
    /// For times that cannot be.
    pub fn validate(&self, latest: DateTime<Utc>) -> Result<(), Refusal> {
        for (name, at) in [("requested_at", Some(self.requested_at)), ("confirmed_at", self.confirmed_at)] {
            if at.is_some_and(|at| at > latest) {
                return Err(Refusal::InFuture(name));
            }
        }
        if self.confirmed_at.is_some_and(|at| at < self.requested_at) {
            return Err(Refusal::ConfirmedBeforeAsked);
        }
        Ok(())
    }
}

impl Request {
    /// When the person must have been answered; `None` while the month does not run.
    #[must_use]
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        self.answering.due_at(self.submitted_at)
    }

    /// Its place among those that are due: one whose month stands still comes after all others.
    #[must_use]
    pub fn urgency(&self) -> DateTime<Utc> {
        self.due_at().unwrap_or(NEVER)
    }

    /// Not answered, and the time is over.
    #[must_use]
    pub fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.answering.answered.is_none() && self.due_at().is_some_and(|due| due < now)
    }

    /// Lengthens the month, once, before it is over.
    ///
    /// # Errors
    /// When a worker holds the request, the person was answered, or the month does not run, is over or was lengthened.
    pub fn extend(
        &mut self,
        actor: &str,
        extension: Extension,
        now: DateTime<Utc>,
        latest: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        if self.lease_until.is_some() {
            return Err(Refusal::AtWork);
        }
        self.require_asked()?;
        self.require_unanswered()?;
        let due = self.due_at().ok_or(Refusal::Suspended)?;
        if self.answering.extension.is_some() {
            return Err(Refusal::AlreadyExtended);
        }
        if due < now {
            return Err(Refusal::MonthIsOver);
        }
        if let Some(at) = extension.subject_informed_at {
            self.require_possible("subject_informed_at", at, latest)?;
        }
        let details = json!({
            "months": extension.months, "subject_informed_at": extension.subject_informed_at.map(timestamp),
        });
        self.answering.extension = Some(extension);
        Ok(self.event(EventName::RequestExtended, actor, details))
    }

    /// Records the check of the person's identity: with `confirmed_at` the month begins, without it stands still.
    /// `needs_approval`: of this kind, so that a confirmation alone does not let it go.
    ///
    /// # Errors
    /// Unless the request is pending, and the times can be.
    pub fn check_identity(
        &mut self,
        actor: &str,
        check: IdentityCheck,
        needs_approval: bool,
        now: DateTime<Utc>,
        latest: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        if self.state != State::Pending {
            return Err(
                InvalidState { status: self.status(), action: "held up for an identity check" }.into()
            );
        }
        check.validate(latest)?;
        let details = json!({
            "requested_at": timestamp(check.requested_at), "confirmed_at": check.confirmed_at.map(timestamp),
        });
        if check.confirmed_at.is_some() && !needs_approval {
            self.state = State::Approved;
            self.run_at = now;
        }
        self.answering.identity_check = Some(check);
        Ok(self.event(EventName::RequestIdentityChecked, actor, details))
    }

    /// Records that the person was told; the duty ends here.
    ///
    /// # Errors
    /// Before the request has ended, or when the person was told already.
    pub fn answer(
        &mut self,
        actor: &str,
        answered: Answered,
        latest: DateTime<Utc>,
    ) -> Result<NewEvent, Refusal> {
        self.require_asked()?;
        if !self.status().is_end() {
            return Err(InvalidState { status: self.status(), action: "answered" }.into());
        }
        self.require_unanswered()?;
        self.require_possible("at", answered.at, latest)?;
        let details = json!({ "at": timestamp(answered.at), "channel": answered.channel.as_str() });
        self.answering.answered = Some(answered);
        Ok(self.event(EventName::RequestAnswered, actor, details))
    }

    /// Reminds of an answer that is late or due within [`SOON`], once a day (UTC); `None` when there is nothing to
    /// remind of, or a worker holds the request: it comes free within the day.
    pub fn remind(&mut self, now: DateTime<Utc>) -> Option<NewEvent> {
        let due = self.due_at().filter(|due| *due < now + SOON)?;
        let today = |at: DateTime<Utc>| at.date_naive() == now.date_naive();
        if self.answering.answered.is_some()
            || self.answering.reminded_at.is_some_and(today)
            || self.lease_until.is_some()
        {
            return None;
        }
        self.answering.reminded_at = Some(now);
        let details = json!({ "due_at": timestamp(due), "days_left": deadline::days_left(due, now) });
        Some(self.event(EventName::RequestReminded, "system", details))
    }

    fn require_unanswered(&self) -> Result<(), Refusal> {
        if self.answering.answered.is_some() { Err(Refusal::AlreadyAnswered) } else { Ok(()) }
    }

    fn require_possible(
        &self,
        name: &'static str,
        at: DateTime<Utc>,
        latest: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        if at > latest {
            return Err(Refusal::InFuture(name));
        }
        if at < self.submitted_at { Err(Refusal::BeforeReceipt(name)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::request::{Outcome, Status};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn received(text: &str) -> Request {
        Request { submitted_at: at(text), ..Request::sample(Uuid::nil()) }
    }

    fn extension(months: u32) -> Extension {
        Extension { months, subject_informed_at: None }
    }

    fn check(confirmed_at: Option<&str>) -> IdentityCheck {
        let requested_at = at("2026-11-03T09:00:00Z");
        IdentityCheck { method: "callback".to_owned(), requested_at, confirmed_at: confirmed_at.map(at) }
    }

    #[test]
    fn the_month_runs_from_the_receipt_or_from_the_confirmed_identity() {
        let mut request = received("2026-10-31T09:00:00Z");
        assert_eq!(request.due_at(), Some(at("2026-11-30T09:00:00Z")));
        request.answering.identity_check = Some(check(None));
        assert_eq!(request.due_at(), None);
        assert!(!request.is_overdue(at("2030-01-01T00:00:00Z")), "it does not run");
        request.answering.identity_check = Some(check(Some("2026-11-05T12:00:00Z")));
        assert_eq!(request.due_at(), Some(at("2026-12-05T12:00:00Z")));
    }

    #[test]
    fn an_extension_counts_from_the_beginning_and_is_made_once_in_time() {
        let mut request = received("2026-10-31T09:00:00Z");
        let before = at("2026-11-30T09:00:00Z");
        let event = request.extend("alice", extension(2), before, before).unwrap();
        assert_eq!(event.details["months"], 2);
        // Three months from 31 October, not one month from 30 November twice.
        assert_eq!(request.due_at(), Some(at("2027-01-31T09:00:00Z")));
        assert_eq!(request.extend("alice", extension(1), before, before), Err(Refusal::AlreadyExtended));
        let mut late = received("2026-10-31T09:00:00Z");
        let after = at("2026-11-30T09:00:01Z");
        assert_eq!(late.extend("alice", extension(1), after, after), Err(Refusal::MonthIsOver));
        let informed = Extension { subject_informed_at: Some(after), ..extension(1) };
        let future = late.extend("alice", informed, before, before);
        assert_eq!(future, Err(Refusal::InFuture("subject_informed_at")));
        let informed = Extension { subject_informed_at: Some(at("2026-10-30T00:00:00Z")), ..extension(1) };
        let early = late.extend("alice", informed, before, before);
        assert_eq!(early, Err(Refusal::BeforeReceipt("subject_informed_at")));
        late.lease_until = Some(before);
        assert_eq!(late.extend("alice", extension(1), before, before), Err(Refusal::AtWork));
        late.lease_until = None;
        late.answering.identity_check = Some(check(None));
        assert_eq!(late.extend("alice", extension(1), before, before), Err(Refusal::Suspended));
        assert_eq!(late.answering.extension, None);
    }

    #[test]
    fn a_confirmed_identity_lets_a_request_go_that_nobody_has_to_approve() {
        for (confirmed, needs_approval, status) in [
            (None, false, Status::Pending),
            (Some("2026-11-05T12:00:00Z"), true, Status::Pending),
            (Some("2026-11-05T12:00:00Z"), false, Status::Approved),
        ] {
            let mut request = received("2026-11-02T09:00:00Z");
            request.state = State::Pending;
            let now = at("2026-11-05T13:00:00Z");
            request.check_identity("alice", check(confirmed), needs_approval, now, now).unwrap();
            assert_eq!(request.status(), status);
            assert_eq!(request.answering.is_suspended(), confirmed.is_none());
        }
        let mut running = received("2026-11-02T09:00:00Z");
        let now = at("2026-11-05T13:00:00Z");
        assert!(running.check_identity("alice", check(None), false, now, now).is_err());
        running.state = State::Pending;
        let reversed = check(Some("2026-11-03T08:59:59Z"));
        let refused = running.check_identity("alice", reversed, false, now, now);
        assert_eq!(refused, Err(Refusal::ConfirmedBeforeAsked));
    }

    #[test]
    fn a_reminder_comes_once_a_day_in_the_last_week_and_after() {
        let mut request = received("2026-10-10T12:00:00Z");
        assert_eq!(request.remind(at("2026-11-03T12:00:00Z")), None, "a week and no less");
        let first = request.remind(at("2026-11-03T12:00:01Z")).unwrap();
        assert_eq!((first.event, &first.details["days_left"]), (EventName::RequestReminded, &json!(6)));
        assert_eq!(request.remind(at("2026-11-03T23:59:59Z")), None);
        assert!(request.remind(at("2026-11-04T00:00:00Z")).is_some());
        let late = request.remind(at("2026-11-11T00:00:00Z")).unwrap();
        assert_eq!(late.details["days_left"], -1);
        let next = at("2026-11-12T00:00:00Z");
        request.lease_until = Some(next);
        assert_eq!(request.remind(next), None);
        request.lease_until = None;
        request.answering.identity_check = Some(check(None));
        assert_eq!(request.remind(next), None);
        request.answering.identity_check = None;
        request.answering.answered = Some(Answered { at: next, channel: Channel::Portal });
        assert_eq!(request.remind(next), None);
    }

    #[test]
    fn overdue_is_what_is_not_answered_whatever_the_status() {
        let (received_at, later) = ("2026-10-01T00:00:00Z", at("2026-11-01T00:00:01Z"));
        let mut request = received(received_at);
        assert!(request.is_overdue(later));
        let answered = Answered { at: later, channel: Channel::Email };
        assert!(request.answer("alice", answered.clone(), later).is_err(), "it is still open");
        request.state = State::Completed { finished_at: at(received_at), outcome: Outcome::Done };
        assert!(request.is_overdue(later));
        let early = Answered { at: at("2026-09-30T23:59:59Z"), ..answered.clone() };
        assert_eq!(request.answer("alice", early, later), Err(Refusal::BeforeReceipt("at")));
        request.answer("alice", answered.clone(), later).unwrap();
        assert!(!request.is_overdue(later));
        assert_eq!(request.answer("alice", answered, later), Err(Refusal::AlreadyAnswered));
    }
}
