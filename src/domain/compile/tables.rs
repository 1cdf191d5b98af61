//! What stands on each table by itself: its kind, what could make a count lie, rights, triggers, indexes.

use super::{
    model::{EntryId, Model, PlanTable},
    rectify,
};
use crate::domain::{
    document::Reader,
    plan::Erase,
    schema::{Obstacle, RowAddress, Table, TableKind},
};

/// Below that, reading the whole table is cheap.
const LARGE: u64 = 10_000;

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for table in &model.tables {
        let Some(&first) = table.entries.first() else { continue };
        let line = model.entries[first].entry.line;
        check_kind(table, line, faults);
        let writes = table.entries.iter().any(|&id| writes(model, id));
        check_obstacles(table, writes, line, faults);
        check_rights(model, table, line, faults);
        if writes && !table.table.triggers.is_empty() {
            let problem = format!(
                "`{}` has triggers that fire on what this plan does: {}",
                table.shown,
                table.table.triggers.join(", ")
            );
            faults.warning(
                line,
                problem,
                "make sure that they neither copy personal data nor change other rows",
            );
        }
    }
    for id in 0..model.entries.len() {
        check_indexes(model, id, faults);
        check_unlink(model, id, faults);
    }
}

fn writes(model: &Model<'_>, id: EntryId) -> bool {
    let entry = &model.entries[id];
    !matches!(entry.erase(), Erase::Keep(_) | Erase::None(_))
        || entry.is_kept_for_a_time()
        || !entry.entry.rectify.is_empty()
}

fn check_kind(table: &PlanTable<'_>, line: usize, faults: &mut Reader) {
    match table.table.kind {
        TableKind::Table | TableKind::Partitioned | TableKind::Resource => {}
        TableKind::Partition => faults.error(
            line,
            format!("`{}` is a partition or inherits from another table", table.shown),
            "name its parent: that stands for all of them",
        ),
        TableKind::Other => faults.error(
            line,
            format!("`{}` is a view, a foreign table or a virtual table", table.shown),
            "name the tables that hold the rows themselves",
        ),
    }
}

fn check_obstacles(table: &PlanTable<'_>, writes: bool, line: usize, faults: &mut Reader) {
    let shown = &table.shown;
    for obstacle in &table.table.obstacles {
        let (problem, remedy) = match obstacle {
            Obstacle::RowSecurity => (
                format!(
                    "row-level security hides rows of `{shown}` from role {}: a fresh count would lie",
                    table.table.rights.role
                ),
                format!("ALTER ROLE {} BYPASSRLS; or use the table's owner", table.table.rights.role),
            ),
            Obstacle::SystemVersioned if writes => (
                format!("`{shown}` is system-versioned: it keeps what was deleted"),
                format!("ALTER TABLE {} DROP SYSTEM VERSIONING;", sql_name(table.table)),
            ),
            Obstacle::NonTransactional(engine) if writes => (
                format!(
                    "`{shown}` uses the engine {engine}, which has no transactions: a batch could not be undone"
                ),
                format!("ALTER TABLE {} ENGINE=InnoDB;", sql_name(table.table)),
            ),
            Obstacle::SystemVersioned | Obstacle::NonTransactional(_) => continue,
        };
        faults.error(line, problem, remedy);
    }
}

fn check_rights(model: &Model<'_>, table: &PlanTable<'_>, line: usize, faults: &mut Reader) {
    let rights = &table.table.rights;
    let mut missing: Vec<String> = Vec::new();
    if !rights.select {
        missing.push("SELECT".to_owned());
    }
    let entries = || table.entries.iter().map(|&id| &model.entries[id]);
    if !rights.delete && entries().any(|entry| entry.deletes() || entry.is_kept_for_a_time()) {
        missing.push("DELETE".to_owned());
    }
    if !rights.update {
        let rectified = table.entries.iter().flat_map(|&id| rectify::written(model, id));
        let mut columns: Vec<&str> = entries().flat_map(|entry| entry.overwritten()).collect();
        columns.extend(rectified.map(|column| column.name.as_str()));
        columns.retain(|column| !rights.update_columns.iter().any(|granted| granted == column));
        columns.sort_unstable();
        columns.dedup();
        if !columns.is_empty() {
            missing.push(format!("UPDATE ({})", columns.join(", ")));
        } else if table.table.address == RowAddress::Ctid
            && rights.update_columns.is_empty()
            && entries().any(|entry| matches!(entry.erase(), Erase::DeleteIfUnreferenced))
        {
            // PostgreSQL locks a row before its references are read only for a role that may update it.
            missing.push("UPDATE".to_owned());
        }
    }
    if !missing.is_empty() {
        let rights_text = missing.join(", ");
        let problem = format!("role {} lacks {rights_text} on `{}`", rights.role, table.shown);
        faults.error(
            line,
            problem,
            format!("GRANT {rights_text} ON {} TO {};", sql_name(table.table), rights.role),
        );
    }
}

/// A name for the text of a remedy, quoted as its database quotes.
pub(super) fn sql_name(table: &Table) -> String {
    let quote = if matches!(table.address, RowAddress::Ctid | RowAddress::Rowid) { '"' } else { '`' };
    let part = |name: &str| {
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain {
            name.to_owned()
        } else {
            format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
        }
    };
    format!("{}.{}", part(&table.schema), part(&table.name))
}

fn check_indexes(model: &Model<'_>, id: EntryId, faults: &mut Reader) {
    let entry = &model.entries[id];
    let table = model.table_of(id);
    let Some(rows) = table.table.estimated_rows.filter(|rows| *rows > LARGE) else { return };
    for alt in &entry.alternatives {
        let own: Vec<&str> =
            alt.links.iter().flat_map(|link| &link.own).map(|column| column.name.as_str()).collect();
        let indexed = |index: &Vec<String>| index.first().is_some_and(|first| own.contains(&first.as_str()));
        if own.is_empty() || table.table.indexes.iter().any(indexed) {
            continue;
        }
        let problem = format!("`{}` has about {rows} rows and no index on {}", table.shown, own.join(", "));
        let remedy = format!(
            "CREATE INDEX ON {} ({}); without it every batch reads the whole table",
            sql_name(table.table),
            own.join(", ")
        );
        faults.warning(alt.line, problem, remedy);
    }
}

/// An `unlink` needs a column that can become NULL.
fn check_unlink(model: &Model<'_>, id: EntryId, faults: &mut Reader) {
    let entry = &model.entries[id];
    if !entry.is_unlink() || entry.is_root || !entry.unlinked().is_empty() {
        return;
    }
    for alt in &entry.alternatives {
        let own: Vec<String> =
            alt.links.iter().flat_map(|link| &link.own).map(|column| format!("`{}`", column.name)).collect();
        let problem = if own.is_empty() {
            format!("`unlink` of `{}` matches by SQL: it does not say which column becomes NULL", entry.name)
        } else {
            format!(
                "`unlink` of `{}` has no column that can become NULL: {} is NOT NULL",
                entry.name,
                own.join(", ")
            )
        };
        faults.error(alt.line, problem, "delete those rows, or make the column nullable");
    }
}
