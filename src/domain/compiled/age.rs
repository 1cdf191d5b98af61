//! Rows that are told by their age.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::KeyColumn;
use crate::domain::{
    rectification::System,
    schema::{Column, Family, Table},
};

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

impl TimeKind {
    /// `None` for a column that tells no date.
    #[must_use]
    pub fn of(table: &Table, column: &Column) -> Option<Self> {
        let system = System::of(table);
        if system == System::Sqlite {
            let may_be = matches!(
                column.family,
                Family::Time | Family::Text | Family::Integer | Family::Number | Family::Any
            );
            return may_be.then_some(Self::Any);
        }
        let name = column.base_type().to_ascii_lowercase();
        let is_mysql = system == System::MySql;
        match name.as_str() {
            _ if column.family != Family::Time => None,
            name if is_mysql && name.starts_with("timestamp") => Some(Self::Instant),
            name if is_mysql && name.starts_with("datetime") => Some(Self::Local),
            name if name.starts_with("timestamp") && name.ends_with("with time zone") => Some(Self::Instant),
            name if name.starts_with("timestamp") => Some(Self::Local),
            "date" => Some(Self::Date),
            _ => None,
        }
    }
}
