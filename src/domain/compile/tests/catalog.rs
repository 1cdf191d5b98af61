//! Catalogs written as text, one table a line:
//! `orders: id int pk, user_id int null -> users.id cascade, name text(20) unique; unique a b; rows 20000`.

use crate::domain::schema::{
    Catalog, Column, Family, ForeignKey, Obstacle, OnDelete, Rights, RowAddress, Table, TableKind,
};

pub fn catalog(text: &str) -> Catalog {
    let tables = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(table).collect();
    Catalog { default_schema: "public".to_owned(), tables, ..Catalog::default() }
}

fn table(line: &str) -> Table {
    let (name, rest) = line.split_once(':').expect("name: columns");
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    let rights = Rights {
        select: true,
        delete: true,
        update: true,
        update_columns: Vec::new(),
        role: "app".to_owned(),
    };
    let mut table = Table {
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: TableKind::Table,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        triggers: Vec::new(),
        estimated_rows: None,
        rights,
        address: RowAddress::Ctid,
        obstacles: Vec::new(),
    };
    let mut parts = rest.split(';');
    for text in parts.next().unwrap_or_default().split(',') {
        column(&mut table, text);
    }
    parts.for_each(|text| option(&mut table, text));
    if !table.primary_key.is_empty() {
        table.unique_keys.push(table.primary_key.clone());
    }
    table.indexes.extend(table.unique_keys.clone());
    table
}

fn column(table: &mut Table, text: &str) {
    let mut words = text.split_whitespace();
    let name = words.next().expect("a column's name").to_owned();
    let type_text = words.next().expect("a column's type");
    let (family, type_name, max_length) = kind(type_text);
    let mut column = Column {
        name: name.clone(),
        type_name,
        base_type: None,
        family,
        nullable: false,
        max_length,
        generated: false,
    };
    while let Some(word) = words.next() {
        match word {
            "pk" => table.primary_key.push(name.clone()),
            "null" => column.nullable = true,
            "unique" => table.unique_keys.push(vec![name.clone()]),
            "index" => table.indexes.push(vec![name.clone()]),
            "generated" => column.generated = true,
            "->" => {
                let target = words.next().expect("table.column");
                foreign_key(table, vec![name.clone()], target, OnDelete::NoAction);
            }
            "cascade" => table.foreign_keys.last_mut().expect("a key").on_delete = OnDelete::Cascade,
            other => panic!("{other}?"),
        }
    }
    table.columns.push(column);
}

fn kind(text: &str) -> (Family, String, Option<u32>) {
    let (word, length) = match text.split_once('(') {
        Some((word, length)) => (word, length.trim_end_matches(')').parse().ok()),
        None => (text, None),
    };
    let family = match word {
        "int" | "bigint" | "smallint" => Family::Integer,
        "decimal" => Family::Number,
        "text" => Family::Text,
        "uuid" => Family::Uuid,
        "bool" => Family::Boolean,
        "time" | "timestamp" => Family::Time,
        "json" => Family::Json,
        "enum" => Family::Enum,
        "array" => Family::Array,
        "bytes" => Family::Binary,
        other => panic!("{other}?"),
    };
    (family, text.to_owned(), length)
}

fn foreign_key(table: &mut Table, columns: Vec<String>, target: &str, on_delete: OnDelete) {
    let (parent, parent_columns) = target.split_once('.').expect("table.column");
    table.foreign_keys.push(ForeignKey {
        name: format!("fk{}", table.foreign_keys.len()),
        columns,
        parent_schema: "public".to_owned(),
        parent_table: parent.to_owned(),
        parent_columns: parent_columns.split('+').map(str::to_owned).collect(),
        on_delete,
    });
}

fn option(table: &mut Table, text: &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["unique", columns @ ..] => {
            table.unique_keys.push(columns.iter().map(|&column| column.to_owned()).collect());
        }
        ["fk", columns, target] => {
            let columns = columns.split('+').map(str::to_owned).collect();
            foreign_key(table, columns, target, OnDelete::NoAction);
        }
        ["rows", count] => table.estimated_rows = count.parse().ok(),
        ["trigger", name] => table.triggers.push((*name).to_owned()),
        ["view"] => table.kind = TableKind::Other,
        ["partition"] => table.kind = TableKind::Partition,
        ["no", "select"] => table.rights.select = false,
        ["no", "delete"] => table.rights.delete = false,
        ["no", "update"] => table.rights.update = false,
        ["row_security"] => table.obstacles.push(Obstacle::RowSecurity),
        ["versioned"] => table.obstacles.push(Obstacle::SystemVersioned),
        ["engine", name] => table.obstacles.push(Obstacle::NonTransactional((*name).to_owned())),
        other => panic!("{other:?}?"),
    }
}
