//! What would hold a deletion back: foreign keys onto rows that a step removes, or onto columns that it overwrites.
//!
//! Each needs an entry of the child table that covers exactly that key and removes its rows, or sets it to NULL,
//! first. `ON DELETE CASCADE` and `SET NULL` are no way out: they would erase or change rows that no step counts.

use std::collections::BTreeSet;

use super::{
    keeps,
    model::{Alt, EntryId, Model, Resolved, TableId},
    reads::found_by,
};
use crate::domain::{
    document::Reader,
    plan::{Erase, MaskStrategy},
    schema::{ForeignKey, OnDelete, Table, TableKind},
};

/// A foreign key onto what the step of entry `parent` removes or overwrites.
pub(super) struct Held<'a> {
    pub parent: EntryId,
    pub child: &'a Table,
    /// The child, if the plan names it.
    pub child_table: Option<TableId>,
    pub key: &'a ForeignKey,
}

/// Entries that are not relied upon to release a key in time (index into the list of [`Held`], entry): an
/// `unlink` opens their rows instead, because waiting for them would be a circle.
pub(super) type Opened = BTreeSet<(usize, EntryId)>;

/// How a foreign key is released before its parent's step.
pub(super) struct Cover {
    /// Entries whose steps must run before the parent's.
    pub first: Vec<EntryId>,
    /// An `unlink`, and the earlier entries whose rows it has to open.
    pub opener: Option<(EntryId, Vec<EntryId>)>,
}

/// Every foreign key that some step has to fear.
pub(super) fn held<'a>(model: &Model<'a>) -> Vec<Held<'a>> {
    onto(model, |entry| matches!(entry.erase(), Erase::Delete))
}

/// Rows that are deleted when their keep is over need the same: by then what points at them is gone, or goes with them.
pub(super) fn check_keeps(model: &Model<'_>, faults: &mut Reader) {
    let held = onto(model, Resolved::is_kept_for_a_time);
    for (index, key) in held.iter().enumerate() {
        let is_parent = model.entries[key.parent].is_kept_for_a_time();
        if is_parent && cover(model, &held, index, &Opened::new()).is_none_or(|cover| cover.opener.is_some())
        {
            report(model, key, faults);
        }
    }
}

/// A key onto a partition or an heir goes around what is known of its parent: rows would go, change or stand in the way
/// unseen.
pub(super) fn check_partitions(model: &Model<'_>, faults: &mut Reader) {
    for table in model.tables.iter().filter(|table| table.table.kind == TableKind::Partitioned) {
        let Some(catalog) = model.catalogs.get(table.connection) else { continue };
        // The catalog does not tell whose partition or heir it is.
        let is_partition = |key: &&ForeignKey| {
            let parent = catalog.table(Some(&key.parent_schema), &key.parent_table);
            parent.is_some_and(|parent| parent.kind == TableKind::Partition)
        };
        for child in &catalog.tables {
            let affected = child.foreign_keys.iter().filter(is_partition).find_map(|key| {
                let mut entries = table.entries.iter().map(|id| &model.entries[*id]);
                entries.find(|entry| removes(entry) || overwrites(entry, key)).map(|entry| (key, entry))
            });
            if let Some((key, entry)) = affected {
                report_around(child, key, &table.shown, entry, faults);
            }
        }
    }
}

fn report_around(child: &Table, key: &ForeignKey, shown: &str, entry: &Resolved<'_>, faults: &mut Reader) {
    let overwritten = key.parent_columns.join(", ");
    let (what, come_to, instead) = match removes(entry) {
        true => ("whose rows are deleted".to_owned(), "go", format!("mask `{shown}` instead of deleting it")),
        false => (
            format!("whose {overwritten} is overwritten"),
            "change",
            format!("preserve {overwritten} of `{shown}`"),
        ),
    };
    let problem = format!(
        "`{}.{}` references `{}`, a partition or an heir, perhaps of `{shown}`, {what}: its rows would {come_to} or stand \
         in the way unseen",
        child.name,
        key.columns.join(", "),
        key.parent_table,
    );
    faults.error(entry.entry.erase.line, problem, format!("point the key at `{shown}`, or {instead}"));
}

/// At once, or when its keep is over.
fn removes(entry: &Resolved<'_>) -> bool {
    entry.deletes() || entry.is_kept_for_a_time()
}

/// The step of that entry writes a column that the key references.
fn overwrites(entry: &Resolved<'_>, key: &ForeignKey) -> bool {
    let overwritten = entry.overwritten();
    key.parent_columns.iter().any(|column| overwritten.contains(&column.as_str()))
}

