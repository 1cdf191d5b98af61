//! Members of HTTP connections. A service tells nothing of its resources, so a plan's word is taken for them: each is
//! compiled like a table whose columns are the names that its `match` gives values for. What sets them apart from
//! tables is checked here.

use std::{borrow::Cow, collections::BTreeMap};

use super::model::{Alt, Model, Resolved};
use crate::domain::{
    call::{CallTemplate, NewFields},
    compiled::{Action, Resource, ResourceAct},
    document::Reader,
    plan::{Erase, Export, Match, PlanFile},
    schema::{Catalog, CatalogKind, Column, Family, Rights, RowAddress, Table, TableKind},
};

/// The catalogs, with the resources that this plan names in those of HTTP services.
pub(super) fn with_resources<'c>(
    plan: &PlanFile,
    catalogs: &'c BTreeMap<String, Catalog>,
) -> Cow<'c, BTreeMap<String, Catalog>> {
    if catalogs.values().all(|catalog| catalog.kind == CatalogKind::Database) {
        return Cow::Borrowed(catalogs);
    }
    let mut catalogs = catalogs.clone();
    for entry in &plan.entries {
        let catalog = catalogs.get_mut(&entry.connection);
        let Some(catalog) = catalog.filter(|catalog| catalog.kind == CatalogKind::Service) else { continue };
        let Some((name, schema)) = entry.table.parts.split_last() else { continue };
        let schema = schema.first().cloned().unwrap_or_default();
        let known = catalog.tables.iter().position(|table| table.name == *name && table.schema == schema);
        let at = known.unwrap_or_else(|| {
            catalog.tables.push(resource(schema, name));
            catalog.tables.len() - 1
        });
        let columns = &mut catalog.tables[at].columns;
        for item in &entry.matches {
            let Match::Columns(pairs) = &item.value else { continue };
            for (name, _) in pairs {
                if !columns.iter().any(|column| column.name == name.value) {
                    columns.push(column(&name.value));
                }
            }
        }
    }
    Cow::Owned(catalogs)
}

fn resource(schema: String, name: &str) -> Table {
    Table {
        schema,
        name: name.to_owned(),
        kind: TableKind::Resource,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        triggers: Vec::new(),
        estimated_rows: None,
        rights: Rights {
            select: true,
            delete: true,
            update: true,
            update_columns: Vec::new(),
            role: String::new(),
        },
        address: RowAddress::None,
        obstacles: Vec::new(),
    }
}

fn column(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: String::new(),
        base_type: None,
        family: Family::Any,
        nullable: false,
        max_length: None,
        generated: false,
    }
}

impl Model<'_> {
    pub(super) fn is_resource(&self, entry: &Resolved<'_>) -> bool {
        self.tables[entry.table].table.kind == TableKind::Resource
    }
}

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    let root = &model.tables[model.root.table];
    if root.table.kind == TableKind::Resource {
        let line = model.plan.identities.first().map_or(1, |identity| identity.column.line);
        let problem = format!("`{}` is a resource of an HTTP service, which has no rows", root.shown);
        faults.error(line, problem, "identities are columns of a table: name that of the person's row");
    }
    for entry in &model.entries {
        match model.is_resource(entry) {
            true => check_resource(model, entry, faults),
            false => check_table(model, entry, faults),
        }
        for alt in &entry.alternatives {
            for link in &alt.links {
                let target = &model.tables[link.target];
                if target.table.kind == TableKind::Resource {
                    let problem = format!(
                        "`{}` is matched through `{}`, a resource of an HTTP service: its keys cannot be listed",
                        entry.name, target.shown
                    );
                    faults.error(alt.line, problem, "match it through a table");
                }
            }
        }
    }
}

fn check_table(model: &Model<'_>, entry: &Resolved<'_>, faults: &mut Reader) {
    let calls = [
        (matches!(entry.erase(), Erase::Call { .. }), "erase", entry.entry.erase.line),
        (matches!(entry.entry.export.value, Export::Call(_)), "export", entry.entry.export.line),
        (
            entry.entry.rectify_call.is_some(),
            "rectify",
            entry.entry.rectify_call.as_ref().map_or(0, |call| call.line),
        ),
    ];
    for (_, what, line) in calls.into_iter().filter(|(is_call, ..)| *is_call) {
        let problem = format!(
            "`{what}` of `{}` is a call, but connection `{}` is a database",
            entry.name, model.tables[entry.table].connection
        );
        faults.error(line, problem, "calls are for connections whose `url` is http or https");
    }
}

