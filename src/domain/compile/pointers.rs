//! What points at the rows of a `delete_if_unreferenced`: live foreign keys, and matches of the plan.

use super::model::{EntryId, Model, TableId, key_columns, table_name};
use crate::domain::{
    compiled::Reference,
    document::Reader,
    plan::Erase,
    schema::{Column, Table, TableKind},
};

/// A table whose columns point at columns of the entry's own rows.
struct Pointer<'a> {
    table: &'a Table,
    columns: Vec<&'a Column>,
    own: Vec<&'a Column>,
}

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for (id, entry) in model.entries.iter().enumerate() {
        if !matches!(entry.erase(), Erase::DeleteIfUnreferenced) {
            continue;
        }
        let here = model.table_of(id).connection;
        for (link, spec) in model.links(id) {
            if model.tables[spec.target].connection != here {
                let problem = format!(
                    "`{}` says delete_if_unreferenced and is matched through another connection: what points at it there cannot be locked",
                    entry.name
                );
                faults.error(
                    entry.alternatives[link.alternative].line,
                    problem,
                    "say delete, or match it through a table of its own connection",
                );
            }
        }
        for pointer in pointers(model, id) {
            if !pointer.table.rights.select {
                let name = super::tables::sql_name(pointer.table);
                let role = &pointer.table.rights.role;
                let problem = format!("role {role} lacks SELECT on {name}, which points at `{}`", entry.name);
                faults.error(entry.entry.erase.line, problem, format!("GRANT SELECT ON {name} TO {role};"));
            }
        }
    }
}

/// The compiled list, in an order of its own: the catalog's is no promise.
pub(super) fn references(model: &Model<'_>, id: EntryId) -> Vec<Reference> {
    let mut references: Vec<Reference> = pointers(model, id)
        .into_iter()
        .map(|pointer| Reference {
            table: table_name(pointer.table),
            columns: key_columns(&pointer.columns),
            own_columns: key_columns(&pointer.own),
        })
        .collect();
    let names = |columns: &[crate::domain::compiled::KeyColumn]| -> Vec<String> {
        columns.iter().map(|column| column.name.clone()).collect()
    };
    references.sort_by_key(|reference| {
        (reference.table.clone(), names(&reference.columns), names(&reference.own_columns))
    });
    references.dedup();
    references
}

/// The tables of the plan among those that point at the entry's rows.
pub(super) fn tables(model: &Model<'_>, id: EntryId) -> Vec<TableId> {
    let connection = model.table_of(id).connection;
    let mut tables: Vec<TableId> = pointers(model, id)
        .iter()
        .filter_map(|pointer| model.find(connection, &pointer.table.schema, &pointer.table.name))
        .collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

fn pointers<'a>(model: &Model<'a>, id: EntryId) -> Vec<Pointer<'a>> {
    let place = model.table_of(id);
    let mut all: Vec<Pointer<'a>> = Vec::new();
    let Some(catalog) = model.catalogs.get(place.connection) else { return all };
    for child in catalog.tables.iter().filter(|table| table.kind != TableKind::Partition) {
        for key in &child.foreign_keys {
            if key.parent_schema == place.table.schema && key.parent_table == place.table.name {
                let columns = key.columns.iter().filter_map(|name| child.column(name)).collect();
                let own = key.parent_columns.iter().filter_map(|name| place.table.column(name)).collect();
                all.push(Pointer { table: child, columns, own });
            }
        }
    }
    let own_table = model.entries[id].table;
    for other in 0..model.entries.len() {
        for (_, link) in model.links(other).filter(|(_, link)| !link.own.is_empty()) {
            let theirs = &model.tables[link.target];
            let (source, columns, own) = if other == id {
                (theirs, &link.theirs, &link.own)
            } else if link.target == own_table && model.entries[other].table != own_table {
                (model.table_of(other), &link.own, &link.theirs)
            } else {
                continue;
            };
            if source.connection == place.connection && !points_away(place.table, own, source.table, columns)
            {
                all.push(Pointer { table: source.table, columns: columns.clone(), own: own.clone() });
            }
        }
    }
    all
}

/// The pair is a reference from the entry's own row to the other table, not the other way round: a foreign key says
/// so, or only the other side is unique. Where neither tells, the row rather stays.
fn points_away(own: &Table, own_columns: &[&Column], other: &Table, columns: &[&Column]) -> bool {
    let names = |columns: &[&Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let (own_names, names) = (names(own_columns), names(columns));
    let key = own.foreign_keys.iter().any(|key| {
        key.parent_schema == other.schema
            && key.parent_table == other.name
            && own_names.iter().zip(&names).all(|(own, theirs)| {
                key.columns.iter().zip(&key.parent_columns).any(|(a, b)| a == own && b == theirs)
            })
    });
    key || (!own.is_unique(&own_names) && other.is_unique(&names))
}
