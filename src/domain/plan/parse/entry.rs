//! The entries of a table: one map, or a list of them.

use super::{
    super::{At, Entry, Export, Match, MatchValue, Reference},
    about::read_about,
    calls, erase, names, read_name,
    sql::read_sql,
};
use crate::domain::{
    call::Method,
    document::{Fields, Node, Reader},
};

/// The table whose entries are read.
pub(super) struct Place<'a> {
    pub connection: &'a str,
    pub table: Reference,
    /// For faults.
    pub shown: String,
}

const KEYS: [&str; 10] =
    ["name", "match", "shared", "where", "erase", "export", "portable", "about", "rectify", "cascade"];

pub(super) fn read_entries(
    reader: &mut Reader,
    place: &Place<'_>,
    line: usize,
    node: &Node,
    into: &mut Vec<Entry>,
) {
    let Some(items) = node.as_list() else {
        into.extend(read_entry(reader, place, line, node, true));
        return;
    };
    if items.is_empty() {
        reader.error(line, format!("`{}` has an empty list of entries", place.shown), "give it an `erase`");
    }
    let mut seen: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(entry) = read_entry(reader, place, item.line, item, index == 0) else { continue };
        if let Some(name) = &entry.name {
            if seen.contains(&name.value) {
                let problem = format!("`{}` has two entries named `{}`", place.shown, name.value);
                reader.error(name.line, problem, "give one of them another name");
            }
            seen.push(name.value.clone());
        }
        into.push(entry);
    }
}

fn read_entry(
    reader: &mut Reader,
    place: &Place<'_>,
    line: usize,
    node: &Node,
    is_first: bool,
) -> Option<Entry> {
    let shown = format!("`{}`", place.shown);
    if node.is_null() {
        reader.error(line, format!("{shown} says no `erase`"), erase::REMEDY);
        return None;
    }
    let fields = reader.fields(node, &shown, &KEYS)?;
    let name = fields.get("name").and_then(|node| read_name(reader, node, &format!("the name of {shown}")));
    if name.is_none() && !fields.has("name") && !is_first {
        let problem = format!("{shown} has a further entry without a `name`");
        reader.error(line, problem, "give it one: its step is called table/NAME");
    }
    let filter = fields.get("where").and_then(|node| read_sql(reader, node, &format!("`where` of {shown}")));
    let shared = fields.get("shared").and_then(|node| reader.boolean(node, &format!("`shared` of {shown}")));
    let matches = read_matches(reader, &fields, &shown);
    let export = fields.get("export").and_then(|node| read_export(reader, node, "export", &shown));
    let portable = fields.get("portable").and_then(|node| read_export(reader, node, "portable", &shown));
    let about = read_about(reader, &fields, &shown);
    let what = format!("`rectify` of {shown}");
    let rectify = fields.get("rectify").filter(|node| node.as_map().is_none());
    let rectify = rectify.and_then(|node| names::read_columns(reader, node, &what));
    let rectify_call = fields.get("rectify").filter(|node| node.as_map().is_some());
    let rectify_call = rectify_call.and_then(|node| calls::read_rectify(reader, node, &what));
    let cascade =
        fields.get("cascade").and_then(|node| reader.boolean(node, &format!("`cascade` of {shown}")));
    let erase = match fields.get("erase") {
        Some(node) => erase::read_erase(reader, node, fields.line_of("erase"), &shown),
        None => {
            reader.error(line, format!("{shown} says no `erase`"), erase::REMEDY);
            None
        }
    };
    Some(Entry {
        line,
        connection: place.connection.to_owned(),
        table: place.table.clone(),
        name,
        matches,
        shared: shared.unwrap_or(false),
        filter,
        erase: erase?,
        export: export.unwrap_or(At { line, value: Export::All }),
        portable: portable.filter(|portable| portable.value != Export::None),
        about,
        rectify: rectify.unwrap_or_default(),
        rectify_call,
        cascade: cascade.unwrap_or(false),
    })
}

fn read_matches(reader: &mut Reader, fields: &Fields<'_>, shown: &str) -> Vec<At<Match>> {
    let Some(node) = fields.get("match") else {
        if fields.has("match") {
            reader.error(
                fields.line_of("match"),
                format!("`match` of {shown} is empty"),
                "such as: { user_id: users.id }",
            );
        }
        return Vec::new();
    };
    let line = fields.line_of("match");
    match node.as_list() {
        Some([]) => {
            reader.error(
                line,
                format!("`match` of {shown} is an empty list"),
                "such as: { user_id: users.id }",
            );
            Vec::new()
        }
        Some(items) => items.iter().filter_map(|item| read_match(reader, item, item.line, shown)).collect(),
        None => read_match(reader, node, line, shown).into_iter().collect(),
    }
}

fn read_match(reader: &mut Reader, node: &Node, line: usize, shown: &str) -> Option<At<Match>> {
    let what = format!("`match` of {shown}");
    let pairs = reader.map(node, &what)?;
    if pairs.is_empty() {
        reader.error(line, format!("{what} is empty"), "such as: { user_id: users.id }");
        return None;
    }
    if let [(key, value)] = pairs.as_slice()
        && key.value == "sql"
    {
        let sql = read_sql(reader, value, &what)?;
        return Some(At { line: sql.line, value: Match::Sql(sql.value) });
    }
    let mut columns = Vec::new();
    for (key, value) in &pairs {
        let column = names::read_column(reader, key.line, &key.value, &what);
        let value = read_match_value(reader, value, &format!("`match` of `{}` in {shown}", key.value));
        if let (Some(column), Some(value)) = (column, value) {
            columns.push((column, value));
        }
    }
    if !columns.iter().any(|(_, value)| matches!(value.value, MatchValue::Column(_)))
        && columns.len() == pairs.len()
    {
        let problem = format!("{what} has only constants: it would select rows of everybody");
        reader.error(line, problem, "add a column that leads to the person, such as: owner_id: users.id");
        return None;
    }
    Some(At { line, value: Match::Columns(columns) })
}

fn read_match_value(reader: &mut Reader, node: &Node, what: &str) -> Option<At<MatchValue>> {
    if node.as_map().is_none() {
        let reference = names::read_reference(reader, node, what)?;
        return Some(At { line: reference.line, value: MatchValue::Column(reference.value) });
    }
    let fields = reader.fields(node, what, &["value"])?;
    let Some(value) = fields.get("value") else {
        reader.error(node.line, format!("{what} has no `value`"), "a constant is written { value: User }");
        return None;
    };
    let text = reader.text(value, what)?;
    Some(At { line: value.line, value: MatchValue::Constant(text) })
}

fn read_export(reader: &mut Reader, node: &Node, key: &str, shown: &str) -> Option<At<Export>> {
    let what = format!("`{key}` of {shown}");
    let value = match node.as_str() {
        Some("all") => Export::All,
        Some("none") => Export::None,
        Some(text) if key == "export" && text.contains('/') => {
            Export::Call(calls::read_call(reader, node, &what, &[Method::Get])?)
        }
        Some(_) => {
            reader.error(
                node.line,
                format!("{what} is none of its forms"),
                "write all, none or a list of columns",
            );
            return None;
        }
        None => Export::Columns(names::read_columns(reader, node, &what)?),
    };
    Some(At { line: node.line, value })
}
