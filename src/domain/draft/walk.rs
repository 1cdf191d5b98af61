//! From the subject's table outward along foreign keys: which rows are the person's own and go, which are other
//! people's and only lose the pointer.

use super::{Place, guess};
use crate::domain::schema::{Catalog, Column, ForeignKey, Table, TableKind};

/// One connection of the plan.
pub(super) struct Block<'c> {
    pub connection: &'c str,
    pub catalog: &'c Catalog,
    /// The start first, then in the order in which they were reached.
    pub tables: Vec<Drafted<'c>>,
}

/// One table of the plan.
pub(super) struct Drafted<'c> {
    pub table: &'c Table,
    pub start: Option<Start<'c>>,
    /// Keys by which its rows are the person's own.
    pub own: Vec<Link<'c>>,
    /// Keys by which other people's rows point at rows that go.
    pub unlinks: Vec<Link<'c>>,
    /// What no entry can solve.
    pub notes: Vec<String>,
}

/// Where the walk began.
pub(super) enum Start<'c> {
    /// The person's own row.
    Root,
    /// Another connection's rows that hold a value of ours.
    Join { column: &'c Column, ours: Place<'c> },
}

#[derive(Clone, Copy)]
pub(super) struct Link<'c> {
    pub key: &'c ForeignKey,
    pub parent: &'c Table,
}

impl<'c> Drafted<'c> {
    fn new(table: &'c Table) -> Self {
        Self { table, start: None, own: Vec::new(), unlinks: Vec::new(), notes: Vec::new() }
    }

    /// Some of its rows are the person's and go.
    pub fn is_owned(&self) -> bool {
        self.start.is_some() || !self.own.is_empty()
    }

    fn has(&self, key: &ForeignKey) -> bool {
        self.own
            .iter()
            .chain(&self.unlinks)
            .any(|link| link.key.columns == key.columns && same_target(link.key, key))
    }
}

fn same_target(a: &ForeignKey, b: &ForeignKey) -> bool {
    a.parent_table == b.parent_table
        && a.parent_schema == b.parent_schema
        && a.parent_columns == b.parent_columns
}

impl<'c> Block<'c> {
    pub fn owns(&self, table: &Table) -> bool {
        self.find(table).is_some_and(Drafted::is_owned)
    }

    pub fn find(&self, table: &Table) -> Option<&Drafted<'c>> {
        self.tables.iter().find(|drafted| same(drafted.table, table))
    }

    fn position(&mut self, table: &'c Table) -> usize {
        if let Some(at) = self.tables.iter().position(|drafted| same(drafted.table, table)) {
            return at;
        }
        self.tables.push(Drafted::new(table));
        self.tables.len() - 1
    }

    /// The rows of `table` are found through rows of `other`, directly or not.
    fn is_found_through(&self, table: &Table, other: &Table) -> bool {
        let mut open = vec![table];
        let mut seen: Vec<&Table> = Vec::new();
        while let Some(table) = open.pop() {
            if same(table, other) {
                return true;
            }
            if seen.iter().any(|known| same(known, table)) {
                continue;
            }
            seen.push(table);
            open.extend(
                self.find(table).into_iter().flat_map(|drafted| &drafted.own).map(|link| link.parent),
            );
        }
        false
    }

    /// Decides what a foreign key onto rows that go means for the table that holds it.
    fn take(&mut self, child: &'c Table, key: &'c ForeignKey, parent: &'c Table) {
        let start = self.tables[0].table;
        let nullable = guess::is_nullable(child, key);
        let circle = self.is_found_through(parent, child);
        let at = self.position(child);
        let drafted = &self.tables[at];
        if drafted.has(key) {
            return;
        }
        let link = Link { key, parent };
        let has_own_person = drafted.own.iter().any(|link| same(link.parent, start)) && !same(parent, start);
        let others = circle || has_own_person || guess::is_acting(child, key, parent);
        let drafted = &mut self.tables[at];
        if nullable && others {
            drafted.unlinks.push(link);
        } else if circle && (drafted.start.is_some() || !same(child, parent)) {
            drafted.notes.push(format!(
                "{} points at {} and cannot be NULL: `check` will refuse to delete from {} as long as it does",
                key.columns.join(", "),
                parent.name,
                parent.name
            ));
        } else {
            drafted.own.push(link);
        }
    }
}

pub(super) fn same(a: &Table, b: &Table) -> bool {
    a.schema == b.schema && a.name == b.name
}

/// Follows every foreign key onto `start`, onto what hangs on it, and so on.
pub(super) fn grow<'c>(
    connection: &'c str,
    catalog: &'c Catalog,
    start: &'c Table,
    join: Option<(&'c Column, Place<'c>)>,
) -> Block<'c> {
    let mut first = Drafted::new(start);
    first.start = Some(join.map_or(Start::Root, |(column, ours)| Start::Join { column, ours }));
    let mut block = Block { connection, catalog, tables: vec![first] };
    let mut walked: Vec<&Table> = Vec::new();
    // A table that was only unlinked may turn out to hold own rows later: look again until nothing is new.
    while let Some(parent) = block
        .tables
        .iter()
        .find(|drafted| drafted.is_owned() && !walked.iter().any(|known| same(known, drafted.table)))
        .map(|drafted| drafted.table)
    {
        walked.push(parent);
        for child in catalog.tables.iter().filter(|table| is_plain(table)) {
            for key in &child.foreign_keys {
                if key.parent_schema == parent.schema && key.parent_table == parent.name {
                    block.take(child, key, parent);
                }
            }
        }
    }
    block
}

/// Partitions are reached through their parents, views hold no rows.
pub(super) fn is_plain(table: &Table) -> bool {
    matches!(table.kind, TableKind::Table | TableKind::Partitioned)
}
