//! A database in memory that carries out a compiled plan as literally as it is written, row by row, and refuses
//! whatever a real one would: a row that is deleted while another one points at it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::compiled::{
    Action, Alternative, CompiledPlan, KeyColumn, Link, Rows, Source, Step, Strategy,
};

pub type Row = BTreeMap<String, Option<String>>;
type Cells = Vec<Option<String>>;

/// A live foreign key: child table and column, parent table; parents are pointed at by their `id`.
#[derive(Debug, Clone)]
pub struct Key {
    pub child: String,
    pub column: String,
    pub parent: String,
}

#[derive(Debug, Clone, Default)]
pub struct World {
    /// Table → id → row.
    pub tables: BTreeMap<String, BTreeMap<u32, Row>>,
    pub keys: Vec<Key>,
}

/// What a run needs besides the live rows.
pub struct Run {
    pub root: Cells,
    pub sets: Vec<Vec<Cells>>,
}

fn cells(row: &Row, columns: &[KeyColumn]) -> Cells {
    columns.iter().map(|column| row[&column.name].clone()).collect()
}

impl World {
    /// The key sets, read before anything is touched.
    pub fn begin(&self, plan: &CompiledPlan, root_id: u32) -> Run {
        let row = &self.tables[&plan.root.table.name][&root_id];
        let mut run = Run { root: cells(row, &plan.root.columns), sets: Vec::new() };
        for set in &plan.key_sets {
            let rows = self.select(&run, &set.rows);
            let keys =
                rows.iter().map(|id| cells(&self.tables[&set.rows.table.name][id], &set.columns)).collect();
            run.sets.push(keys);
        }
        run
    }

