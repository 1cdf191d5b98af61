//! SQLite's catalog: the main schema of the file.

use super::{Row, Tables, add_pair, on_delete, rows};
use crate::{
    connectors::{ConnectorError, sql::session::Session},
    domain::schema::{Catalog, Column, Family, ForeignKey, Rights, RowAddress, Table, TableKind},
};

/// SQLite raises it with every change of the schema.
pub(super) const FINGERPRINT: &str = "SELECT CAST(schema_version AS TEXT) FROM pragma_schema_version";

const MAIN: &str = "main";

pub(super) async fn read(session: &mut Session) -> Result<Catalog, ConnectorError> {
    let mut tables = Tables::default();
    relations(session, &mut tables).await?;
    columns(session, &mut tables).await?;
    indexes(session, &mut tables).await?;
    shadowed_rowids(&mut tables);
    foreign_keys(session, &mut tables).await?;
    triggers(session, &mut tables).await?;
    Ok(tables.into_catalog(MAIN.to_owned()))
}

async fn relations(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT name, type, CAST(wr AS TEXT) FROM pragma_table_list
         WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    for row in rows(session, sql).await? {
        let kind = if row.text(1) == "table" { TableKind::Table } else { TableKind::Other };
        tables.insert(Table {
            schema: MAIN.to_owned(),
            name: row.text(0).to_owned(),
            kind,
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
            // Without rowid: settled when the primary key is known.
            address: if row.flag(2) { RowAddress::None } else { RowAddress::Rowid },
            obstacles: Vec::new(),
        });
    }
    Ok(())
}

async fn columns(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT t.name, c.name, c.type, CAST(c.\"notnull\" AS TEXT), CAST(c.pk AS TEXT), CAST(c.hidden AS TEXT)
         FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) c
         WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid";
    let found = rows(session, sql).await?;
    for row in &found {
        let Some(table) = tables.get(MAIN, row.text(0)) else { continue };
        let in_key = row.number(4).unwrap_or(0) > 0;
        // INTEGER PRIMARY KEY is the rowid and never NULL; so are the keys of tables without one.
        let never_null = in_key
            && (row.text(2).eq_ignore_ascii_case("integer") && single_key(&found, row.text(0))
                || table.address != RowAddress::Rowid);
        table.columns.push(Column {
            name: row.text(1).to_owned(),
            type_name: row.text(2).to_owned(),
            base_type: None,
            family: family(row.text(2)),
            nullable: !row.flag(3) && !never_null,
            max_length: None,
            generated: matches!(row.number(5), Some(2 | 3)),
        });
    }
    for table in tables.0.values_mut() {
        let mut key: Vec<(i64, String)> = found
            .iter()
            .filter(|row| row.text(0) == table.name && row.number(4).unwrap_or(0) > 0)
            .map(|row| (row.number(4).unwrap_or(0), row.text(1).to_owned()))
            .collect();
        key.sort();
        table.primary_key = key.into_iter().map(|(_, name)| name).collect();
        if !table.primary_key.is_empty() {
            table.unique_keys.push(table.primary_key.clone());
            table.indexes.push(table.primary_key.clone());
        }
        if table.address == RowAddress::None {
            table.address = RowAddress::Key(table.primary_key.clone());
        }
    }
    Ok(())
}

fn single_key(rows: &[Row], table: &str) -> bool {
    rows.iter().filter(|row| row.text(0) == table && row.number(4).unwrap_or(0) > 0).count() == 1
}

/// By the declared type; SQLite's own affinity rules where the name says nothing (SQLite documentation, "Datatypes").
fn family(declared: &str) -> Family {
    let name = declared.to_ascii_uppercase();
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if name.is_empty() || name == "ANY" {
        Family::Any
    } else if holds(&["UUID", "GUID"]) {
        Family::Uuid
    } else if holds(&["INTERVAL", "DATE", "TIME"]) {
        Family::Time
    } else if holds(&["INT"]) {
        Family::Integer
    } else if holds(&["CHAR", "CLOB", "TEXT"]) {
        Family::Text
    } else if holds(&["BLOB", "BINARY"]) {
        Family::Binary
    } else if holds(&["JSON"]) {
        Family::Json
    } else if holds(&["BOOL"]) {
        Family::Boolean
    } else if holds(&["REAL", "FLOA", "DOUB", "NUM", "DEC"]) {
        Family::Number
    } else {
        Family::Other
    }
}

