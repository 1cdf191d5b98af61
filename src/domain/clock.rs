//! The one place where time is read and identifiers are made.

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// A source of time and of time-ordered identifiers, passed in wherever either is needed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// The present, UTC, cut to microseconds: both stores keep exactly that, so hashes over times agree.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    /// A new UUIDv7 (RFC 9562): ordered by creation time, so that keyset pages need no second column.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that makes identifiers")]
    pub fn new_id(self) -> Uuid {
        Uuid::now_v7()
    }
}
