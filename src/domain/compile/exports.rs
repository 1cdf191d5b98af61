//! `export`, `portable` and `rectify`: columns that exist, and no credentials by accident.

use super::model::{Model, Resolved};
use crate::domain::{
    document::{At, Reader, suggest},
    plan::Export,
    schema::Table,
};

/// Parts of a column's name that give a credential away, wherever they stand in it.
const ANYWHERE: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "apikey", "api_key", "private_key", "credential"];
/// Words of a column's name that do; as a mere part they mean something else (`footprint`, `salty`).
const WORDS: [&str; 7] = ["token", "tokens", "otp", "totp", "salt", "pwd", "pin"];

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for entry in model.entries.iter().filter(|entry| !model.is_resource(entry)) {
        let table = model.tables[entry.table].table;
        match &entry.entry.export.value {
            // An `unlink` is about other people's rows: they are never exported.
            Export::All if !entry.is_unlink() => check_all(entry, table, "export", faults),
            Export::Columns(columns) => check_columns(entry, table, columns, "export", faults),
            Export::All | Export::None | Export::Call(_) => {}
        }
        match entry.entry.portable.as_ref().map(|portable| &portable.value) {
            Some(Export::All) => check_all(entry, table, "portable", faults),
            Some(Export::Columns(columns)) => check_columns(entry, table, columns, "portable", faults),
            Some(Export::None | Export::Call(_)) | None => {}
        }
        check_columns(entry, table, &entry.entry.rectify, "rectify", faults);
    }
}

fn check_columns(
    entry: &Resolved<'_>,
    table: &Table,
    columns: &[At<String>],
    what: &str,
    faults: &mut Reader,
) {
    for column in columns {
        if table.column(&column.value).is_none() {
            let known = table.columns.iter().map(|known| known.name.as_str());
            let problem = format!("`{what}` of `{}`: there is no column `{}`", entry.name, column.value);
            faults.error(column.line, problem, suggest(&column.value, known));
        }
    }
}

fn check_all(entry: &Resolved<'_>, table: &Table, what: &str, faults: &mut Reader) {
    let suspects: Vec<&str> =
        table.columns.iter().map(|column| column.name.as_str()).filter(|name| is_credential(name)).collect();
    if suspects.is_empty() {
        return;
    }
    let problem = format!(
        "`{what}: all` of `{}` would hand out what looks like a credential: {}",
        entry.name,
        suspects.join(", ")
    );
    let rest: Vec<&str> = table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| !suspects.contains(name))
        .collect();
    let remedy = format!("write {what}: none, or list the columns: {what}: [{}]", rest.join(", "));
    let line = match &entry.entry.portable {
        Some(portable) if what == "portable" => portable.line,
        _ => entry.entry.export.line,
    };
    faults.error(line, problem, remedy);
}

/// A column of that name holds what opens doors: no export hands it out.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let mut words = String::new();
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && previous_lower {
            words.push('_');
        }
        previous_lower = c.is_lowercase() || c.is_numeric();
        words.extend(if c.is_alphanumeric() { c.to_lowercase().next() } else { Some('_') });
    }
    ANYWHERE.iter().any(|part| words.contains(part)) || words.split('_').any(|word| WORDS.contains(&word))
}