fn check_resource(model: &Model<'_>, entry: &Resolved<'_>, faults: &mut Reader) {
    let name = &entry.name;
    let line = entry.entry.line;
    if model.tables[entry.table].entries.len() > 1 {
        let problem = format!("`{}` has several entries", model.tables[entry.table].shown);
        faults.error(line, problem, "give each a resource name of its own: the name is yours to choose");
    }
    if let Some(filter) = &entry.entry.filter {
        faults.error(
            filter.line,
            format!("`where` of `{name}`: an HTTP service knows no SQL"),
            "leave it out",
        );
    }
    if !matches!(entry.erase(), Erase::Call { .. } | Erase::Keep(_) | Erase::None(_)) {
        let problem = format!("`erase` of `{name}` is for tables, and this is a resource of an HTTP service");
        let remedy = "write { call: \"DELETE /…/{key}\", verify: \"GET /…/{key}\" }, { keep: reason } or { none: reason }";
        faults.error(entry.entry.erase.line, problem, remedy);
    }
    if let Export::Columns(_) = entry.entry.export.value {
        let problem = format!("`export` of `{name}` lists columns, which an HTTP service does not have");
        faults.error(entry.entry.export.line, problem, "write the call: export: \"GET /…/{key}\"");
    }
    if matches!(entry.entry.export.value, Export::All) && !matches!(entry.erase(), Erase::None(_)) {
        let problem = format!("`{name}` has no `export`: an access request does not show what is there");
        faults.warning(line, problem, "add export: \"GET /…/{key}\", or export: none");
    }
    if let Some(portable) = &entry.entry.portable
        && !(portable.value == Export::All && matches!(entry.entry.export.value, Export::Call(_)))
    {
        let problem = format!("`portable` of `{name}` names columns, or what is not exported");
        faults.error(portable.line, problem, "portable: all hands out what the call in `export` answers");
    }
    if let Some(first) = entry.entry.rectify.first() {
        let problem = format!("`rectify` of `{name}` lists columns, which an HTTP service does not have");
        let remedy = "write rectify: { call: \"PATCH /…/{key}\", fields: [email] }";
        faults.error(first.line, problem, remedy);
    }
    if let (Some(rectify), None) = (&entry.entry.rectify_call, lookup(entry)) {
        let problem =
            format!("`rectify` of `{name}` could not be read back: the plan names no call that finds it");
        faults.error(rectify.line, problem, "add export: \"GET /…/{key}\"");
    }
    for alt in &entry.alternatives {
        check_alternative(model, entry, alt, faults);
    }
}

/// Keys of the alternative and names of the paths are the same, so that no call means more than these keys do.
fn check_alternative(model: &Model<'_>, entry: &Resolved<'_>, alt: &Alt<'_>, faults: &mut Reader) {
    let name = &entry.name;
    if alt.pieces.is_some() {
        let problem = format!("`match` of `{name}` is SQL, which an HTTP service does not know");
        faults.error(alt.line, problem, "name a key: match: { email: users.email }");
        return;
    }
    let others: Vec<_> = alt.links.iter().filter(|link| link.target != model.root.table).collect();
    if others.len() > 1 {
        let problem = format!("a `match` of `{name}` reads several tables beside the person's own row");
        faults.error(
            alt.line,
            problem,
            "name the keys of one of them: nothing says which of them go together",
        );
    }
    for theirs in alt.links.iter().flat_map(|link| &link.theirs) {
        if theirs.family == Family::Binary {
            let problem = format!("`{name}`: `{}` is binary and cannot stand in a path", theirs.name);
            faults.error(alt.line, problem, "match a column of text or numbers");
        }
    }
    let keys: Vec<&str> =
        alt.links.iter().flat_map(|link| &link.own).map(|column| column.name.as_str()).collect();
    let constants: Vec<&str> = alt.constants.iter().map(|(column, _)| column.name.as_str()).collect();
    for (what, line, call) in calls(entry) {
        let named = call.names();
        for unknown in named.iter().filter(|name| !keys.contains(name) && !constants.contains(name)) {
            let problem = format!("`{what}` of `{name}`: its `match` gives no value for {{{unknown}}}");
            faults.error(
                line,
                problem,
                format!("known are: {}", [&keys[..], &constants].concat().join(", ")),
            );
        }
        for unused in keys.iter().filter(|key| !named.contains(key)) {
            let problem =
                format!("`{what}` of `{name}` does not say {{{unused}}}: it could mean somebody else's");
            faults.error(line, problem, "put every key of the `match` into the path");
        }
    }
}

/// Every call of an entry, for faults.
fn calls<'e>(entry: &'e Resolved<'_>) -> Vec<(&'static str, usize, &'e CallTemplate)> {
    let mut calls = Vec::new();
    if let Erase::Call { call, verify } = entry.erase() {
        let line = entry.entry.erase.line;
        calls.extend([("erase", line, call), ("verify", line, verify)]);
    }
    if let Export::Call(call) = &entry.entry.export.value {
        calls.push(("export", entry.entry.export.line, call));
    }
    if let Some(rectify) = &entry.entry.rectify_call {
        calls.push(("rectify", rectify.line, &rectify.value.call));
    }
    calls
}

/// The call by which a resource is found, if the plan has one; rather that which says what it holds.
fn lookup(entry: &Resolved<'_>) -> Option<CallTemplate> {
    match (&entry.entry.export.value, entry.erase()) {
        (Export::Call(call), _) => Some(call.clone()),
        (_, Erase::Call { verify, .. }) => Some(verify.clone()),
        _ => None,
    }
}

/// What an erasure keeps.
pub(super) fn keep(entry: &Resolved<'_>) -> Action {
    Action::Http(Resource { lookup: lookup(entry), act: ResourceAct::Keep })
}

/// What an erasure calls.
pub(super) fn erase(call: &CallTemplate, verify: &CallTemplate) -> Action {
    Action::Http(Resource { lookup: Some(verify.clone()), act: ResourceAct::Erase(call.clone()) })
}

/// What an access request reads; `None`: nothing.
pub(super) fn export(entry: &Resolved<'_>) -> Option<Action> {
    let Export::Call(call) = &entry.entry.export.value else { return None };
    let portable = entry.entry.portable.is_some();
    let act = ResourceAct::Export { portable, about: entry.entry.about.clone() };
    Some(Action::Http(Resource { lookup: Some(call.clone()), act }))
}

/// What a rectification may change; `None`: nothing.
pub(super) fn rectify(entry: &Resolved<'_>) -> Option<Action> {
    let rectify = &entry.entry.rectify_call.as_ref()?.value;
    let (call, fields) = (rectify.call.clone(), rectify.fields.clone());
    let act = ResourceAct::Rectify { call, fields, new: NewFields::default() };
    Some(Action::Http(Resource { lookup: Some(lookup(entry)?), act }))
}
