//! Names of the plan file → tables and columns of the catalogs.

use std::collections::BTreeMap;

use super::model::{Model, PlanTable, Resolved, RootTable};
use crate::domain::{
    document::{Reader, suggest},
    plan::{Entry, Erase, PlanFile, Reference},
    schema::Catalog,
};

mod matches;
mod references;
mod root;

use references::{Lookup, table_names};

/// `None` when not even the root or the tables are known; otherwise [`Model::complete`] says whether all is.
pub(super) fn resolve<'a>(
    plan: &'a PlanFile,
    catalogs: &'a BTreeMap<String, Catalog>,
    faults: &mut Reader,
) -> Option<Model<'a>> {
    let mut complete = check_connections(plan, catalogs, faults);
    let (tables, homes) = resolve_tables(plan, catalogs, faults);
    complete &= homes.iter().all(Option::is_some);
    let lookup = Lookup { plan, catalogs, tables: &tables };
    let root = root::resolve(&lookup, faults);
    let mut entries: Vec<Resolved<'a>> = Vec::new();
    let root_table = root.as_ref().map(|root| root.table);
    let mut positions = vec![0; tables.len()];
    for (entry, home) in plan.entries.iter().zip(homes) {
        let Some(table) = home else { continue };
        let position = positions[table];
        positions[table] += 1;
        let is_root = root_table == Some(table) && position == 0;
        let name = match &entry.name {
            Some(name) => format!("{}/{}", tables[table].shown, name.value),
            None => tables[table].shown.clone(),
        };
        complete &= check_name(entry.line, &name, &entries, faults);
        complete &= check_presence(&tables[table], entry, is_root, root_table.is_some(), faults);
        let mut alternatives = Vec::new();
        for item in &entry.matches {
            match matches::resolve(&lookup, &tables[table], item, faults) {
                Some(alt) => alternatives.push(alt),
                None => complete = false,
            }
        }
        let whole = Resolved { entry, table, position, name, is_root, alternatives };
        entries.extend(parts(whole));
    }
    let mut tables = tables;
    for (id, entry) in entries.iter().enumerate() {
        tables[entry.table].entries.push(id);
    }
    let root: RootTable<'a> = root?;
    let mut model = Model { plan, catalogs, tables, entries, root, complete };
    model.complete &= check_targets(&model, faults);
    Some(model)
}

/// A table may be named by two keys of the file, with its schema and without.
fn check_name(line: usize, name: &str, earlier: &[Resolved<'_>], faults: &mut Reader) -> bool {
    let is_new = earlier.iter().all(|known| known.name != name);
    if !is_new {
        let problem = format!("`{name}` is named twice");
        faults.error(line, problem, "make the two one list of entries, each but the first with a `name`");
    }
    is_new
}

fn check_connections(plan: &PlanFile, catalogs: &BTreeMap<String, Catalog>, faults: &mut Reader) -> bool {
    let mut known = true;
    for connection in &plan.connections {
        if !catalogs.contains_key(&connection.value) {
            let problem = format!("there is no connection `{}`", connection.value);
            let remedy = suggest(&connection.value, catalogs.keys().map(String::as_str));
            faults.error(
                connection.line,
                problem,
                format!("{remedy} (connections stand in the configuration)"),
            );
            known = false;
        }
    }
    known
}

/// The tables in the order of the file, and for each entry the table that it belongs to.
fn resolve_tables<'a>(
    plan: &'a PlanFile,
    catalogs: &'a BTreeMap<String, Catalog>,
    faults: &mut Reader,
) -> (Vec<PlanTable<'a>>, Vec<Option<usize>>) {
    let mut tables: Vec<PlanTable<'a>> = Vec::new();
    let mut homes = Vec::new();
    for entry in &plan.entries {
        let Some(catalog) = catalogs.get(&entry.connection) else {
            homes.push(None);
            continue;
        };
        let (schema, name) = match entry.table.parts.as_slice() {
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            [name] => (None, name.as_str()),
            _ => (None, ""),
        };
        let Some(table) = catalog.table(schema, name) else {
            let problem = format!("connection `{}` has no table `{}`", entry.connection, entry.table);
            let names = table_names(catalog);
            let remedy = suggest(&entry.table.to_string(), names.iter().map(String::as_str));
            faults.error(entry.line, problem, remedy);
            homes.push(None);
            continue;
        };
        let known = tables
            .iter()
            .position(|known| known.connection == entry.connection && std::ptr::eq(known.table, table));
        homes.push(Some(known.unwrap_or(tables.len())));
        if known.is_none() {
            let shown = if table.schema == catalog.default_schema {
                format!("{}.{}", entry.connection, table.name)
            } else {
                format!("{}.{}.{}", entry.connection, table.schema, table.name)
            };
            tables.push(PlanTable { connection: &entry.connection, table, shown, entries: Vec::new() });
        }
    }
    (tables, homes)
}

