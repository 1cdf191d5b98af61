//! Which live rows a selection is read through, and which steps cut such a path: by removing those rows, or by
//! overwriting what they are found by or read for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    model::{EntryId, LinkId, Model},
    paths::Paths,
};

/// Links that are read into key sets beforehand instead of live.
pub(super) type Forced = BTreeSet<LinkId>;
/// For an `unlink`: the earlier entries whose rows it opens.
pub(super) type Openers = BTreeMap<EntryId, Vec<EntryId>>;

/// The rows of an entry, read for some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// The link that would have to become a key set to be rid of this read.
    pub link: LinkId,
    pub source: EntryId,
    pub columns: Vec<String>,
}

/// The link is a subquery over live rows: on one connection, and not read beforehand.
pub(super) fn is_live(model: &Model<'_>, forced: &Forced, link: LinkId) -> bool {
    let spec = &model.entries[link.entry].alternatives[link.alternative].links[link.link];
    let same = model.tables[spec.target].connection == model.table_of(link.entry).connection;
    same && !forced.contains(&link)
}

/// Everything that the bare selection of each entry is read through.
pub(super) fn all(model: &Model<'_>, paths: &Paths, forced: &Forced) -> Vec<Vec<Read>> {
    let mut reads: Vec<Vec<Read>> = vec![Vec::new(); model.entries.len()];
    for &id in &paths.sequence {
        let mut own: Vec<Read> = Vec::new();
        let mut push = |read: Read| {
            if !own.contains(&read) {
                own.push(read);
            }
        };
        for (link, spec) in model.links(id).filter(|(link, _)| is_live(model, forced, *link)) {
            let columns: Vec<String> = spec.theirs.iter().map(|column| column.name.clone()).collect();
            for source in model.owned(spec.target).filter(|&source| source != id) {
                push(Read { link, source, columns: columns.clone() });
                for further in &reads[source] {
                    push(Read { link, source: further.source, columns: further.columns.clone() });
                }
            }
        }
        if !model.entries[id].is_unlink() {
            for other in model.earlier(id).filter(|&other| model.entries[other].is_unlink()) {
                reads[other].iter().cloned().for_each(&mut push);
            }
        }
        reads[id] = own;
    }
    reads
}

/// What the step of that entry is read through: its own selection, and those of earlier entries, whose rows it
/// leaves alone.
pub(super) fn of_step(model: &Model<'_>, reads: &[Vec<Read>], id: EntryId) -> Vec<Read> {
    let mut all = reads[id].clone();
    for earlier in model.earlier(id) {
        for read in &reads[earlier] {
            if !all.contains(read) {
                all.push(read.clone());
            }
        }
    }
    all
}

/// The step of entry `step` changes what `read` selects.
pub(super) fn cuts(model: &Model<'_>, openers: &Openers, step: EntryId, read: &Read) -> bool {
    let acting = &model.entries[step];
    let source = &model.entries[read.source];
    if acting.table != source.table || !acting.is_step() {
        return false;
    }
    let overwritten = acting.overwritten();
    let touches_what_matters = || {
        let found = found_by(model, read.source);
        overwritten
            .iter()
            .any(|column| found.columns.contains(*column) || read.columns.iter().any(|c| c == column))
    };
    if step == read.source {
        return acting.deletes()
            || (!overwritten.is_empty() && (touches_what_matters() || found_by(model, step).is_opaque));
    }
    if !acting.is_unlink() {
        return false;
    }
    let opens = openers.get(&step).is_some_and(|within| within.contains(&read.source));
    (opens && touches_what_matters()) || acting.position < source.position
}

/// The columns of its own table by which the rows of an entry are found.
pub(super) struct FoundBy {
    pub columns: BTreeSet<String>,
    /// Trusted SQL takes part: any column may matter.
    pub is_opaque: bool,
}

pub(super) fn found_by(model: &Model<'_>, id: EntryId) -> FoundBy {
    let entry = &model.entries[id];
    let mut columns: BTreeSet<String> = BTreeSet::new();
    if entry.is_root {
        columns.extend(model.root.key.iter().map(|column| column.name.clone()));
        let identities = model.root.identities.iter().chain(&model.root.scope);
        columns.extend(identities.map(|identity| identity.column.name.clone()));
    }
    for alt in &entry.alternatives {
        columns.extend(alt.constants.iter().map(|(column, _)| column.name.clone()));
        for link in &alt.links {
            columns.extend(link.own.iter().map(|column| column.name.clone()));
            if link.target == entry.table {
                columns.extend(link.theirs.iter().map(|column| column.name.clone()));
            }
        }
    }
    let is_opaque = entry.entry.filter.is_some() || entry.alternatives.iter().any(|alt| alt.pieces.is_some());
    FoundBy { columns, is_opaque }
}
