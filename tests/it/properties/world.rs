//! A random shop: tables with random foreign keys, rows, and a plan that is legal for them.
//!
//! Table 0 holds the people. Every other table points at earlier ones; what a plan does with a table is chosen
//! among what the foreign keys allow.

use std::fmt::Write;

use super::random::Random;
use crate::support::targets::Dialect;

pub type Value = Option<String>;

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    /// In another database: no foreign keys, found through keys that cross connections.
    pub elsewhere: bool,
    pub links: Vec<Link>,
    pub entries: Vec<Entry>,
    /// `id`, the link columns, `note`.
    pub rows: Vec<Vec<Value>>,
}

#[derive(Debug, Clone)]
pub struct Link {
    pub column: String,
    pub parent: usize,
    /// `id`, or `email` of the people.
    pub parent_column: &'static str,
    pub nullable: bool,
    /// Declared as a foreign key, with this action.
    pub foreign_key: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    /// Indices into the table's links: any of them.
    pub alternatives: Vec<usize>,
    pub erase: Erase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erase {
    Delete,
    Unlink,
    /// `note` becomes a constant; the link columns too become NULL where that is said.
    Mask {
        nulls_links: bool,
    },
    Keep,
    DeleteIfUnreferenced,
}

#[derive(Debug)]
pub struct World {
    pub tables: Vec<Table>,
    /// The person to erase: a row of table 0.
    pub subject: usize,
    /// The order of the tables in the plan file.
    pub file_order: Vec<usize>,
}

const ACTIONS: [&str; 3] = ["NO ACTION", "CASCADE", "RESTRICT"];

impl World {
    pub fn new(random: &mut Random) -> Self {
        let root = if random.chance(80) { Erase::Delete } else { Erase::Mask { nulls_links: false } };
        let mut tables = vec![people(root, random)];
        if random.chance(40) {
            tables.push(shared());
            let nullable = random.chance(50);
            tables[0].links.push(link("home_id", 1, nullable, Some("NO ACTION")));
        }
        for index in tables.len()..tables.len() + random.between(1, 6) {
            let table = child(index, &tables, random);
            tables.push(table);
        }
        for index in 0..tables.len() {
            fill(index, &mut tables, random);
        }
        let mut file_order: Vec<usize> = (0..tables.len()).collect();
        random.shuffle(&mut file_order);
        let subject = random.below(tables[0].rows.len());
        Self { tables, subject, file_order }
    }

    pub fn subject_id(&self) -> String {
        self.tables[0].rows[self.subject][0].clone().unwrap()
    }

    /// CREATE TABLE and INSERT statements for one of the two databases.
    pub fn sql(&self, dialect: Dialect, elsewhere: bool) -> String {
        let text = if dialect == Dialect::MySql { "VARCHAR(100)" } else { "TEXT" };
        let mut creates = String::new();
        let mut inserts = String::new();
        for table in self.creation_order() {
            let table = &self.tables[table];
            if table.elsewhere != elsewhere {
                continue;
            }
            let mut columns = vec!["id INTEGER NOT NULL PRIMARY KEY".to_owned()];
            for link in &table.links {
                let kind = if link.parent_column == "email" { text } else { "INTEGER" };
                let null = if link.nullable { "" } else { " NOT NULL" };
                columns.push(format!("{} {kind}{null}", link.column));
            }
            columns.push(format!("note {text}"));
            if table.name == "people" {
                columns.push(format!("email {text} NOT NULL UNIQUE"));
            }
            for link in &table.links {
                if let Some(action) = link.foreign_key {
                    columns.push(format!(
                        "FOREIGN KEY ({}) REFERENCES {} (id) ON DELETE {action}",
                        link.column, self.tables[link.parent].name
                    ));
                }
            }
            writeln!(creates, "CREATE TABLE {} ({});", table.name, columns.join(", ")).unwrap();
            for row in &table.rows {
                let values: Vec<String> = row
                    .iter()
                    .map(|value| value.as_ref().map_or("NULL".to_owned(), |value| format!("'{value}'")))
                    .collect();
                writeln!(inserts, "INSERT INTO {} VALUES ({});", table.name, values.join(", ")).unwrap();
            }
        }
        format!("{creates}{inserts}")
    }

