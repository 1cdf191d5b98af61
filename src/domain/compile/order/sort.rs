//! Circles, and the topological order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    super::{
        model::{EntryId, Model},
        paths::Paths,
    },
    Edge,
};

/// The edges of some circle, if there is one; the same one for the same edges.
pub(super) fn circle(nodes: usize, edges: &[Edge]) -> Option<Vec<Edge>> {
    let mut search = Search { next: BTreeMap::new(), state: vec![State::New; nodes], trail: Vec::new() };
    for edge in edges {
        search.next.entry(edge.from).or_default().push(edge);
    }
    (0..nodes).find_map(|node| search.visit(node))
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

struct Search<'e> {
    next: BTreeMap<EntryId, Vec<&'e Edge>>,
    state: Vec<State>,
    trail: Vec<&'e Edge>,
}

impl<'e> Search<'e> {
    fn visit(&mut self, node: EntryId) -> Option<Vec<Edge>> {
        if self.state[node] != State::New {
            return None;
        }
        self.state[node] = State::Open;
        let next: Vec<&'e Edge> = self.next.get(&node).cloned().unwrap_or_default();
        for edge in next {
            self.trail.push(edge);
            if self.state[edge.to] == State::Open {
                let start = self.trail.iter().position(|known| known.from == edge.to).unwrap_or(0);
                return Some(self.trail[start..].iter().map(|&edge| edge.clone()).collect());
            }
            if let Some(circle) = self.visit(edge.to) {
                return Some(circle);
            }
            self.trail.pop();
        }
        self.state[node] = State::Done;
        None
    }
}

/// Connection by connection, the root's last: no edge crosses connections. Within one: `unlink` first, what lies
/// deeper first, then the order of the file; the root's row last of all but what must follow it.
pub(super) fn sort(model: &Model<'_>, paths: &Paths, edges: &[Edge]) -> Vec<EntryId> {
    let root = model.tables[model.root.table].entries.first().copied();
    let mut pairs: BTreeSet<(EntryId, EntryId)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
    if let Some(root) = root {
        let follow = followers(root, &pairs);
        pairs.extend(
            (0..model.entries.len()).filter(|id| *id != root && !follow.contains(id)).map(|id| (id, root)),
        );
    }
    let root_connection = model.tables[model.root.table].connection;
    let rank = |id: EntryId| {
        let connection = model.table_of(id).connection;
        let position = model.plan.connections.iter().position(|known| known.value == connection);
        (connection == root_connection, position)
    };
    let mut waiting: Vec<EntryId> =
        (0..model.entries.len()).filter(|&id| model.entries[id].is_step()).collect();
    waiting.sort_by_key(|&id| (rank(id), !model.entries[id].is_unlink(), Reverse(paths.depth[id]), id));
    let mut sorted = Vec::new();
    while !waiting.is_empty() {
        let free = waiting.iter().position(|&id| !waiting.iter().any(|&other| pairs.contains(&(other, id))));
        // There is no circle, so some step is always free.
        sorted.push(waiting.remove(free.unwrap_or(0)));
    }
    sorted
}

fn followers(root: EntryId, pairs: &BTreeSet<(EntryId, EntryId)>) -> BTreeSet<EntryId> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        for &(_, to) in pairs.iter().filter(|(from, _)| *from == node) {
            if found.insert(to) {
                open.push(to);
            }
        }
    }
    found
}