/// Every foreign key onto rows that `removes` says go, and onto columns that are overwritten.
fn onto<'a>(model: &Model<'a>, removes: impl Fn(&Resolved<'a>) -> bool) -> Vec<Held<'a>> {
    let mut all: Vec<Held<'a>> = Vec::new();
    for (parent, entry) in model.entries.iter().enumerate() {
        let place = model.table_of(parent);
        let removes = removes(entry);
        let Some(catalog) = model.catalogs.get(place.connection) else { continue };
        // A partition repeats the keys of its parent.
        for child in catalog.tables.iter().filter(|table| table.kind != TableKind::Partition) {
            for key in &child.foreign_keys {
                let here = key.parent_schema == place.table.schema && key.parent_table == place.table.name;
                let repeated = all.iter().any(|known| {
                    known.parent == parent && std::ptr::eq(known.child, child) && same_key(known.key, key)
                });
                if here && (removes || overwrites(entry, key)) && !repeated {
                    let child_table = model.find(place.connection, &child.schema, &child.name);
                    all.push(Held { parent, child, child_table, key });
                }
            }
        }
    }
    all
}

fn same_key(a: &ForeignKey, b: &ForeignKey) -> bool {
    a.columns == b.columns && a.parent_columns == b.parent_columns
}

/// How `held[index]` is released, if it is.
pub(super) fn cover(model: &Model<'_>, held: &[Held<'_>], index: usize, opened: &Opened) -> Option<Cover> {
    let case = Case { model, held: &held[index], index, opened };
    let entries = &model.tables[case.held.child_table?].entries;
    let mut with_opener = None;
    for &id in entries.iter().filter(|&&id| case.covers(id)) {
        let keepers: Vec<EntryId> = model.earlier(id).filter(|&other| !case.releases(other)).collect();
        let first = std::iter::once(id)
            .chain(model.earlier(id).filter(|&other| case.releases(other)))
            .filter(|&other| other != case.held.parent && !case.points_back(other))
            .collect();
        if keepers.is_empty() {
            return Some(Cover { first, opener: None });
        }
        if with_opener.is_none() && keepers.iter().all(|&keeper| can_open(model, id, keeper)) {
            with_opener = Some(Cover { first, opener: Some((id, keepers)) });
        }
    }
    with_opener
}