    /// The shared table before the people who point at it.
    fn creation_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tables.len()).collect();
        if self.tables.get(1).is_some_and(|table| table.name == "homes") {
            order.swap(0, 1);
        }
        order
    }

    /// The plan file.
    pub fn plan(&self) -> String {
        let mut text =
            "plan: random\nsubject:\n  id: shop.people.id\n  email: shop.people.email\nconnections:\n"
                .to_owned();
        for (connection, elsewhere) in [("shop", false), ("crm", true)] {
            if !self.tables.iter().any(|table| table.elsewhere == elsewhere) {
                continue;
            }
            writeln!(text, "  {connection}:").unwrap();
            for index in &self.file_order {
                let table = &self.tables[*index];
                if table.elsewhere == elsewhere {
                    self.entries(table, &mut text);
                }
            }
        }
        text
    }

    fn entries(&self, table: &Table, text: &mut String) {
        writeln!(text, "    {}:", table.name).unwrap();
        for (number, entry) in table.entries.iter().enumerate() {
            let mut lines = Vec::new();
            if number > 0 {
                lines.push(format!("name: more{number}"));
            }
            if !entry.alternatives.is_empty() {
                let alternatives: Vec<String> =
                    entry.alternatives.iter().map(|link| self.alternative(table, *link)).collect();
                lines.push(format!("match: [ {} ]", alternatives.join(", ")));
            }
            lines.push(format!("erase: {}", erase(table, entry)));
            for (position, line) in lines.iter().enumerate() {
                let lead = if position == 0 { "      - " } else { "        " };
                writeln!(text, "{lead}{line}").unwrap();
            }
        }
    }

    fn alternative(&self, table: &Table, link: usize) -> String {
        if table.name == "homes" {
            return "{ id: people.home_id }".to_owned();
        }
        let link = &table.links[link];
        let parent = &self.tables[link.parent];
        let connection = if table.elsewhere == parent.elsewhere {
            ""
        } else if parent.elsewhere {
            "crm."
        } else {
            "shop."
        };
        format!("{{ {}: {connection}{}.{} }}", link.column, parent.name, link.parent_column)
    }
}

fn erase(table: &Table, entry: &Entry) -> String {
    match entry.erase {
        Erase::Delete => "delete".to_owned(),
        Erase::Unlink => "unlink".to_owned(),
        Erase::Keep => "{ keep: a reason }".to_owned(),
        Erase::DeleteIfUnreferenced => "delete_if_unreferenced".to_owned(),
        Erase::Mask { nulls_links } => {
            let mut columns = vec!["note: { string_rewrite: gone }".to_owned()];
            if nulls_links {
                let links = entry.alternatives.iter().map(|link| &table.links[*link].column);
                columns.extend(links.map(|column| format!("{column}: null_rewrite")));
            }
            format!("{{ mask: {{ {} }} }}", columns.join(", "))
        }
    }
}

fn people(erase: Erase, random: &mut Random) -> Table {
    let mut links = Vec::new();
    let mut entries = vec![Entry { alternatives: Vec::new(), erase }];
    if random.chance(30) {
        links.push(link("friend_id", 0, true, Some("NO ACTION")));
        entries.push(Entry { alternatives: vec![0], erase: Erase::Unlink });
    }
    Table { name: "people".to_owned(), elsewhere: false, links, entries, rows: Vec::new() }
}

/// The table that people point at, several at the same row.
fn shared() -> Table {
    // Its one alternative is the reverse direction, `{ id: people.home_id }`.
    let entries = vec![Entry { alternatives: vec![0], erase: Erase::DeleteIfUnreferenced }];
    let links = Vec::new();
    Table { name: "homes".to_owned(), elsewhere: false, links, entries, rows: Vec::new() }
}

fn link(column: &str, parent: usize, nullable: bool, foreign_key: Option<&'static str>) -> Link {
    Link { column: column.to_owned(), parent, parent_column: "id", nullable, foreign_key }
}

/// Whether rows of this table stay where they are, with their key.
fn stays(table: &Table) -> bool {
    table.entries.iter().all(|entry| matches!(entry.erase, Erase::Keep | Erase::Mask { .. } | Erase::Unlink))
}

