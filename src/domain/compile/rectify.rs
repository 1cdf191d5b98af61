//! `rectify`: which columns may be corrected, what would hold a correction back, and where copies of a value lie.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    model::{EntryId, Model, Resolved, TableId, key_column, key_columns, table_name},
    paths::Paths,
    resources,
    rows::Builder,
};
use crate::domain::{
    compiled::{Action, Rows, Step},
    document::Reader,
    rectification::{Copied, Correctable, Fixed, PointsAt, Rectification, System, UniqueColumns},
    schema::{Column, Table, TableKind},
};

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for entry in &model.entries {
        let place = &model.tables[entry.table];
        let rectify = &entry.entry.rectify;
        if let (true, Some(first)) = (entry.is_unlink(), rectify.first()) {
            let problem = format!("`rectify` of `{}`: an `unlink` is about other people's rows", entry.name);
            faults.error(first.line, problem, "leave it out: nobody corrects the rows of others");
        }
        if let (true, None) = (entry.entry.cascade, rectify.first()) {
            let (problem, remedy) = match entry.entry.rectify_call {
                Some(_) => ("is of tables alone", "leave it out: `fields` says what a service is given"),
                None => {
                    ("stands beside no `rectify`", "list the columns that may be corrected, or leave it out")
                }
            };
            faults.error(entry.entry.line, format!("`cascade` of `{}` {problem}", entry.name), remedy);
        }
        for name in rectify {
            let Some(column) = place.table.column(&name.value) else { continue };
            let what = format!("`rectify` of `{}` names `{}`", entry.name, name.value);
            if column.generated {
                let remedy = "leave it out: the database computes it";
                faults.error(name.line, format!("{what}, which is generated"), remedy);
            }
            if is_scope(model, entry.table, column) {
                let remedy = "leave it out: it says among whom the person is looked for";
                faults.error(name.line, format!("{what}, which is part of the scope"), remedy);
            }
            if let Some(fixed) = fixed(model, entry, column) {
                let because = match fixed {
                    Fixed::Key => "the key of the person's own row".to_owned(),
                    Fixed::Referenced(table) => format!("which a foreign key of `{table}` points at"),
                };
                let remedy = "leave it out: requests that want to correct it are refused";
                faults.warning(name.line, format!("{what}, {because}"), remedy);
            }
        }
    }
}

fn is_scope(model: &Model<'_>, table: TableId, column: &Column) -> bool {
    table == model.root.table && model.root.scope.iter().any(|scope| scope.column.name == column.name)
}

/// The columns of an entry that a rectification may write, carried along ones included.
pub(super) fn written<'a>(model: &Model<'a>, id: EntryId) -> Vec<&'a Column> {
    let reached = reached(model);
    let columns = &model.tables[model.entries[id].table].table.columns;
    columns.iter().filter(|column| reached.contains(&(id, column.name.as_str()))).collect()
}

fn is_listed(entry: &Resolved<'_>, column: &Column) -> bool {
    entry.entry.rectify.iter().any(|listed| listed.value == column.name)
}

/// Listed columns, and whatever is matched to them, to the end.
fn reached<'a>(model: &Model<'a>) -> BTreeSet<(EntryId, &'a str)> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<(EntryId, &'a str)> = Vec::new();
    for (id, entry) in model.entries.iter().enumerate() {
        let listed = model.tables[entry.table].table.columns.iter().filter(|column| is_listed(entry, column));
        open.extend(listed.map(|column| (id, column.name.as_str())));
    }
    while let Some(place) = open.pop() {
        if !reached.insert(place) {
            continue;
        }
        let (source, name) = place;
        for id in (0..model.entries.len()).filter(|&id| id != source) {
            let links = model.links(id).filter(|(_, link)| link.target == model.entries[source].table);
            let pairs = links.flat_map(|(_, link)| link.own.iter().zip(&link.theirs));
            open.extend(
                pairs.filter(|(_, theirs)| theirs.name == name).map(|(own, _)| (id, own.name.as_str())),
            );
        }
    }
    reached
}

/// The steps, in the order of execution.
pub(super) fn steps(builder: &mut Builder<'_, '_>, paths: &Paths) -> Vec<Step> {
    let model = builder.model;
    let root_connection = model.tables[model.root.table].connection;
    let mut ids: Vec<EntryId> = (0..model.entries.len()).collect();
    ids.sort_by_key(|&id| {
        let connection = model.table_of(id).connection;
        let position = model.plan.connections.iter().position(|known| known.value == connection);
        (connection == root_connection, position, Reverse(paths.depth[id]), id)
    });
    // Services come last: what a database refuses is found out before anything is sent.
    let at_services: Vec<Step> = (0..model.entries.len())
        .filter_map(|id| resources::rectify(&model.entries[id]).map(|action| builder.at_service(id, action)))
        .collect();
    ids.into_iter().filter_map(|id| step(builder, id)).chain(at_services).collect()
}