/// An `unlink` that could open the rows of `entry`, so that nothing has to wait for that entry.
pub(super) fn could_open(
    model: &Model<'_>,
    held: &[Held<'_>],
    index: usize,
    entry: EntryId,
    opened: &Opened,
) -> bool {
    let case = Case { model, held: &held[index], index, opened };
    let Some(child) = case.held.child_table else { return false };
    model.tables[child].entries.iter().any(|&id| {
        model.entries[id].position > model.entries[entry].position
            && case.covers(id)
            && can_open(model, id, entry)
    })
}

/// Setting the columns of the `unlink` to NULL loses none of the rows that `keeper` is about.
fn can_open(model: &Model<'_>, unlink: EntryId, keeper: EntryId) -> bool {
    let found = found_by(model, keeper);
    model.entries[unlink].is_unlink()
        && !found.is_opaque
        && !model.entries[unlink].unlinked().iter().any(|column| found.columns.contains(&column.name))
}

struct Case<'m, 'a> {
    model: &'m Model<'a>,
    held: &'m Held<'a>,
    index: usize,
    opened: &'m Opened,
}

impl Case<'_, '_> {
    /// The entry selects every row that points at the parent's rows, and releases it.
    fn covers(&self, id: EntryId) -> bool {
        let entry = &self.model.entries[id];
        entry.entry.filter.is_none()
            && !self.model.entries[self.held.parent].is_unlink()
            && entry.alternatives.iter().any(|alt| self.is_exact(id, alt))
            && self.releases(id)
    }

    /// That alternative selects by this very key and nothing else.
    fn is_exact(&self, id: EntryId, alt: &Alt<'_>) -> bool {
        let parent = self.model.entries[self.held.parent].table;
        let [link] = alt.links.as_slice() else { return false };
        let key = self.held.key;
        let in_key = |own: &str, theirs: &str| {
            key.columns
                .iter()
                .zip(&key.parent_columns)
                .any(|(child, column)| child == own && column == theirs)
        };
        link.target == parent
            && self.model.table_of(id).connection == self.model.tables[parent].connection
            && alt.constants.is_empty()
            && alt.pieces.is_none()
            && !link.own.is_empty()
            && link.own.iter().zip(&link.theirs).all(|(own, theirs)| in_key(&own.name, &theirs.name))
    }

    /// The person's row, where the parent's rows are found by pointing at it through this very key: it points at them
    /// only if rows point at each other in a circle, as no table with an order of its own does.
    fn points_back(&self, id: EntryId) -> bool {
        let parent = &self.model.entries[self.held.parent];
        let follows = |alt: &Alt<'_>| self.is_exact(self.held.parent, alt);
        self.model.entries[id].is_root && parent.alternatives.iter().any(follows)
    }

    /// The step of that entry removes its rows, or sets the key to NULL, before the parent's step.
    fn releases(&self, id: EntryId) -> bool {
        let entry = &self.model.entries[id];
        let parent = &self.model.entries[self.held.parent];
        if self.opened.contains(&(self.index, id)) {
            return false;
        }
        let in_time = if id == self.held.parent {
            // One row goes at once; rows that are followed to the end go leaf first.
            entry.is_root || entry.alternatives.iter().any(|alt| self.is_exact(id, alt))
        } else {
            // Further entries run before earlier ones.
            entry.table != parent.table || entry.position > parent.position || self.points_back(id)
        };
        if !in_time {
            return false;
        }
        let in_key = |column: &str| self.held.key.columns.iter().any(|known| known == column);
        match entry.erase() {
            Erase::Delete => true,
            Erase::Unlink => entry.unlinked().iter().any(|column| in_key(&column.name)),
            Erase::Mask { columns, .. } => columns.iter().any(|(column, strategy)| {
                strategy.value == MaskStrategy::NullRewrite && in_key(&column.value)
            }),
            Erase::Keep(_) => keeps::follows(self.model, id, self.held.parent),
            Erase::DeleteIfUnreferenced | Erase::None(_) | Erase::Call { .. } => false,
        }
    }
}

/// Reports a key that nothing releases.
pub(super) fn report(model: &Model<'_>, held: &Held<'_>, faults: &mut Reader) {
    let parent = model.table_of(held.parent);
    let entry = &model.entries[held.parent];
    let columns = held.key.columns.join(", ");
    let child = match held.child_table {
        Some(table) => model.tables[table].shown.clone(),
        None => format!(
            "{}.{}",
            parent.connection,
            super::resolve::dotted(&[&held.child.schema, &held.child.name])
        ),
    };
    let nullable = |name: &String| held.child.column(name).is_some_and(|column| column.nullable);
    let is_nullable = held.key.columns.iter().any(nullable);
    let null = if is_nullable { "can be NULL" } else { "is NOT NULL" };
    let what = if entry.deletes() {
        format!("`{}`, whose rows are deleted", parent.shown)
    } else if entry.is_kept_for_a_time() {
        format!("`{}`, whose rows are deleted when their keep is over", parent.shown)
    } else {
        format!("`{}`, whose {} is overwritten", parent.shown, held.key.parent_columns.join(", "))
    };
    let unseen = match held.key.on_delete {
        OnDelete::Cascade => "; ON DELETE CASCADE would erase rows that no step counts",
        OnDelete::SetNull | OnDelete::SetDefault => {
            "; its ON DELETE action would change rows that no step counts"
        }
        OnDelete::NoAction | OnDelete::Restrict => "",
    };
    let why = reason(model, held);
    let problem = format!("`{child}.{columns}` {null} and references {what}: {why}{unseen}");
    let line = match held.child_table.and_then(|table| model.tables[table].entries.first()) {
        Some(&first) => model.entries[first].entry.erase.line,
        None => entry.entry.erase.line,
    };
    let mut remedy = match entry.is_kept_for_a_time() {
        true => remedy_of_keep(held, &parent.table.name),
        false => remedy(held, &parent.table.name, is_nullable, entry.deletes()),
    };
    if held.child_table == Some(entry.table) && entry.position > 0 {
        remedy.push_str(
            "; or make the entries of this table one, with several alternatives: match: [ {…}, {…} ]",
        );
    }
    faults.error(line, problem, remedy);
}

fn reason(model: &Model<'_>, held: &Held<'_>) -> String {
    let Some(table) = held.child_table else {
        return "its table is not in this plan".to_owned();
    };
    let opened = Opened::new();
    let case = Case { model, held, index: 0, opened: &opened };
    let entries = || model.tables[table].entries.iter().copied();
    let exact = entries().find(|&id| model.entries[id].alternatives.iter().any(|alt| case.is_exact(id, alt)));
    let Some(id) = exact else {
        return "no entry matches exactly the rows that point there".to_owned();
    };
    let entry = &model.entries[id];
    if entry.entry.filter.is_some() {
        return format!("the `where` of `{}` leaves rows out", entry.name);
    }
    if !case.releases(id) {
        return format!("`{}` leaves rows that point there", entry.name);
    }
    match model.earlier(id).find(|&other| !case.releases(other)) {
        Some(keeper) => format!(
            "`{}` takes rows before `{}` and leaves them pointing there",
            model.entries[keeper].name, entry.name
        ),
        None => "no entry releases it first".to_owned(),
    }
}

/// As a `match` names it.
fn pairs(held: &Held<'_>, parent: &str) -> String {
    let pairs = held.key.columns.iter().zip(&held.key.parent_columns);
    pairs.map(|(child, column)| format!("{child}: {parent}.{column}")).collect::<Vec<_>>().join(", ")
}

fn remedy_of_keep(held: &Held<'_>, parent: &str) -> String {
    format!(
        "give `{}` an entry with `match: {{ {} }}` that is deleted, or kept as long: until: \"{parent}.COLUMN + PERIOD\"; \
         or leave `until` of `{parent}` out",
        held.child.name,
        pairs(held, parent)
    )
}

fn remedy(held: &Held<'_>, parent: &str, is_nullable: bool, parent_deletes: bool) -> String {
    let instead = if parent_deletes {
        format!("mask `{parent}` instead of deleting it")
    } else {
        format!("preserve {} of `{parent}`", held.key.parent_columns.join(", "))
    };
    let release = if is_nullable {
        "`erase: delete`, `erase: unlink` or a mask with null_rewrite of that column"
    } else {
        "`erase: delete`"
    };
    format!(
        "give `{}` an entry with `match: {{ {} }}` and {release}; or {instead}",
        held.child.name,
        pairs(held, parent)
    )
}