/// Whether other tables may be found through this one: its first entry holds the subject's own rows.
fn is_owned(table: &Table) -> bool {
    table.name != "homes" && table.entries[0].erase != Erase::Unlink
}

fn child(index: usize, tables: &[Table], random: &mut Random) -> Table {
    let elsewhere = random.chance(20);
    let mut links: Vec<Link> = Vec::new();
    for number in 0..random.between(1, 3) {
        let parents: Vec<usize> = (0..index).filter(|parent| is_owned(&tables[*parent])).collect();
        let parent = parents[random.below(parents.len())];
        let by_email = parent == 0 && random.chance(25);
        let crosses = elsewhere != tables[parent].elsewhere;
        let foreign_key = (!by_email && !crosses && random.chance(70)).then(|| ACTIONS[random.below(3)]);
        links.push(Link {
            column: format!("ref{number}"),
            parent,
            parent_column: if by_email { "email" } else { "id" },
            nullable: random.chance(50),
            foreign_key,
        });
    }
    let all: Vec<usize> = (0..links.len()).collect();
    let nullable = links.iter().all(|link| link.nullable);
    let parents_stay = links.iter().all(|link| link.foreign_key.is_none() || stays(&tables[link.parent]));
    let entries = match random.below(10) {
        0..=4 => vec![Entry { alternatives: all, erase: Erase::Delete }],
        5 if nullable => vec![Entry { alternatives: all, erase: Erase::Unlink }],
        6 if nullable => vec![Entry { alternatives: all, erase: Erase::Mask { nulls_links: true } }],
        7 if parents_stay => vec![Entry { alternatives: all, erase: Erase::Mask { nulls_links: false } }],
        8 if parents_stay => vec![Entry { alternatives: all, erase: Erase::Keep }],
        9 if links.len() > 1 && links[1..].iter().all(|link| link.nullable) => vec![
            Entry { alternatives: vec![0], erase: Erase::Delete },
            Entry { alternatives: (1..links.len()).collect(), erase: Erase::Unlink },
        ],
        _ => vec![Entry { alternatives: all, erase: Erase::Delete }],
    };
    let mut table = Table { name: format!("t{index}"), elsewhere, links, entries, rows: Vec::new() };
    add_self_link(index, &mut table, random);
    table
}

/// Threads: rows that point at rows of their own table, followed to the end or unlinked.
fn add_self_link(index: usize, table: &mut Table, random: &mut Random) {
    let plain_delete = table.entries.len() == 1 && table.entries[0].erase == Erase::Delete;
    if !plain_delete || table.elsewhere || !random.chance(30) {
        return;
    }
    let own = table.links.len();
    table.links.push(link("parent_id", index, true, Some("NO ACTION")));
    if random.chance(50) {
        table.entries[0].alternatives.push(own);
    } else {
        table.entries.push(Entry { alternatives: vec![own], erase: Erase::Unlink });
    }
}

fn fill(index: usize, tables: &mut [Table], random: &mut Random) {
    let count = if index == 0 { random.between(1, 5) } else { random.between(0, 12) };
    let count = if tables[index].name == "homes" { 3 } else { count };
    for number in 0..count {
        let id = index * 100 + number + 1;
        let mut row = vec![Some(id.to_string())];
        for position in 0..tables[index].links.len() {
            let link = tables[index].links[position].clone();
            let value = target(index, number, &link, tables, random);
            if value.is_none() && !link.nullable {
                return;
            }
            row.push(value);
        }
        row.push(random.chance(85).then(|| format!("note {id}")));
        if index == 0 {
            row.push(Some(format!("p{id}@example.com")));
        }
        tables[index].rows.push(row);
    }
}

fn target(index: usize, number: usize, link: &Link, tables: &[Table], random: &mut Random) -> Value {
    if link.nullable && random.chance(25) {
        return None;
    }
    if link.column == "home_id" {
        return Some((100 + random.below(3) + 1).to_string());
    }
    if link.parent == index {
        // Only rows before this one: a thread, never a ring.
        return (number > 0).then(|| (index * 100 + random.below(number) + 1).to_string());
    }
    let parents = &tables[link.parent].rows;
    let parent = parents.get(random.below(parents.len()))?;
    if link.parent_column == "email" { parent.last().cloned().flatten() } else { parent[0].clone() }
}
