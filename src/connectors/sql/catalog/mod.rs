//! Reads a live schema into [`Catalog`], and tells cheaply whether it changed.

mod mysql;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;

use super::{
    dialect::Dialect,
    session::Session,
    statement::{Statement, TextRow},
};
use crate::{
    connectors::ConnectorError,
    domain::schema::{Catalog, ForeignKey, OnDelete, Table},
};

/// The live schema.
///
/// # Errors
/// As the database says.
pub async fn read(session: &mut Session) -> Result<Catalog, ConnectorError> {
    match session.dialect() {
        Dialect::Postgres => postgres::read(session).await,
        Dialect::MySql => mysql::read(session).await,
        Dialect::Sqlite => sqlite::read(session).await,
    }
}

/// Changes whenever anything that [`read`] sees may have changed.
///
/// # Errors
/// As the database says.
pub async fn fingerprint(session: &mut Session) -> Result<String, ConnectorError> {
    let sql = match session.dialect() {
        Dialect::Postgres => postgres::FINGERPRINT,
        Dialect::MySql => mysql::FINGERPRINT,
        Dialect::Sqlite => sqlite::FINGERPRINT,
    };
    let rows = session.query(&Statement::plain(sql)).await?;
    Ok(rows.into_iter().flatten().map(Option::unwrap_or_default).collect())
}

/// Tables by schema and name while they are put together.
#[derive(Default)]
struct Tables(BTreeMap<(String, String), Table>);

impl Tables {
    fn get(&mut self, schema: &str, name: &str) -> Option<&mut Table> {
        self.0.get_mut(&(schema.to_owned(), name.to_owned()))
    }

    fn insert(&mut self, table: Table) {
        self.0.insert((table.schema.clone(), table.name.clone()), table);
    }

    fn into_catalog(self, default_schema: String) -> Catalog {
        Catalog { default_schema, tables: self.0.into_values().collect(), ..Catalog::default() }
    }
}

async fn rows(session: &mut Session, sql: &str) -> Result<Vec<Row>, ConnectorError> {
    Ok(session.query(&Statement::plain(sql)).await?.into_iter().map(Row).collect())
}

/// A row of a catalog query.
struct Row(TextRow);

impl Row {
    /// Empty for NULL.
    fn text(&self, index: usize) -> &str {
        self.optional(index).unwrap_or_default()
    }

    fn optional(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(Option::as_deref)
    }

    fn flag(&self, index: usize) -> bool {
        matches!(self.text(index), "t" | "true" | "1" | "YES")
    }

    fn number(&self, index: usize) -> Option<i64> {
        self.optional(index).and_then(|text| text.parse().ok())
    }

    /// A list that was joined with the unit separator: no identifier holds it.
    fn list(&self, index: usize) -> Vec<String> {
        self.optional(index).map(|text| text.split('\u{1f}').map(str::to_owned).collect()).unwrap_or_default()
    }
}

/// Adds a column pair to the foreign key of that name, or begins it.
fn add_pair(keys: &mut Vec<ForeignKey>, key: ForeignKey) {
    match keys.iter_mut().find(|known| known.name == key.name) {
        Some(known) => {
            known.columns.extend(key.columns);
            known.parent_columns.extend(key.parent_columns);
        }
        None => keys.push(key),
    }
}

fn on_delete(word: &str) -> OnDelete {
    match word.to_ascii_uppercase().as_str() {
        "CASCADE" | "C" => OnDelete::Cascade,
        "SET NULL" | "N" => OnDelete::SetNull,
        "SET DEFAULT" | "D" => OnDelete::SetDefault,
        "RESTRICT" | "R" => OnDelete::Restrict,
        _ => OnDelete::NoAction,
    }
}
