//! The plan that does to one row's tables what a policy does to all old rows.

use super::{Policy, PolicyAction, compile::shown};
use crate::domain::{
    document::{At, Reader},
    plan::{About, Entry, Erase, Export, IdentityDef, MaskStrategy, Match, MatchValue, PlanFile, Reference},
    schema::{Catalog, Column, Family, ForeignKey, Table, TableKind},
};

/// Rows that a foreign key protects go first, where the policy says that they may.
pub(super) fn require_children(
    policy: &Policy,
    catalog: &Catalog,
    table: &Table,
    children: &[(&Table, usize)],
    faults: &mut Reader,
) {
    if !policy.action.value.removes() {
        if let Some((_, line)) = children.first() {
            let problem = format!("`children` of {}, which removes no rows", shown(policy));
            faults.error(*line, problem, "leave it out: it is for delete and archive");
        }
        return;
    }
    let is_known = |child: &Table| same(child, table) || children.iter().any(|(known, _)| same(known, child));
    for parent in std::iter::once(table).chain(children.iter().map(|(child, _)| *child)) {
        for child in catalog.tables.iter().filter(|child| points_at(child, parent)) {
            if same(child, parent) {
                let problem =
                    format!("`{}` points at itself: rows that stay may need a row that is old", child.name);
                faults.error(policy.table.line, problem, "use mask or soft_delete, or drop that foreign key");
            } else if !is_known(child) {
                let problem = format!("a foreign key of `{}` points at `{}`", child.name, parent.name);
                let remedy = format!(
                    "add `{}` to `children` if its rows may go with those of `{}`; otherwise use mask or soft_delete",
                    child.name, parent.name
                );
                faults.error(policy.table.line, problem, remedy);
            }
        }
    }
    let below = |table: &Table| table.kind == TableKind::Partitioned;
    if below(table) || children.iter().any(|(child, _)| below(child)) {
        // The catalog does not tell whose partition or heir it is.
        let keys =
            catalog.tables.iter().flat_map(|child| child.foreign_keys.iter().map(move |key| (child, key)));
        for (child, key) in keys {
            let parent = catalog.table(Some(&key.parent_schema), &key.parent_table);
            if parent.is_some_and(|parent| parent.kind == TableKind::Partition) {
                let problem = format!(
                    "a foreign key of `{}` points at `{}`, a partition or an heir: its rows would go or stand in the way \
                     unseen",
                    child.name, key.parent_table
                );
                faults.error(
                    policy.table.line,
                    problem,
                    "use mask or soft_delete, or point it at the parent",
                );
            }
        }
    }
    if policy.action.value == PolicyAction::Archive && below(table) {
        let problem =
            format!("`{}` has partitions or heirs, which may have columns of their own", policy.table.value);
        faults.error(
            policy.table.line,
            problem,
            "archive each of them by a policy of its own, or use delete",
        );
    }
    if let Some(filter) = &policy.filter {
        let words: Vec<String> =
            filter.value.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_lowercase).collect();
        for (child, _) in children.iter().filter(|(child, _)| words.contains(&child.name.to_lowercase())) {
            let problem =
                format!("`where` reads `{}`, whose rows go first: it would be another one then", child.name);
            faults.error(filter.line, problem, "write a condition over the policy's own table alone");
        }
    }
    for (child, line) in children {
        if !is_known(child) || same(child, table) {
            faults.error(*line, format!("`{}` is the policy's own table", child.name), "leave it out");
        } else if parents(child, table, children).next().is_none() {
            let problem = format!("no foreign key of `{}` points at a table of this policy", child.name);
            faults.error(*line, problem, "leave it out: which of its rows go with the others is not known");
        }
    }
}

fn same(a: &Table, b: &Table) -> bool {
    a.schema == b.schema && a.name == b.name
}

fn points_at(child: &Table, parent: &Table) -> bool {
    child.foreign_keys.iter().any(|key| key.parent_schema == parent.schema && key.parent_table == parent.name)
}

/// The tables of the policy that a child points at, with its keys.
fn parents<'t>(
    child: &'t Table,
    table: &'t Table,
    children: &'t [(&'t Table, usize)],
) -> impl Iterator<Item = (&'t Table, &'t ForeignKey)> {
    let all = std::iter::once(table).chain(children.iter().map(|(child, _)| *child));
    all.filter(|parent| !same(parent, child)).flat_map(|parent| {
        child
            .foreign_keys
            .iter()
            .filter(|key| key.parent_schema == parent.schema && key.parent_table == parent.name)
            .map(move |key| (parent, key))
    })
}

/// The plan that does the same to the rows of one person.
pub(super) fn plan(
    policy: &Policy,
    table: &Table,
    children: &[(&Table, usize)],
    faults: &mut Reader,
) -> Option<PlanFile> {
    let line = policy.line;
    let at = |value: String| At { line, value };
    let connection = &policy.connection.value;
    let fits = |column: &&Column| {
        !matches!(column.family, Family::Json | Family::Array | Family::Binary | Family::Boolean)
    };
    let Some(column) = table.columns.iter().find(fits) else {
        let problem = format!("`{}` has no column of numbers, text or times", policy.table.value);
        faults.error(policy.table.line, problem, "");
        return None;
    };
    let name_of = |table: &Table| Reference { parts: vec![table.schema.clone(), table.name.clone()] };
    let column_of = |table: &Table, column: &str| Reference {
        parts: vec![connection.clone(), table.schema.clone(), table.name.clone(), column.to_owned()],
    };
    let entry = |table: &Table, line: usize, matches: Vec<At<Match>>, erase: Erase| Entry {
        line,
        connection: connection.clone(),
        table: name_of(table),
        name: None,
        matches,
        shared: true,
        filter: None,
        erase: At { line, value: erase },
        export: At { line, value: Export::None },
        portable: None,
        about: About::default(),
        rectify: Vec::new(),
        rectify_call: None,
        cascade: false,
    };
    let own = match &policy.action.value {
        PolicyAction::Delete | PolicyAction::Archive => Erase::Delete,
        PolicyAction::Mask(columns) => Erase::Mask { columns: columns.clone(), basis: None },
        // Asks for the right to write the column; the value is another.
        PolicyAction::SoftDelete(column) => {
            let value = MaskStrategy::Sql { value: "NULL".to_owned(), done: "1 = 1".to_owned() };
            let columns = vec![(at(column.clone()), At { line, value })];
            Erase::Mask { columns, basis: None }
        }
    };
    let mut entries = vec![entry(table, policy.table.line, Vec::new(), own)];
    entries[0].shared = false;
    for (child, line) in children {
        let matches = parents(child, table, children).map(|(parent, key)| {
            let pairs = key.columns.iter().zip(&key.parent_columns);
            let columns = pairs.map(|(own, theirs)| {
                (at(own.clone()), At { line: *line, value: MatchValue::Column(column_of(parent, theirs)) })
            });
            At { line: *line, value: Match::Columns(columns.collect()) }
        });
        entries.push(entry(child, *line, matches.collect(), Erase::Delete));
    }
    Some(PlanFile {
        file: policy.file.clone(),
        source: String::new(),
        name: at(policy.name.clone()),
        identities: vec![IdentityDef {
            name: column.name.clone(),
            column: At { line: policy.table.line, value: column_of(table, &column.name) },
            ignore_case: false,
        }],
        scope: Vec::new(),
        about: About::default(),
        entries,
        connections: vec![policy.connection.clone()],
        manual: Vec::new(),
        code: Vec::new(),
    })
}
