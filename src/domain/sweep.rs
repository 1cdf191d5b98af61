//! The retention of what the service keeps itself (GDPR Art. 5(1)(e)): first the sealed identities go, then what else leads
//! to a person, each a period after the end, and at last the key of the month under which the log shows people. Counts and the
//! audit log stay.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{
    audit::{EventName, NewEvent, timestamp},
    period::Period,
    pseudonym::Month,
};

/// How long each is kept, counted from a request's end or its answer, whichever is later, and from a hold's end. `None`: for
/// ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Periods {
    pub identities: Option<Period>,
    pub requests: Option<Period>,
    pub idempotency_keys: Option<Period>,
    /// Counted from the end of the month, too.
    pub pseudonyms: Option<Period>,
}

impl Periods {
    #[must_use]
    pub fn of(self, sweep: Sweep) -> Option<Period> {
        match sweep {
            Sweep::Identities => self.identities,
            Sweep::Requests => self.requests,
            Sweep::IdempotencyKeys => self.idempotency_keys,
            Sweep::Pseudonyms => self.pseudonyms,
        }
    }
}

/// What goes when its time is over. The order is that in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sweep {
    /// What is sealed with a request or a hold, and its data key.
    Identities,
    /// What else of a request or a hold leads to a person; its identities too, if they are still there.
    Requests,
    IdempotencyKeys,
    /// The keys of months of which everything is over, and what else of that still leads to a person.
    Pseudonyms,
}

impl Sweep {
    pub const ALL: [Self; 4] = [Self::Identities, Self::Requests, Self::IdempotencyKeys, Self::Pseudonyms];

    /// Also its key in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identities => "identities",
            Self::Requests => "requests",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::Pseudonyms => "pseudonyms",
        }
    }

    /// The stream of its audit events.
    #[must_use]
    pub fn stream(self) -> String {
        format!("sweep:{}", self.as_str())
    }
}

/// How much has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    pub requests: usize,
    pub holds: usize,
    pub idempotency_keys: usize,
    /// Whose key was destroyed.
    pub months: usize,
}

impl Swept {
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            requests: self.requests + more.requests,
            holds: self.holds + more.holds,
            idempotency_keys: self.idempotency_keys + more.idempotency_keys,
            months: self.months + more.months,
        }
    }

    /// The event that commits with it. `before`: what ended, and was answered, until then; `months`: whose key it was.
    #[must_use]
    pub fn event(self, sweep: Sweep, before: DateTime<Utc>, months: &[Month]) -> NewEvent {
        let mut details = json!({
            "what": sweep.as_str(), "before": timestamp(before),
            "requests": self.requests, "holds": self.holds, "idempotency_keys": self.idempotency_keys,
        });
        if sweep == Sweep::Pseudonyms {
            details["months"] = months.iter().map(Month::to_string).collect();
        }
        NewEvent::new(EventName::RetentionSwept, "system", details)
    }
}
