//! A first plan from a live schema: foreign keys say which tables hang on the person, column names say what looks
//! personal. Every guess carries a comment; what is only a suspicion is written as a comment altogether.
//!
//! `walk` follows the foreign keys and decides whose rows they lead to, `guess` reads names, `write` makes YAML.

use std::collections::BTreeMap;

use super::{
    document::nearest,
    plan::Reference,
    schema::{Catalog, Column, Table, TableKind},
};

mod guess;
mod implied;
#[cfg(test)]
mod tests;
mod walk;
mod write;

/// What a plan is wanted for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub connection: String,
    /// `table.column` or `schema.table.column`: the first identity.
    pub subject: Reference,
    /// The plan's name; by default the singular of the subject's table.
    pub name: Option<String>,
    pub joins: Vec<Join>,
}

/// `crm.contacts.email=shop.users.email`: rows of another connection that belong to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Begins with the other connection.
    pub theirs: Reference,
    /// Begins with the subject's connection.
    pub ours: Reference,
}

/// One column with its place.
#[derive(Debug, Clone, Copy)]
struct Place<'c> {
    connection: &'c str,
    catalog: &'c Catalog,
    table: &'c Table,
    column: &'c Column,
}

/// The text of a plan file that `check` takes on ordinary schemas.
///
/// # Errors
/// One line when a name is not in the schema.
pub fn draft(wish: &Wish, catalogs: &BTreeMap<String, Catalog>) -> Result<String, String> {
    let catalogs: BTreeMap<String, Catalog> =
        catalogs.iter().map(|(name, catalog)| (name.clone(), implied::with_implied_keys(catalog))).collect();
    let catalogs = &catalogs;
    let (connection, catalog) = catalog_of(catalogs, &wish.connection)?;
    let subject = find(connection, catalog, &wish.subject.parts)?;
    let mut blocks = vec![walk::grow(connection, catalog, subject.table, None)];
    for join in &wish.joins {
        let theirs = find_with_connection(catalogs, &join.theirs)?;
        let ours = find_with_connection(catalogs, &join.ours)?;
        if theirs.connection == connection || ours.connection != connection {
            return Err(format!(
                "--join takes {connection}'s column on the right and another connection's on the left"
            ));
        }
        if !blocks[0].owns(ours.table) {
            return Err(format!(
                "the plan does not reach {}: join a column of a table that it deletes from",
                join.ours
            ));
        }
        if blocks.iter().any(|block| block.connection == theirs.connection) {
            return Err(format!("--join names the connection {} twice", theirs.connection));
        }
        blocks.push(walk::grow(theirs.connection, theirs.catalog, theirs.table, Some((theirs.column, ours))));
    }
    Ok(write::plan(wish, &subject, &blocks))
}

fn catalog_of<'c>(
    catalogs: &'c BTreeMap<String, Catalog>,
    name: &str,
) -> Result<(&'c str, &'c Catalog), String> {
    catalogs
        .get_key_value(name)
        .map(|(name, catalog)| (name.as_str(), catalog))
        .ok_or_else(|| unknown("connection", name, catalogs.keys().map(String::as_str)))
}

fn find_with_connection<'c>(
    catalogs: &'c BTreeMap<String, Catalog>,
    reference: &Reference,
) -> Result<Place<'c>, String> {
    let (first, rest) = reference.parts.split_first().ok_or("an empty name")?;
    let (connection, catalog) = catalog_of(catalogs, first)?;
    find(connection, catalog, rest)
}

/// The column that `table.column` or `schema.table.column` names.
fn find<'c>(connection: &'c str, catalog: &'c Catalog, parts: &[String]) -> Result<Place<'c>, String> {
    let (schema, table_name, column_name) = match parts {
        [table, column] => (None, table, column),
        [schema, table, column] => (Some(schema.as_str()), table, column),
        _ => return Err("a column is named TABLE.COLUMN or SCHEMA.TABLE.COLUMN".to_owned()),
    };
    let table = catalog.table(schema, table_name).ok_or_else(|| {
        let wanted = schema.unwrap_or(&catalog.default_schema);
        let known = catalog.tables.iter().filter(|table| table.schema == wanted);
        format!("{connection}: {}", unknown("table", table_name, known.map(|table| table.name.as_str())))
    })?;
    if !matches!(table.kind, TableKind::Table | TableKind::Partitioned) {
        return Err(format!("{connection}: {table_name} is a view, a foreign table or a partition"));
    }
    let column = table.column(column_name).ok_or_else(|| {
        let known = table.columns.iter().map(|column| column.name.as_str());
        format!("{connection}.{table_name}: {}", unknown("column", column_name, known))
    })?;
    Ok(Place { connection, catalog, table, column })
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no {what} `{name}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}
