//! A request that erases once more whom a restored backup has brought back. Nobody asked for it but the controller:
//! the person was answered when they were erased first, so that no month runs and nobody is to be told.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Refusal, Request};

/// Whose erasure is done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The erasure that the person asked for.
    pub of: Uuid,
    /// The run that erases again.
    pub run: Uuid,
    /// The person's row was there when they were erased.
    pub found: bool,
}

impl Request {
    pub(super) fn require_asked(&self) -> Result<(), Refusal> {
        if self.answering.replay.is_some() { Err(Refusal::NobodyWaits) } else { Ok(()) }
    }

    /// The row of a person who had none when they were erased: one that came later, perhaps of somebody else who has the
    /// identity now, and nobody but a person can tell.
    #[must_use]
    pub fn has_met_somebody_new(&self, found: bool) -> bool {
        found && self.answering.replay.as_ref().is_some_and(|replay| !replay.found)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::request::{Answered, Channel, Extension, Outcome, State};

    #[test]
    fn no_month_runs_and_nobody_is_answered() {
        let mut request = Request::sample(Uuid::nil());
        let now = request.created_at;
        request.answering.replay = Some(Replay { of: Uuid::nil(), run: Uuid::nil(), found: true });
        let later = now + TimeDelta::days(400);
        assert_eq!((request.due_at(), request.is_overdue(later), request.remind(later)), (None, false, None));
        let extension = Extension { months: 1, subject_informed_at: None };
        assert_eq!(request.extend("alice", extension, now, now), Err(Refusal::NobodyWaits));
        request.state = State::Completed { finished_at: now, outcome: Outcome::Done };
        let answered = Answered { at: now, channel: Channel::Email };
        assert_eq!(request.answer("alice", answered, now), Err(Refusal::NobodyWaits));
        assert_eq!(request.answering.answered, None);
    }

    #[test]
    fn a_row_where_none_was_is_somebody_new() {
        for (replay, found, new) in [
            (None, true, false),
            (Some(true), true, false),
            (Some(false), true, true),
            (Some(false), false, false),
        ] {
            let mut request = Request::sample(Uuid::nil());
            request.answering.replay =
                replay.map(|found| Replay { of: Uuid::nil(), run: Uuid::nil(), found });
            assert_eq!(request.has_met_somebody_new(found), new, "{replay:?} {found}");
        }
    }
}