async fn indexes(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT t.name, i.name, CAST(i.\"unique\" AS TEXT), CAST(i.partial AS TEXT), c.name
         FROM pragma_table_list t JOIN pragma_index_list(t.name) i JOIN pragma_index_xinfo(i.name) c
         WHERE t.schema = 'main' AND c.key = 1 ORDER BY t.name, i.seq, c.seqno";
    let mut current: Option<(String, String)> = None;
    let mut columns: Vec<String> = Vec::new();
    let mut plain = true;
    let mut unique = false;
    let mut found: Vec<(String, Vec<String>, bool)> = Vec::new();
    for row in rows(session, sql).await? {
        let index = (row.text(0).to_owned(), row.text(1).to_owned());
        if current.as_ref() != Some(&index) {
            if let Some((table, _)) = current.take() {
                found.push((table, std::mem::take(&mut columns), unique && plain));
            }
            current = Some(index);
            plain = true;
        }
        unique = row.flag(2);
        plain &= !row.flag(3) && row.optional(4).is_some();
        if plain {
            columns.push(row.text(4).to_owned());
        }
    }
    if let Some((table, _)) = current {
        found.push((table, columns, unique && plain));
    }
    for (table, columns, unique) in found {
        let Some(table) = tables.get(MAIN, &table) else { continue };
        if unique {
            table.unique_keys.push(columns.clone());
        }
        if !columns.is_empty() {
            table.indexes.push(columns);
        }
    }
    Ok(())
}

/// A column of that name hides the rowid: such rows are addressed by a unique key without NULLs.
fn shadowed_rowids(tables: &mut Tables) {
    for table in tables.0.values_mut() {
        let hides = |column: &Column| column.name.eq_ignore_ascii_case("rowid");
        if table.address != RowAddress::Rowid || !table.columns.iter().any(hides) {
            continue;
        }
        let not_null = |key: &&Vec<String>| {
            key.iter().all(|name| table.column(name).is_some_and(|column| !column.nullable))
        };
        table.address = table
            .unique_keys
            .iter()
            .find(not_null)
            .map_or(RowAddress::None, |key| RowAddress::Key(key.clone()));
    }
}

async fn foreign_keys(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT t.name, CAST(k.id AS TEXT), k.\"table\", k.\"from\", k.\"to\", k.on_delete, CAST(k.seq AS TEXT)
         FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) k
         WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, k.id, k.seq";
    for row in rows(session, sql).await? {
        // Names of parents are taken without regard to case; the catalog's spelling counts.
        let parent = tables.0.values().find(|table| table.name.eq_ignore_ascii_case(row.text(2)));
        let parent_name = parent.map_or(row.text(2), |table| &table.name).to_owned();
        let position = usize::try_from(row.number(6).unwrap_or(0)).unwrap_or(0);
        let to = row.optional(4).map(str::to_owned);
        let parent_column = match (to, parent) {
            (Some(to), Some(parent)) => parent
                .columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(&to))
                .map_or(to.clone(), |column| column.name.clone()),
            (Some(to), None) => to,
            // Without columns the parent's primary key is meant.
            (None, parent) => {
                parent.and_then(|table| table.primary_key.get(position).cloned()).unwrap_or_default()
            }
        };
        let Some(table) = tables.get(MAIN, row.text(0)) else { continue };
        let column = table
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(row.text(3)))
            .map_or_else(|| row.text(3).to_owned(), |column| column.name.clone());
        let key = ForeignKey {
            name: format!("{}_fk{}", row.text(0), row.text(1)),
            columns: vec![column],
            parent_schema: MAIN.to_owned(),
            parent_table: parent_name,
            parent_columns: vec![parent_column],
            on_delete: on_delete(row.text(5)),
        };
        add_pair(&mut table.foreign_keys, key);
    }
    Ok(())
}

async fn triggers(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
    for row in rows(session, sql).await? {
        // Names are taken without regard to case: `ON Users` may mean `users`.
        let table = tables.0.values_mut().find(|table| table.name.eq_ignore_ascii_case(row.text(0)));
        if let Some(table) = table.filter(|_| fires_on_removal_or_change(row.text(2), row.text(1))) {
            table.triggers.push(row.text(1).to_owned());
        }
    }
    Ok(())
}

/// The first event word behind the trigger's name; a text without one counts as firing.
fn fires_on_removal_or_change(text: &str, name: &str) -> bool {
    let behind = text.split_once(name).map_or(text, |(_, rest)| rest);
    behind
        .split(|c: char| !c.is_ascii_alphabetic())
        .find_map(|word| match word.to_ascii_uppercase().as_str() {
            "DELETE" | "UPDATE" => Some(true),
            "INSERT" => Some(false),
            _ => None,
        })
        .unwrap_or(true)
}
