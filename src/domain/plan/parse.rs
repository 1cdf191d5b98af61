//! Reads a plan file. Every fault is collected; none is fatal to finding the next.

use super::{Entry, IdentityDef, PlanFile, Reference};
use crate::domain::document::{At, Document, Fault, Node, Reader};

mod about;
mod calls;
mod entry;
mod erase;
mod keep;
mod manual;
mod names;
mod sql;
#[cfg(test)]
mod tests;

pub use erase::read_mask;
pub use sql::read_sql;

/// Parses the text of a plan file.
///
/// # Errors
/// Every fault found, with its line.
pub fn parse(file: &str, text: &str) -> Result<PlanFile, Vec<Fault>> {
    let node = Document::parse(file, text)?;
    let mut reader = Reader::new(file);
    let plan = read_plan(&mut reader, &node, file, text);
    match plan {
        Some(plan) if !reader.has_errors() => Ok(plan),
        _ => Err(reader.into_faults()),
    }
}

fn read_plan(reader: &mut Reader, node: &Node, file: &str, text: &str) -> Option<PlanFile> {
    let fields =
        reader.fields(node, "the plan", &["plan", "subject", "about", "connections", "manual", "code"])?;
    for (key, example) in [
        ("plan", "plan: customer"),
        ("subject", "subject: { user_id: shop.users.id }"),
        ("connections", "connections: { shop: { users: { erase: delete } } }"),
    ] {
        if fields.get(key).is_none() {
            reader.error(
                fields.line_of(key),
                format!("the plan has no `{key}`"),
                format!("such as: {example}"),
            );
        }
    }
    let name = fields.get("plan").and_then(|node| read_name(reader, node, "the plan's name"));
    let subject = fields.get("subject").and_then(|node| read_subject(reader, node));
    let connections = fields.get("connections").map(|node| read_connections(reader, node));
    let about = about::read_about(reader, &fields, "the plan");
    let (manual, code) = manual::read_beside(reader, &fields);
    let (identities, scope) = subject?;
    let (connections, entries) = connections?;
    Some(PlanFile {
        file: file.to_owned(),
        source: text.to_owned(),
        name: name?,
        identities,
        scope,
        about,
        entries,
        connections,
        manual,
        code,
    })
}

/// Names that stand in URLs and step names.
fn read_name(reader: &mut Reader, node: &Node, what: &str) -> Option<At<String>> {
    let value = reader.text(node, what)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if value.is_empty() || value.len() > 100 || !value.chars().all(fits) {
        let problem = format!("{what} is `{value}`");
        reader.error(node.line, problem, "use 1 to 100 letters, digits, `_`, `-` and `.`");
        return None;
    }
    Some(At { line: node.line, value })
}

fn read_subject(reader: &mut Reader, node: &Node) -> Option<(Vec<IdentityDef>, Vec<IdentityDef>)> {
    let mut identities = Vec::new();
    let mut scope: Vec<IdentityDef> = Vec::new();
    let pairs = reader.map(node, "`subject`")?;
    if !pairs.iter().any(|(key, _)| key.value != "scope") {
        reader.error(node.line, "`subject` names no identity", "such as: user_id: shop.users.id");
    }
    for (key, value) in pairs {
        if key.value == "scope" {
            for (key, value) in reader.map(value, "`scope`").unwrap_or_default() {
                scope.extend(read_identity(reader, key, value));
            }
        } else {
            identities.extend(read_identity(reader, key, value));
        }
    }
    for part in &scope {
        if identities.iter().any(|identity| identity.name == part.name) {
            let problem = format!("`{}` is an identity and a part of the scope", part.name);
            reader.error(part.column.line, problem, "give one of the two another name");
        }
    }
    Some((identities, scope))
}

fn read_identity(reader: &mut Reader, key: &At<String>, node: &Node) -> Option<IdentityDef> {
    let what = format!("identity `{}`", key.value);
    let (column, ignore_case) = if node.as_map().is_some() {
        let fields = reader.fields(node, &what, &["column", "ignore_case"])?;
        let Some(column) = fields.get("column") else {
            reader.error(key.line, format!("{what} has no `column`"), "such as: column: shop.users.email");
            return None;
        };
        let ignore_case = fields.get("ignore_case").and_then(|node| reader.boolean(node, "`ignore_case`"));
        (column, ignore_case.unwrap_or(false))
    } else {
        (node, false)
    };
    let column = names::read_reference(reader, column, &what)?;
    Some(IdentityDef { name: key.value.clone(), column, ignore_case })
}

fn read_connections(reader: &mut Reader, node: &Node) -> (Vec<At<String>>, Vec<Entry>) {
    let mut connections = Vec::new();
    let mut entries = Vec::new();
    let named = reader.map(node, "`connections`").unwrap_or_default();
    if named.is_empty() {
        reader.error(node.line, "`connections` names none", "name each connection with its tables");
    }
    for (connection, tables) in named {
        connections.push(connection.clone());
        let what = format!("connection `{}`", connection.value);
        for (table, node) in reader.map(tables, &what).unwrap_or_default() {
            let Some(reference) = Reference::split(&table.value).filter(|name| name.parts.len() <= 2) else {
                let problem = format!("`{}` is no table name", table.value);
                reader.error(
                    table.line,
                    problem,
                    "write table or schema.table; a name with a dot is quoted: \"a.b\"",
                );
                continue;
            };
            let place = entry::Place {
                connection: &connection.value,
                table: reference,
                shown: format!("{}.{}", connection.value, table.value),
            };
            entry::read_entries(reader, &place, table.line, node, &mut entries);
        }
    }
    (connections, entries)
}
