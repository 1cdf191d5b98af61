//! Every entry leads to the person: what it is matched through, how deep it lies, and whether keys can be told
//! apart.

use std::collections::BTreeSet;

use super::model::{Alt, EntryId, Model};
use crate::domain::document::Reader;

/// What is known once every entry leads to the root.
pub(super) struct Paths {
    /// How many tables lie between an entry and the root.
    pub depth: Vec<usize>,
    /// Every entry after those that it is matched through.
    pub sequence: Vec<EntryId>,
}

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) -> Option<Paths> {
    let mut sound = true;
    for id in 0..model.entries.len() {
        sound &= check_seed(model, id, faults) && check_sql(model, id, faults);
        warn_of_shared(model, id, faults);
    }
    let mut walk =
        Walk { model, depth: vec![None; model.entries.len()], sequence: Vec::new(), trail: Vec::new() };
    for id in 0..model.entries.len() {
        if let Err(cycle) = walk.visit(id) {
            report_cycle(model, &cycle, faults);
            return None;
        }
    }
    let depth = walk.depth.iter().map(|depth| depth.unwrap_or(0)).collect();
    sound.then_some(Paths { depth, sequence: walk.sequence })
}

/// The entries whose selections this entry's selection is written with, besides its own.
pub(super) fn needs(model: &Model<'_>, id: EntryId) -> Vec<EntryId> {
    let mut needed: BTreeSet<EntryId> = BTreeSet::new();
    for (_, link) in model.links(id) {
        needed.extend(model.owned(link.target).filter(|&other| other != id));
    }
    if !model.entries[id].is_unlink() {
        // Rows that an earlier `unlink` takes are other people's.
        needed.extend(model.earlier(id).filter(|&other| model.entries[other].is_unlink()));
    }
    needed.into_iter().collect()
}

/// An entry that reads its own rows needs others to begin with.
fn check_seed(model: &Model<'_>, id: EntryId, faults: &mut Reader) -> bool {
    let entry = &model.entries[id];
    if entry.is_root || entry.is_unlink() {
        return true;
    }
    let begins = entry.alternatives.iter().any(|alt| {
        alt.links.iter().all(|link| {
            link.target == model.root.table
                || link.target != entry.table
                || model.owned(link.target).any(|other| other != id)
        })
    });
    if !begins {
        let problem = format!("`{}` is matched only through its own rows: it leads to nobody", entry.name);
        faults.error(entry.entry.line, problem, "add a `match` that leads to the person's row");
    }
    begins
}

/// Trusted SQL is asked once for given keys; only columns can be followed from row to row.
fn check_sql(model: &Model<'_>, id: EntryId, faults: &mut Reader) -> bool {
    let entry = &model.entries[id];
    let follows = |alt: &&Alt<'_>| {
        alt.pieces.is_some()
            && alt
                .links
                .iter()
                .any(|link| link.target == entry.table && model.owned(link.target).any(|own| own == id))
    };
    let Some(alt) = entry.alternatives.iter().find(follows) else { return true };
    let problem = format!(
        "the SQL of `{}` reads the rows of its own table, which would have to be followed to their end",
        entry.name
    );
    faults.error(
        alt.line,
        problem,
        "match columns, such as: parent_id: comments.id, or say `unlink` in a further entry",
    );
    false
}

/// Where another person's row may have the same value, their rows cannot be told apart.
fn warn_of_shared(model: &Model<'_>, id: EntryId, faults: &mut Reader) {
    let entry = &model.entries[id];
    let root = &model.tables[model.root.table];
    for (link, spec) in model.links(id) {
        let names: Vec<String> = spec.theirs.iter().map(|column| column.name.clone()).collect();
        if entry.may_be_shared() || spec.target != model.root.table || root.table.is_unique(&names) {
            continue;
        }
        let problem = format!(
            "`{}` is matched through {} of `{}`, which is not unique",
            entry.name,
            names.join(", "),
            root.shown
        );
        let remedy = "a person who shares that value with another makes the request fail with subject_ambiguous, unless `shared: true` stands beside this match";
        faults.warning(entry.alternatives[link.alternative].line, problem, remedy);
    }
}

struct Walk<'m, 'a> {
    model: &'m Model<'a>,
    depth: Vec<Option<usize>>,
    sequence: Vec<EntryId>,
    trail: Vec<EntryId>,
}

impl Walk<'_, '_> {
    /// `Err` holds the entries of a cycle.
    fn visit(&mut self, id: EntryId) -> Result<usize, Vec<EntryId>> {
        if let Some(depth) = self.depth[id] {
            return Ok(depth);
        }
        if let Some(start) = self.trail.iter().position(|&other| other == id) {
            return Err(self.trail[start..].to_vec());
        }
        self.trail.push(id);
        let mut depth = usize::from(!self.model.entries[id].is_root);
        for other in needs(self.model, id) {
            depth = depth.max(1 + self.visit(other)?);
        }
        self.trail.pop();
        self.depth[id] = Some(depth);
        self.sequence.push(id);
        Ok(depth)
    }
}

fn report_cycle(model: &Model<'_>, cycle: &[EntryId], faults: &mut Reader) {
    let names: Vec<String> = cycle.iter().map(|&id| format!("`{}`", model.entries[id].name)).collect();
    let Some(&first) = cycle.first() else { return };
    let line = cycle.iter().map(|&id| model.entries[id].entry.line).min().unwrap_or(0);
    let one_table = cycle.iter().all(|&id| model.entries[id].table == model.entries[first].table);
    let has_unlink = cycle.iter().any(|&id| model.entries[id].is_unlink());
    let problem = format!("the matches run in a circle: {} are found through each other", names.join(", "));
    let remedy = if one_table && has_unlink {
        "put the `unlink` entry after the entries of its table that it is matched through"
    } else if one_table {
        "make them one entry with several alternatives: match: [ {…}, {…} ]"
    } else {
        "match one of them through another column; rows of other people are opened with an `unlink` entry for a nullable column"
    };
    faults.error(line, problem, remedy);
}
