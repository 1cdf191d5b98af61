//! Rows that are kept for a time.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Action, Age, Alternative, CompiledPlan, KeyColumn, Link, Rows, Source, Step, TableName, TimeKind, Wanted,
};
use crate::domain::{
    period::Period,
    schema::{Catalog, Table, TableKind},
};

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

    /// The rows of the key set of that number, whatever they are found by.
    #[must_use]
    pub fn by_key(&self, set: usize) -> Self {
        Self { rows: self.rows.of_set(set), ..self.clone() }
    }

    /// The rows of that key set that are found as they were, whatever their `where` says by now.
    #[must_use]
    pub fn found_of(&self, set: usize) -> Self {
        let within = vec![self.rows.of_set(set)];
        Self { rows: Rows { filter: None, except: Vec::new(), within, ..self.rows.clone() }, ..self.clone() }
    }

    /// The deletion of those of them whose time is before that moment.
    #[must_use]
    pub fn when_over(&self, set: usize, before: DateTime<Utc>) -> Option<Self> {
        let until = self.until()?;
        let aged = self.rows.aged(&until.table, &until.age(before, Wanted::Old));
        let of_set = Rows { within: aged.within, ..self.rows.of_set(set) };
        let rows = Rows { filter: None, except: Vec::new(), within: vec![of_set], ..aged };
        // What was found through these rows has been dealt with long ago.
        Some(Self { rows, action: Action::Delete, cuts: Vec::new(), ..self.clone() })
    }

    /// The rows of that key set whose own time is before that moment, whatever they are found by.
    #[must_use]
    pub fn over_by_key(&self, set: usize, before: DateTime<Utc>) -> Option<Self> {
        let until = self.until().filter(|until| until.table == self.rows.table)?;
        let rows = self.rows.of_set(set).aged(&until.table, &until.age(before, Wanted::Old));
        Some(Self { rows, ..self.clone() })
    }

    /// Those of its rows that hold something, but no time.
    #[must_use]
    pub fn without_time(&self) -> Option<Self> {
        let until = self.until()?;
        let age = until.age(DateTime::UNIX_EPOCH, Wanted::Unreadable);
        Some(Self { rows: self.rows.aged(&until.table, &age), ..self.clone() })
    }
}

impl CompiledPlan {
    /// Rows that are kept for a time can still be found and deleted in those schemas, and nothing hangs on them that the plan
    /// does not know.
    #[must_use]
    pub fn keeps_fit(&self, catalogs: &BTreeMap<String, Catalog>) -> bool {
        let fits = |step: &Step, until: &KeepUntil| {
            let catalog = catalogs.get(&step.connection)?;
            let name = &step.rows.table;
            let table = catalog.table(Some(&name.schema), &name.name)?;
            let own_time = (until.table == *name).then_some(&until.column);
            let links = step.rows.any_of.iter().flat_map(Alternative::links).flat_map(|link| &link.columns);
            let mut columns = step.rows.key.iter().chain(links).chain(own_time);
            let is_known = |child: &Table| {
                let is_child = |step: &Step| {
                    step.rows.table.schema == child.schema && step.rows.table.name == child.name
                };
                self.erasure.iter().any(|other| other.connection == step.connection && is_child(other))
            };
            let points_here = |child: &&Table| {
                let mut keys = child.foreign_keys.iter();
                keys.any(|key| key.parent_schema == name.schema && key.parent_table == name.name)
            };
            let mut children = catalog.tables.iter().filter(|child| child.kind != TableKind::Partition);
            let is_same = |column: &KeyColumn| {
                table.column(&column.name).is_some_and(|now| now.family == column.family)
            };
            Some(columns.all(is_same) && children.by_ref().filter(points_here).all(is_known))
        };
        self.erasure
            .iter()
            .filter_map(|step| Some((step, step.until()?)))
            .all(|(step, until)| fits(step, until).unwrap_or(false))
    }
}

impl Rows {
    /// Rows of the table whose keys are those of the key set of that number.
    #[must_use]
    pub fn of_set(&self, set: usize) -> Self {
        let link = Link {
            columns: self.key.clone(),
            source: Source::Keys(set),
            source_columns: self.key.clone(),
            ignore_case: vec![false; self.key.len()],
        };
        let any_of = vec![Alternative::Match { links: vec![link], constants: Vec::new() }];
        Self { any_of, filter: None, except: Vec::new(), within: Vec::new(), ..self.clone() }
    }

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

    /// The tables through whose live rows these are found, at any distance.
    #[must_use]
    pub fn live_tables(&self) -> Vec<&TableName> {
        let sources = self.any_of.iter().flat_map(Alternative::links).filter_map(|link| match &link.source {
            Source::Live(live) => Some(live),
            _ => None,
        });
        sources.flatten().flat_map(|rows| std::iter::once(&rows.table).chain(rows.live_tables())).collect()
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