    pub fn select(&self, run: &Run, rows: &Rows) -> BTreeSet<u32> {
        let table = &self.tables[&rows.table.name];
        let mut found: BTreeSet<u32> = BTreeSet::new();
        loop {
            let more: Vec<u32> = table
                .iter()
                .filter(|(id, row)| {
                    !found.contains(id)
                        && rows.any_of.iter().any(|any| self.matches(run, rows, any, row, &found))
                })
                .map(|(id, _)| *id)
                .collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        for except in &rows.except {
            let taken = self.select(run, except);
            found.retain(|id| !taken.contains(id));
        }
        if !rows.within.is_empty() {
            let within: BTreeSet<u32> = rows.within.iter().flat_map(|rows| self.select(run, rows)).collect();
            found.retain(|id| within.contains(id));
        }
        found
    }

    fn matches(&self, run: &Run, rows: &Rows, any: &Alternative, row: &Row, own: &BTreeSet<u32>) -> bool {
        let Alternative::Match { links, constants } = any else { panic!("no SQL here") };
        assert!(constants.is_empty());
        links.iter().all(|link| {
            let wanted = cells(row, &link.columns);
            wanted.iter().all(Option::is_some) && self.source(run, rows, link, own).contains(&wanted)
        })
    }

    fn source(&self, run: &Run, rows: &Rows, link: &Link, own: &BTreeSet<u32>) -> Vec<Cells> {
        let read = |table: &str, ids: &BTreeSet<u32>| -> Vec<Cells> {
            ids.iter().map(|id| cells(&self.tables[table][id], &link.source_columns)).collect()
        };
        match &link.source {
            Source::Root(positions) => vec![positions.iter().map(|&at| run.root[at].clone()).collect()],
            Source::Keys(set) => run.sets[*set].clone(),
            Source::Itself => read(&rows.table.name, own),
            Source::Live(all) => {
                all.iter().flat_map(|rows| read(&rows.table.name, &self.select(run, rows))).collect()
            }
        }
    }

    /// Carries out one step and says how many rows it worked on, or which row held it back.
    pub fn carry_out(&mut self, run: &Run, step: &Step) -> Result<usize, String> {
        if let (Some(openers), Action::Unlink { columns }) = (&step.openers, &step.action) {
            for id in self.select(run, openers) {
                self.set_null(&openers.table.name, id, columns);
            }
        }
        let table = &step.rows.table.name;
        let mut affected = 0;
        loop {
            // Fresh every time: a batch sees what the batch before it left.
            let selected = self.select(run, &step.rows);
            let next = match &step.action {
                Action::Keep
                | Action::KeepUntil(_)
                | Action::Export(_)
                | Action::Http(_)
                | Action::Rectify(_) => None,
                Action::Unlink { .. } => selected.iter().next().copied(),
                Action::Delete => self.leaf(&step.rows, &selected),
                Action::DeleteIfUnreferenced { references } => selected.iter().copied().find(|id| {
                    !references.iter().any(|reference| {
                        let own = cells(&self.tables[table][id], &reference.own_columns);
                        own.iter().all(Option::is_some)
                            && self.tables[&reference.table.name].iter().any(|(other, row)| {
                                (reference.table.name != *table || other != id)
                                    && cells(row, &reference.columns) == own
                            })
                    })
                }),
                Action::Mask(mask) => {
                    let to_do = |id: &u32| {
                        let row = &self.tables[table][id];
                        mask.assignments.iter().any(|one| masked(row, one) != row[&one.column.name])
                    };
                    let selected = selected.into_iter().filter(to_do).collect();
                    self.leaf(&step.rows, &selected)
                }
            };
            let Some(id) = next else { return Ok(affected) };
            affected += 1;
            match &step.action {
                Action::Keep
                | Action::KeepUntil(_)
                | Action::Export(_)
                | Action::Http(_)
                | Action::Rectify(_) => {}
                Action::Unlink { columns } => self.set_null(table, id, columns),
                Action::Delete | Action::DeleteIfUnreferenced { .. } => self.delete(table, id)?,
                Action::Mask(mask) => {
                    let row = self.tables.get_mut(table).and_then(|rows| rows.get_mut(&id)).unwrap();
                    for assignment in &mask.assignments {
                        let value = masked(row, assignment);
                        row.insert(assignment.column.name.clone(), value);
                    }
                }
            }
        }
    }

    /// A row to which, within a selection that reads itself, none of the others points: leaf first.
    fn leaf(&self, rows: &Rows, selected: &BTreeSet<u32>) -> Option<u32> {
        let table = &self.tables[&rows.table.name];
        let own: Vec<&Link> = rows
            .any_of
            .iter()
            .flat_map(Alternative::links)
            .filter(|link| link.source == Source::Itself)
            .collect();
        let pointed = |id: &u32| {
            own.iter().any(|link| {
                let target = cells(&table[id], &link.source_columns);
                selected.iter().any(|other| other != id && cells(&table[other], &link.columns) == target)
            })
        };
        // A circle of rows has no leaf; a database without deferred keys could not delete it either.
        selected.iter().copied().find(|id| !pointed(id)).or(selected.first().copied())
    }

    fn set_null(&mut self, table: &str, id: u32, columns: &[KeyColumn]) {
        let row = self.tables.get_mut(table).and_then(|rows| rows.get_mut(&id)).unwrap();
        for column in columns {
            row.insert(column.name.clone(), None);
        }
    }

    fn delete(&mut self, table: &str, id: u32) -> Result<(), String> {
        let value = Some(id.to_string());
        for key in self.keys.iter().filter(|key| key.parent == table) {
            let holder = self.tables[&key.child]
                .iter()
                .find(|(other, row)| row[&key.column] == value && (key.child != table || **other != id));
            if let Some((other, _)) = holder {
                return Err(format!("{table} {id} is held by {} {other} ({})", key.child, key.column));
            }
        }
        self.tables.get_mut(table).unwrap().remove(&id);
        Ok(())
    }
}

fn masked(row: &Row, assignment: &crate::domain::compiled::Assignment) -> Option<String> {
    let old = row[&assignment.column.name].clone();
    match &assignment.strategy {
        Strategy::NullRewrite => None,
        Strategy::StringRewrite(text) => old.map(|_| text.clone()),
        other => panic!("{other:?} is not simulated"),
    }
}
