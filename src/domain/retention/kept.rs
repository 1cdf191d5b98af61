//! Rows that a policy leaves alone because a legal hold keeps them.

use std::collections::BTreeMap;

use crate::domain::compiled::{Rows, TableName};

/// By table: the rows of persons whose data is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept(BTreeMap<TableName, Vec<Rows>>);

impl Kept {
    pub fn add(&mut self, rows: Rows) {
        let known = self.0.entry(rows.table.clone()).or_default();
        if !known.contains(&rows) {
            known.push(rows);
        }
    }

    #[must_use]
    pub fn of(&self, table: &TableName) -> &[Rows] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
