//! Replays: runs that erase again whom the ledger knows to have been erased. How far one is, and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::request::{Outcome, Status};

/// Why no request can be made of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotSubmitted {
    /// Its plan is not registered any more.
    UnknownPlan,
    /// The plan has no such identity any more, or a column of another type.
    UnfitIdentities,
    /// Sealed under another `pseudonym_key`.
    Unreadable,
    /// Its time was over before its turn came.
    Expired,
}

impl NotSubmitted {
    pub const ALL: [Self; 4] = [Self::UnknownPlan, Self::UnfitIdentities, Self::Unreadable, Self::Expired];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPlan => "unknown_plan",
            Self::UnfitIdentities => "unfit_identities",
            Self::Unreadable => "unreadable",
            Self::Expired => "expired",
        }
    }
}

/// One entry that a run has to erase again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub run: Uuid,
    pub entry: Uuid,
    /// The erasure that a person asked for.
    pub erasure: Uuid,
    pub plan: String,
    pub fate: Fate,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its turn has not come.
    Pending,
    NotSubmitted(NotSubmitted),
    /// The request that erases again, and where it stands; `None` when its row is gone.
    Submitted(Uuid, Option<(Status, Option<Outcome>)>),
}

impl Fate {
    /// The entry's person may still be there, and nothing goes on by itself.
    #[must_use]
    pub fn has_failed(self) -> bool {
        match self {
            Self::Pending => false,
            // Nobody could erase by it any more.
            Self::NotSubmitted(why) => why != NotSubmitted::Expired,
            Self::Submitted(_, stands) => {
                stands.is_none_or(|(status, _)| status.is_end() && status != Status::Completed)
            }
        }
    }
}

/// How far a run is: the `report` of its row. Counts of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// All that it has to do: fixed when it begins, and what is `under_way` then as it completes.
    pub entries: i64,
    /// Those of which a request was made.
    pub submitted: i64,
    /// Found and erased again.
    pub completed: i64,
    /// Of these, with rows that were withheld.
    pub with_exceptions: i64,
    /// Nobody was there any more.
    pub no_match: i64,
    /// No request could be made, or it ended otherwise than completed.
    pub failed: i64,
    /// Their time was over before their turn came.
    pub expired: i64,
    /// Requests that it made and that have not ended.
    pub waiting: i64,
    /// Entries whose turn comes once an open request of the person has ended, as the last attempt met them.
    pub behind_others: i64,
    /// Erasures that had touched something when the run was asked for, and have not ended.
    pub under_way: i64,
    /// Of `waiting`, `behind_others` and `under_way`, those that people must move: on hold, to be approved, with steps by
    /// hand.
    pub waiting_for_people: i64,
    /// Erasures that ended half-way, which no entry tells of. Nobody but a person can do them again.
    pub partial: i64,
}

impl Progress {
    /// Adds so many entries of one fate.
    pub fn add(&mut self, fate: Fate, count: i64) {
        if matches!(fate, Fate::Submitted(..)) {
            self.submitted += count;
        }
        match fate {
            _ if fate.has_failed() => self.failed += count,
            Fate::Pending => {}
            Fate::NotSubmitted(_) => self.expired += count,
            Fate::Submitted(_, Some((Status::Completed, Some(Outcome::NoMatch)))) => self.no_match += count,
            Fate::Submitted(_, Some((Status::Completed, outcome))) => {
                self.completed += count;
                if outcome == Some(Outcome::DoneWithExceptions) {
                    self.with_exceptions += count;
                }
            }
            Fate::Submitted(..) => self.waiting += count,
        }
    }

    /// As a run's row keeps it; nothing of one that has not begun.
    #[must_use]
    pub fn read(report: &Value) -> Option<Self> {
        report.get("entries")?;
        serde_json::from_value(report.clone()).ok()
    }

    #[must_use]
    pub fn report(self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({}))
    }

    /// Entries whose turn has not come.
    #[must_use]
    pub fn pending(self) -> i64 {
        self.entries - self.completed - self.no_match - self.failed - self.expired - self.waiting
    }

    /// Nothing goes on any more.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.pending() == 0 && self.waiting == 0 && self.under_way == 0
    }

    /// Requests have to end before it can go on.
    #[must_use]
    pub fn waits(self) -> bool {
        self.waiting + self.behind_others + self.under_way > 0
    }

    /// Nothing goes on before people have done their part.
    #[must_use]
    pub fn is_left_to_people(self) -> bool {
        self.waits() && self.pending() + self.waiting + self.under_way == self.waiting_for_people
    }

    /// What a run that left nobody out has come to.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self { with_exceptions: 1.., .. } | Self { expired: 1.., .. } => Outcome::DoneWithExceptions,
            Self { completed: 0, .. } => Outcome::NoMatch,
            _ => Outcome::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(status: Status, outcome: Option<Outcome>) -> Fate {
        Fate::Submitted(Uuid::nil(), Some((status, outcome)))
    }

    #[test]
    fn every_fate_is_counted_once() {
        let mut progress = Progress { entries: 14, ..Progress::default() };
        let fates: Vec<Fate> = Status::ALL
            .into_iter()
            .map(|status| at(status, status.is_end().then_some(Outcome::Done)))
            .chain(NotSubmitted::ALL.map(Fate::NotSubmitted))
            .chain([Fate::Submitted(Uuid::nil(), None)])
            .collect();
        for fate in &fates {
            progress.add(*fate, 1);
        }
        assert_eq!(fates.len(), 14);
        // Denied, cancelled and failed; three of the reasons; and the one whose row is gone.
        assert_eq!((progress.failed, progress.expired, progress.completed, progress.waiting), (7, 1, 1, 5));
        assert_eq!((progress.submitted, progress.pending()), (10, 0));
        assert!(!progress.is_settled());
        assert_eq!(Progress::read(&progress.report()), Some(progress));
        assert_eq!(Progress::read(&json!({})), None);
    }

    #[test]
    fn what_was_not_erased_shows_in_the_outcome() {
        let mut progress = Progress { entries: 3, ..Progress::default() };
        progress.add(at(Status::Completed, Some(Outcome::NoMatch)), 2);
        assert_eq!(
            (progress.outcome(), progress.pending(), progress.is_settled()),
            (Outcome::NoMatch, 1, false)
        );
        progress.add(at(Status::Completed, Some(Outcome::Done)), 1);
        assert_eq!((progress.outcome(), progress.is_settled()), (Outcome::Done, true));
        let mut withheld = progress;
        withheld.add(at(Status::Completed, Some(Outcome::DoneWithExceptions)), 1);
        let mut expired = progress;
        expired.add(Fate::NotSubmitted(NotSubmitted::Expired), 1);
        assert_eq!([withheld.outcome(), expired.outcome()], [Outcome::DoneWithExceptions; 2]);
    }
}
