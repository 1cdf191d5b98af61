//! Rows that are told by their age.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::KeyColumn;

/// How old a row is, and whether something is still to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    pub column: KeyColumn,
    pub time: TimeKind,
    /// The first moment that is not old any more.
    pub before: DateTime<Utc>,
    /// A row whose time is NULL is old.
    pub nulls_are_old: bool,
    /// Set in rows that are done with: a time, or a flag.
    pub mark: Option<KeyColumn>,
    pub wanted: Wanted,
}

/// Which rows an [`Age`] selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Old,
    /// Rows that hold something, but no time: nobody knows how old they are (SQLite).
    Unreadable,
}

/// What a column of times holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeKind {
    /// With a zone, or kept as UTC by the database.
    Instant,
    /// Without a zone; read as UTC.
    Local,
    Date,
    /// SQLite: text, seconds since 1970 or Julian days, as each row has it.
    Any,
}