/// The root's first entry is the person's row and has no `match`; every other one has.
fn check_presence(
    table: &PlanTable<'_>,
    entry: &Entry,
    is_root: bool,
    root_known: bool,
    faults: &mut Reader,
) -> bool {
    let shown = &table.shown;
    if !is_root {
        // Without a root, this may be the root's own entry.
        if entry.matches.is_empty() && root_known {
            let problem = format!("`{shown}` has no `match`: its rows lead to nobody");
            faults.error(entry.line, problem, "such as: match: { user_id: users.id }");
        }
        return !entry.matches.is_empty();
    }
    let faults_before = [
        (
            !entry.matches.is_empty(),
            "a `match`: it is the person's own row",
            "name further rows of it in a further entry",
        ),
        (
            entry.filter.is_some(),
            "a `where`: the person's own row is found by its identities alone",
            "leave it out",
        ),
        (
            matches!(entry.erase.value, Erase::Unlink),
            "`unlink`, which is for other people's rows",
            "say delete, a mask or keep",
        ),
    ];
    let mut sound = true;
    for (wrong, what, remedy) in faults_before {
        if wrong {
            faults.error(entry.line, format!("the first entry of `{shown}` has {what}"), remedy);
            sound = false;
        }
    }
    sound
}

/// Splits an `unlink` by its alternatives; everything else stays whole.
fn parts(mut whole: Resolved<'_>) -> Vec<Resolved<'_>> {
    if !whole.is_unlink() || whole.alternatives.len() < 2 {
        return vec![whole];
    }
    let alternatives = std::mem::take(&mut whole.alternatives);
    alternatives
        .into_iter()
        .enumerate()
        .map(|(index, alt)| Resolved {
            entry: whole.entry,
            table: whole.table,
            position: whole.position,
            name: if index == 0 { whole.name.clone() } else { format!("{}#{}", whole.name, index + 1) },
            is_root: whole.is_root,
            alternatives: vec![alt],
        })
        .collect()
}

/// A reference means rows that are the subject's own; `unlink` entries are other people's.
fn check_targets(model: &Model<'_>, faults: &mut Reader) -> bool {
    let mut sound = true;
    for (id, entry) in model.entries.iter().enumerate() {
        for (link, spec) in model.links(id) {
            if spec.target != model.root.table && model.owned(spec.target).next().is_none() {
                let line = entry.alternatives[link.alternative].line;
                let target = &model.tables[spec.target].shown;
                let problem = format!(
                    "`{}` is matched through `{target}`, which has only `unlink` entries: those are other people's rows",
                    entry.name
                );
                faults.error(line, problem, format!("add an entry of `{target}` for the person's own rows"));
                sound = false;
            }
        }
    }
    sound
}

/// For faults: a dotted name as the plan would write it.
pub(super) fn dotted(parts: &[&str]) -> String {
    Reference { parts: parts.iter().map(|&part| part.to_owned()).collect() }.to_string()
}
