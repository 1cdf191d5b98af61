//! Backups: what a verification expects of one, and what it found. Nothing that is not known is ever ok.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

mod command;
mod report;
mod stored;

pub use command::from_command;
pub use report::Report;
pub use stored::{Identity, checksum_for, unread};

/// How far the clocks of two machines may lie apart.
const SLACK: TimeDelta = TimeDelta::seconds(60);

/// Why a backup is not ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    NeverVerified,
    NotFound,
    Unreadable,
    TooOld,
    InFuture,
    TooSmall,
    Checksum,
    Encryption,
    /// Truncated, or not what it should be.
    Damaged,
    /// Too few rows in a table, or no such table.
    Rows,
    ToolMissing,
    /// The scratch database cannot be had, or not be dropped.
    Scratch,
    Timeout,
    /// The command said so, or did not say.
    Command,
}

impl Reason {
    pub const ALL: [Self; 14] = [
        Self::NeverVerified,
        Self::NotFound,
        Self::Unreadable,
        Self::TooOld,
        Self::InFuture,
        Self::TooSmall,
        Self::Checksum,
        Self::Encryption,
        Self::Damaged,
        Self::Rows,
        Self::ToolMissing,
        Self::Scratch,
        Self::Timeout,
        Self::Command,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverVerified => "never_verified",
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::TooOld => "too_old",
            Self::InFuture => "in_future",
            Self::TooSmall => "too_small",
            Self::Checksum => "checksum",
            Self::Encryption => "encryption",
            Self::Damaged => "damaged",
            Self::Rows => "rows",
            Self::ToolMissing => "tool_missing",
            Self::Scratch => "scratch",
            Self::Timeout => "timeout",
            Self::Command => "command",
        }
    }
}

/// One thing that is wrong with a backup. The text never holds a row's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub reason: Reason,
    pub detail: String,
}

impl Flaw {
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What the newest backup must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub max_age: Option<TimeDelta>,
    /// Bytes.
    pub min_size: Option<i64>,
    /// How long backups are kept, as its keeper says.
    pub retention_days: Option<i32>,
}

/// Rows by table.
pub type Tables = BTreeMap<String, i64>;

/// What was found out about a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// When the newest backup was made.
    pub last_success: Option<DateTime<Utc>>,
    pub retention_days: Option<i32>,
    /// Bytes.
    pub size: Option<i64>,
    /// SHA-256 in hex, or what the command said.
    pub checksum: Option<String>,
    /// What the command said.
    pub said: Option<String>,
    /// Rows that were counted after the restore.
    pub tables: Tables,
    pub flaws: Vec<Flaw>,
}

impl Findings {
    pub fn fail(&mut self, reason: Reason, detail: impl Into<String>) {
        self.flaws.push(Flaw::new(reason, detail));
    }

    /// Judges age and size. Where one is expected and not known, that is a flaw.
    pub fn judge(&mut self, expected: &Expected, now: DateTime<Utc>) {
        match (self.last_success, expected.max_age) {
            (Some(at), _) if at > now + SLACK => {
                self.fail(Reason::InFuture, "it was made in the future: compare the clocks of both machines");
            }
            (Some(at), Some(most)) if now - at > most => {
                self.fail(Reason::TooOld, format!("it is older than {}", hours(most)));
            }
            (None, Some(_)) if self.flaws.is_empty() => {
                self.fail(Reason::TooOld, "how old it is was not said");
            }
            _ => {}
        }
        match (self.size, expected.min_size) {
            (Some(size), Some(least)) if size < least => {
                self.fail(Reason::TooSmall, format!("it has {size} bytes; at least {least} are expected"));
            }
            (None, Some(_)) if self.flaws.is_empty() => {
                self.fail(Reason::TooSmall, "how large it is was not said");
            }
            _ => {}
        }
        self.retention_days = self.retention_days.or(expected.retention_days);
    }

    /// Compares the rows that were counted with the least that is expected of each table.
    pub fn compare(&mut self, expected: &Tables) {
        for (table, least) in expected {
            match self.tables.get(table) {
                Some(rows) if rows >= least => {}
                Some(rows) => self.fail(
                    Reason::Rows,
                    format!("table `{table}` has {rows} rows; at least {least} are expected"),
                ),
                None => self.fail(
                    Reason::Rows,
                    format!("there is no table `{table}`: is it the backup of another database?"),
                ),
            }
        }
    }
}

fn hours(span: TimeDelta) -> String {
    match span.num_minutes() {
        minutes if minutes % 60 == 0 => format!("{} h", minutes / 60),
        minutes if minutes > 0 => format!("{minutes} min"),
        _ => format!("{} s", span.num_seconds()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn what_is_expected_and_not_known_is_a_flaw() {
        let now = Clock.now();
        let expected =
            Expected { max_age: Some(TimeDelta::hours(26)), min_size: Some(10), retention_days: Some(7) };
        let judged = |last_success, size| {
            let mut findings = Findings { last_success, size, ..Findings::default() };
            findings.judge(&expected, now);
            findings.flaws.iter().map(|flaw| flaw.reason).collect::<Vec<_>>()
        };
        let ago = |hours| Some(now - TimeDelta::hours(hours));
        for (last_success, size, reasons) in [
            (ago(1), Some(10), vec![]),
            (ago(27), Some(10), vec![Reason::TooOld]),
            (ago(1), Some(9), vec![Reason::TooSmall]),
            (ago(27), Some(9), vec![Reason::TooOld, Reason::TooSmall]),
            (ago(-1), Some(10), vec![Reason::InFuture]),
            (Some(now + TimeDelta::seconds(30)), Some(10), vec![]),
            (None, Some(10), vec![Reason::TooOld]),
            (ago(1), None, vec![Reason::TooSmall]),
        ] {
            assert_eq!(judged(last_success, size), reasons, "{last_success:?} {size:?}");
        }
    }
}
