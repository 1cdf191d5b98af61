//! The order of steps (DESIGN.md §4.3). Hard edges come from foreign keys and from entries of one table; path edges
//! from selections that are read through live rows. A circle is opened by reading keys beforehand, or by an `unlink`
//! that opens rows before others remove them; what remains is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    foreign_keys::{self, Held, Opened},
    model::{EntryId, LinkId, Model},
    paths::Paths,
    pointers,
    reads::{self, Forced, Openers, Read},
};
use crate::domain::{document::Reader, plan::Erase};

mod sort;

/// The steps in their order, and what had to be read beforehand to make it possible.
pub(super) struct Order {
    pub steps: Vec<EntryId>,
    /// For each step, the positions of earlier ones whose path it cuts.
    pub cuts: Vec<Vec<usize>>,
    pub forced: Forced,
    pub openers: Openers,
}

/// `from` runs before `to`.
#[derive(Debug, Clone)]
struct Edge {
    from: EntryId,
    to: EntryId,
    kind: EdgeKind,
}

#[derive(Debug, Clone)]
enum EdgeKind {
    /// Entries of one table: a row that fits several is taken by the first.
    Entries,
    /// Index into the foreign keys that some step has to fear.
    ForeignKey(usize),
    /// A row that others still point to stays.
    Referenced,
    /// `to` cuts what `from` is read through, by way of this link.
    Path(LinkId),
}

pub(super) fn order(model: &Model<'_>, paths: &Paths, faults: &mut Reader) -> Option<Order> {
    let held = foreign_keys::held(model);
    if !check_keys(model, &held, faults) {
        return None;
    }
    let mut forced = Forced::new();
    let mut opened = Opened::new();
    // Each round decides one thing for good, so it ends.
    loop {
        let (openers, mut edges) = key_edges(model, &held, &opened, faults)?;
        edges.extend(entry_edges(model));
        let all = reads::all(model, paths, &forced);
        edges.extend(path_edges(model, &openers, &all));
        let Some(circle) = sort::circle(model.entries.len(), &edges) else {
            let steps = sort::sort(model, paths, &edges);
            let cuts = cuts(&steps, &edges);
            return Some(Order { steps, cuts, forced, openers });
        };
        let path = circle.iter().find_map(|edge| match edge.kind {
            EdgeKind::Path(link) => Some(link),
            _ => None,
        });
        let openable = circle.iter().find_map(|edge| match edge.kind {
            EdgeKind::ForeignKey(index)
                if foreign_keys::could_open(model, &held, index, edge.from, &opened) =>
            {
                Some((index, edge.from))
            }
            _ => None,
        });
        if let Some(link) = path {
            forced.insert(link);
        } else if let Some(opening) = openable {
            opened.insert(opening);
        } else {
            report_circle(model, &held, &circle, faults);
            return None;
        }
    }
}

fn check_keys(model: &Model<'_>, held: &[Held<'_>], faults: &mut Reader) -> bool {
    let mut sound = true;
    for (index, key) in held.iter().enumerate() {
        if foreign_keys::cover(model, held, index, &Opened::new()).is_none() {
            foreign_keys::report(model, key, faults);
            sound = false;
        }
    }
    sound
}

/// Children before parents, and what each `unlink` has to open for that.
fn key_edges(
    model: &Model<'_>,
    held: &[Held<'_>],
    opened: &Opened,
    faults: &mut Reader,
) -> Option<(Openers, Vec<Edge>)> {
    let mut openers: BTreeMap<EntryId, BTreeSet<EntryId>> = BTreeMap::new();
    let mut edges = Vec::new();
    for (index, key) in held.iter().enumerate() {
        let Some(cover) = foreign_keys::cover(model, held, index, opened) else {
            foreign_keys::report(model, key, faults);
            return None;
        };
        for from in cover.first.into_iter().filter(|&from| model.entries[from].is_step()) {
            edges.push(Edge { from, to: key.parent, kind: EdgeKind::ForeignKey(index) });
        }
        if let Some((unlink, within)) = cover.opener {
            openers.entry(unlink).or_default().extend(within);
        }
    }
    let openers =
        openers.into_iter().map(|(unlink, within)| (unlink, within.into_iter().collect())).collect();
    Some((openers, edges))
}

fn entry_edges(model: &Model<'_>) -> Vec<Edge> {
    let is_step = |id: &EntryId| model.entries[*id].is_step();
    let mut edges = Vec::new();
    for id in (0..model.entries.len()).filter(is_step) {
        for earlier in model.earlier(id).filter(is_step) {
            edges.push(Edge { from: id, to: earlier, kind: EdgeKind::Entries });
        }
        if !matches!(model.entries[id].erase(), Erase::DeleteIfUnreferenced) {
            continue;
        }
        for table in pointers::tables(model, id).into_iter().filter(|&table| table != model.entries[id].table)
        {
            for from in model.tables[table].entries.iter().copied().filter(is_step) {
                edges.push(Edge { from, to: id, kind: EdgeKind::Referenced });
            }
        }
    }
    edges
}

fn path_edges(model: &Model<'_>, openers: &Openers, all: &[Vec<Read>]) -> Vec<Edge> {
    let is_step = |id: &EntryId| model.entries[*id].is_step();
    let mut edges = Vec::new();
    for from in (0..model.entries.len()).filter(is_step) {
        for read in reads::of_step(model, all, from) {
            for to in (0..model.entries.len()).filter(is_step) {
                if reads::cuts(model, openers, to, &read) {
                    edges.push(Edge { from, to, kind: EdgeKind::Path(read.link) });
                }
            }
        }
    }
    edges
}

fn cuts(steps: &[EntryId], edges: &[Edge]) -> Vec<Vec<usize>> {
    let at: BTreeMap<EntryId, usize> = steps.iter().enumerate().map(|(index, &id)| (id, index)).collect();
    let mut cuts: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); steps.len()];
    for edge in edges.iter().filter(|edge| matches!(edge.kind, EdgeKind::Path(_))) {
        if let (Some(&from), Some(&to)) = (at.get(&edge.from), at.get(&edge.to)) {
            cuts[to].insert(from);
        }
    }
    cuts.into_iter().map(|earlier| earlier.into_iter().collect()).collect()
}

fn report_circle(model: &Model<'_>, held: &[Held<'_>], circle: &[Edge], faults: &mut Reader) {
    let mut because = Vec::new();
    for edge in circle {
        let (from, to) = (&model.entries[edge.from].name, &model.entries[edge.to].name);
        because.push(match edge.kind {
            EdgeKind::ForeignKey(index) => {
                let key = held[index].key;
                format!(
                    "`{from}` before `{to}` ({} references {})",
                    key.columns.join(", "),
                    key.parent_columns.join(", ")
                )
            }
            EdgeKind::Entries => format!("`{from}` before `{to}` (further entries of a table run first)"),
            EdgeKind::Referenced => format!("`{from}` before `{to}` (its rows may point there)"),
            EdgeKind::Path(_) => format!("`{from}` before `{to}` (found through it)"),
        });
    }
    let line = circle.iter().map(|edge| model.entries[edge.from].entry.line).min().unwrap_or(0);
    let entries_only = circle.iter().any(|edge| matches!(edge.kind, EdgeKind::Entries));
    let remedy = if entries_only {
        "put the `unlink` entry last in its table"
    } else {
        "open the circle with a further entry that says `unlink` for one of these columns, if it can be NULL"
    };
    faults.error(line, format!("no order of steps is possible: {}", because.join(", ")), remedy);
}