fn step(builder: &mut Builder<'_, '_>, id: EntryId) -> Option<Step> {
    let model = builder.model;
    let entry = &model.entries[id];
    if model.is_resource(entry) {
        return None;
    }
    let columns: Vec<Correctable> =
        written(model, id).into_iter().map(|column| correctable(model, entry, column)).collect();
    if columns.is_empty() {
        return None;
    }
    // A row that an `unlink` takes in an erasure may be the person's own all the same.
    let earlier: Vec<EntryId> =
        model.earlier(id).filter(|&other| !model.entries[other].is_unlink()).collect();
    let table = model.tables[entry.table].table;
    Some(Step {
        name: entry.name.clone(),
        connection: model.table_of(id).connection.to_owned(),
        rows: Rows { except: builder.bare_all(&earlier), ..builder.bare(id) },
        action: Action::Rectify(Rectification {
            system: System::of(table),
            columns,
            cascade: entry.entry.cascade,
        }),
        basis: None,
        is_root: entry.is_root,
        cuts: Vec::new(),
        openers: None,
    })
}

fn correctable(model: &Model<'_>, entry: &Resolved<'_>, column: &Column) -> Correctable {
    Correctable {
        listed: is_listed(entry, column),
        fixed: fixed(model, entry, column),
        copies: copies(model, entry.table, column),
        unique: unique(model, entry, column),
        foreign_keys: foreign_keys(model, entry.table, column),
        ..Correctable::of(column)
    }
}

fn fixed(model: &Model<'_>, entry: &Resolved<'_>, column: &Column) -> Option<Fixed> {
    let place = &model.tables[entry.table];
    let is_key = model.root.key.iter().any(|key| key.name == column.name);
    if entry.table == model.root.table && is_key {
        return Some(Fixed::Key);
    }
    let catalog = model.catalogs.get(place.connection)?;
    let points_here = |child: &&Table| {
        child.foreign_keys.iter().any(|key| {
            key.parent_schema == place.table.schema
                && key.parent_table == place.table.name
                && key.parent_columns.contains(&column.name)
        })
    };
    let child = catalog.tables.iter().filter(|table| table.kind != TableKind::Partition).find(points_here)?;
    Some(Fixed::Referenced(child.name.clone()))
}

/// Entries that are matched through that column.
fn copies(model: &Model<'_>, table: TableId, column: &Column) -> Vec<Copied> {
    let mut all: Vec<Copied> = Vec::new();
    // What comes from another entry of the table stands in the same column, and would be changed with it.
    let is_only_source = table == model.root.table || model.owned(table).count() <= 1;
    for (id, entry) in model.entries.iter().enumerate() {
        for (_, link) in model.links(id).filter(|(_, link)| link.target == table) {
            for (at, _) in link.theirs.iter().enumerate().filter(|(_, theirs)| theirs.name == column.name) {
                let own = link.own.get(at).filter(|_| is_only_source).map(|own| own.name.clone());
                let copied = Copied { step: entry.name.clone(), column: own };
                if !all.contains(&copied) {
                    all.push(copied);
                }
            }
        }
    }
    all
}

fn unique(model: &Model<'_>, entry: &Resolved<'_>, column: &Column) -> Vec<UniqueColumns> {
    let table = model.tables[entry.table].table;
    let is_about = |names: &[String]| names.contains(&column.name);
    let keys = table.unique_keys.iter().filter(|key| is_about(key));
    let mut all: Vec<UniqueColumns> = keys
        .map(|key| UniqueColumns { columns: named(table, key), ignore_case: vec![false; key.len()] })
        .collect();
    if !entry.is_root {
        return all;
    }
    // One identity leads to one person, and what others are matched by must not be another's too.
    let root = &model.root;
    let identities = root.identities.iter().filter(|identity| identity.column.name == column.name);
    let identities = identities.map(|identity| {
        let scope = root.scope.iter().map(|scope| scope.column.name.clone());
        std::iter::once(identity.column.name.clone()).chain(scope).collect::<Vec<String>>()
    });
    let matched = (0..model.entries.len())
        .filter(|&id| !model.entries[id].may_be_shared())
        .flat_map(|id| model.links(id).filter(|(_, link)| link.target == root.table))
        .map(|(_, link)| link.theirs.iter().map(|theirs| theirs.name.clone()).collect::<Vec<String>>());
    for names in identities.chain(matched).filter(|names| is_about(names)) {
        let columns: Vec<&Column> = names.iter().filter_map(|name| table.column(name)).collect();
        let set = UniqueColumns {
            ignore_case: columns.iter().map(|column| model.ignores_case(entry.table, column)).collect(),
            columns: key_columns(&columns),
        };
        if !all.contains(&set) {
            all.push(set);
        }
    }
    all
}

fn named(table: &Table, names: &[String]) -> Vec<crate::domain::compiled::KeyColumn> {
    names.iter().filter_map(|name| table.column(name)).map(key_column).collect()
}

/// Keys of this table whose parent may be read; the others are left to the database.
fn foreign_keys(model: &Model<'_>, table: TableId, column: &Column) -> Vec<PointsAt> {
    let place = &model.tables[table];
    let Some(catalog) = model.catalogs.get(place.connection) else { return Vec::new() };
    let keys = place.table.foreign_keys.iter().filter(|key| key.columns.contains(&column.name));
    keys.filter_map(|key| {
        let parent = catalog.table(Some(&key.parent_schema), &key.parent_table)?;
        let found = PointsAt {
            table: table_name(parent),
            columns: named(place.table, &key.columns),
            parent_columns: named(parent, &key.parent_columns),
        };
        let whole =
            found.columns.len() == key.columns.len() && found.parent_columns.len() == key.columns.len();
        (parent.rights.select && whole).then_some(found)
    })
    .collect()
}
