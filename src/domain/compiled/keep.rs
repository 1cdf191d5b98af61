//! Rows that are kept for a time.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Action, Age, Alternative, CompiledPlan, KeyColumn, Rows, Source, Step, TableName, TimeKind, Wanted,
};
use crate::domain::period::Period;

/// How long each row is kept: from a time in it, or in a row that it hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepUntil {
    pub period: Period,
    /// The table of `column`: that of the step, or one that its rows are found through.
    pub table: TableName,
    pub column: KeyColumn,
    pub time: TimeKind,
}

impl fmt::Display for KeepUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} + {}", self.table.name, self.column.name, self.period)
    }
}

impl KeepUntil {
    fn age(&self, before: DateTime<Utc>, wanted: Wanted) -> Age {
        Age { column: self.column.clone(), time: self.time, before, nulls_are_old: false, mark: None, wanted }
    }
}

impl Step {
    /// How long its rows are kept.
    #[must_use]
    pub fn until(&self) -> Option<&KeepUntil> {
        match &self.action {
            Action::KeepUntil(until) => Some(until),
            _ => None,
        }
    }

    /// The deletion of those rows whose time is before that moment.
    #[must_use]
    pub fn when_over(&self, before: DateTime<Utc>) -> Option<Self> {
        // What was found through these rows has been dealt with long ago.
        Some(Self { action: Action::Delete, cuts: Vec::new(), ..self.older_than(before)? })
    }

    /// Those of its rows whose time is before that moment.
    #[must_use]
    pub fn older_than(&self, before: DateTime<Utc>) -> Option<Self> {
        self.aged(before, Wanted::Old)
    }

    /// Those of its rows that hold something, but no time, or nothing at all.
    #[must_use]
    pub fn without_time(&self, wanted: Wanted) -> Option<Self> {
        self.aged(DateTime::UNIX_EPOCH, wanted)
    }

    fn aged(&self, before: DateTime<Utc>, wanted: Wanted) -> Option<Self> {
        let until = self.until()?;
        let age = until.age(before, wanted);
        Some(Self { rows: self.rows.aged(&until.table, &age), ..self.clone() })
    }
}

impl CompiledPlan {
    /// Rows that are kept for a time are found, and deleted, in the same way by that version.
    #[must_use]
    pub fn keeps_as(&self, other: &Self) -> bool {
        let kept = |plan: &Self| -> Vec<Step> {
            let kept = plan.erasure.iter().filter(|step| step.until().is_some());
            kept.map(|step| Step { cuts: Vec::new(), basis: None, ..step.clone() }).collect()
        };
        self.root == other.root && self.key_sets.len() == other.key_sets.len() && kept(self) == kept(other)
    }
}

impl Rows {
    /// The rows of that age, or those that are found through rows of that age.
    #[must_use]
    fn aged(&self, table: &TableName, age: &Age) -> Self {
        let mut aged = self.clone();
        if self.table == *table {
            let any_of = vec![Alternative::Age(age.clone())];
            aged.within =
                vec![Self { any_of, filter: None, except: Vec::new(), within: Vec::new(), ..self.clone() }];
            return aged;
        }
        for alternative in &mut aged.any_of {
            let (Alternative::Match { links, .. } | Alternative::Sql { links, .. }) = alternative else {
                continue;
            };
            for link in links {
                if let Source::Live(live) = &mut link.source {
                    *live = live.iter().map(|rows| rows.aged(table, age)).collect();
                }
            }
        }
        aged
    }

    /// How many tables lie between these rows and that one, on the longest way; `None` where a way does not lead there.
    #[must_use]
    pub fn distance_to(&self, table: &TableName) -> Option<usize> {
        if self.table == *table {
            return Some(0);
        }
        let far = |alternative: &Alternative| {
            let ways = alternative.links().iter().filter_map(|link| match &link.source {
                Source::Live(live) => {
                    let ways: Option<Vec<usize>> = live.iter().map(|rows| rows.distance_to(table)).collect();
                    ways?.into_iter().max()
                }
                _ => None,
            });
            ways.max()
        };
        let ways: Option<Vec<usize>> = self.any_of.iter().map(far).collect();
        ways?.into_iter().max().map(|distance| distance + 1)
    }
}
