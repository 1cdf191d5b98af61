//! The plan as YAML, each guess with its reason beside it.

use std::fmt::Write;

use super::{
    Place, Wish, guess,
    walk::{self, Block, Drafted, Link, Start, is_plain},
};
use crate::domain::{
    compile::is_credential,
    plan::Reference,
    schema::{Column, ForeignKey, Table},
};

const HEAD: &str = "\
# Drafted from the live schema: a proposal, not a decision. Read every comment, delete what is wrong, then run
# `rightful check`. What only looks personal stands commented out.
";

struct Writer<'b, 'c> {
    blocks: &'b [Block<'c>],
    out: String,
}

pub(super) fn plan(wish: &Wish, subject: &Place<'_>, blocks: &[Block<'_>]) -> String {
    let mut writer = Writer { blocks, out: HEAD.to_owned() };
    let name = wish.name.clone().unwrap_or_else(|| guess::singular(&subject.table.name));
    writer.line(0, &format!("plan: {}", yaml(&name)), "");
    writer.subject(subject);
    writer.line(0, "connections:", "");
    for block in blocks {
        writer.block(block);
    }
    writer.out
}

impl Writer<'_, '_> {
    fn line(&mut self, indent: usize, text: &str, comment: &str) {
        let comment: String = comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let gap = if comment.is_empty() { "" } else { "   # " };
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{:indent$}{text}{gap}{comment}", "");
    }

    fn note(&mut self, indent: usize, comment: &str) {
        let comment: String = comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(self.out, "{:indent$}# {comment}", "");
    }

    fn subject(&mut self, subject: &Place<'_>) {
        self.line(0, "subject:", "the first identity is the root: the row that is the person");
        let Place { table, column, .. } = *subject;
        let unique = |column: &Column| table.is_unique(std::slice::from_ref(&column.name));
        let doubt = if unique(column) { "" } else { "not unique: a value that two rows have is refused" };
        self.line(2, &self.identity(subject, column), doubt);
        let others = table.columns.iter().filter(|other| other.name != column.name && guess::is_email(other));
        for email in others {
            let text = self.identity(subject, email);
            if unique(email) {
                self.line(2, &text, "");
            } else {
                self.note(2, &format!("{text}   not unique: a value that two rows have is refused"));
            }
        }
    }

    fn identity(&self, subject: &Place<'_>, column: &Column) -> String {
        let name = match guess::words(&column.name).join("_") {
            id if id == "id" => format!("{}_id", guess::singular(&subject.table.name)),
            name => name,
        };
        let place = yaml(&self.full(subject.connection, subject.table, &column.name).to_string());
        if guess::is_email(column) {
            return format!("{}: {{ column: {place}, ignore_case: true }}", yaml(&name));
        }
        format!("{}: {place}", yaml(&name))
    }

    fn block(&mut self, block: &Block<'_>) {
        self.line(2, &format!("{}:", yaml(block.connection)), "");
        for drafted in &block.tables {
            self.table(block, drafted);
        }
        self.parents(block);
        self.strangers(block);
    }

    fn table(&mut self, block: &Block<'_>, drafted: &Drafted<'_>) {
        let name = yaml(&table_name(block, drafted.table).to_string());
        if !drafted.is_owned() && drafted.unlinks.is_empty() {
            for note in &drafted.notes {
                self.note(4, &format!("{name}: {note}"));
            }
            return;
        }
        self.line(4, &format!("{name}:"), "");
        for note in &drafted.notes {
            self.note(6, note);
        }
        let entries = usize::from(drafted.is_owned()) + drafted.unlinks.len();
        let (first, rest) = if entries == 1 { ("", "") } else { ("- ", "  ") };
        if drafted.is_owned() {
            self.owned(block, drafted, first, rest);
        }
        for (at, link) in drafted.unlinks.iter().enumerate() {
            let mut first = first;
            if drafted.is_owned() || at > 0 {
                self.line(6, &format!("- name: {}", yaml(&entry_name(&drafted.unlinks, at))), "");
                first = rest;
            }
            self.line(6, &format!("{first}match: {}", self.link(block, link)), &other_people(link));
            self.line(6, &format!("{rest}erase: unlink"), "");
        }
    }

    fn owned(&mut self, block: &Block<'_>, drafted: &Drafted<'_>, first: &str, rest: &str) {
        let mut alternatives: Vec<(String, String)> = Vec::new();
        if let Some(Start::Join { column, ours }) = &drafted.start {
            let source = self.full(ours.connection, ours.table, &ours.column.name).to_string();
            let text = format!("{{ {}: {} }}", name(&column.name), yaml(&source));
            alternatives.push((text, "the join that was asked for".to_owned()));
        }
        for link in &drafted.own {
            let comment = by(link);
            alternatives.push((self.link(block, link), comment));
        }
        let mut lead = first;
        match alternatives.as_slice() {
            [] => {}
            [(text, comment)] => {
                self.line(6, &format!("{lead}match: {text}"), comment);
                lead = rest;
            }
            several => {
                self.line(6, &format!("{lead}match:"), "any of them");
                lead = rest;
                for (text, comment) in several {
                    self.line(8, &format!("{rest}- {text}"), comment);
                }
            }
        }
        let comment = match &drafted.start {
            Some(Start::Root) => "the person's own row".to_owned(),
            _ if guess::is_bookkeeping(drafted.table) => {
                "must it be kept? Then mask it, with its basis, and mask what it points at instead of deleting it"
                    .to_owned()
            }
            _ => String::new(),
        };
        self.line(6, &format!("{lead}erase: delete"), &comment);
        self.export_and_rectify(drafted.table, rest);
    }

    fn export_and_rectify(&mut self, table: &Table, rest: &str) {
        let (closed, open): (Vec<&Column>, Vec<&Column>) =
            table.columns.iter().partition(|column| is_credential(&column.name));
        if !closed.is_empty() {
            let left_out: Vec<&str> = closed.iter().map(|column| column.name.as_str()).collect();
            let comment = format!("without {}: looks like a credential", left_out.join(", "));
            let columns = if open.is_empty() { "none".to_owned() } else { list(&open) };
            self.line(6, &format!("{rest}export: {columns}"), &comment);
        }
        let mut personal = guess::personal_columns(table);
        personal.retain(|column| !column.generated && !is_credential(&column.name));
        if !personal.is_empty() {
            self.line(6, &format!("{rest}rectify: {}", list(&personal)), "");
        }
    }

    /// Rows that the person's rows point at and that look personal: perhaps shared, so only a suggestion.
    fn parents(&mut self, block: &Block<'_>) {
        let mut suggested: Vec<&Table> = Vec::new();
        for drafted in block.tables.iter().filter(|drafted| drafted.is_owned()) {
            for key in &drafted.table.foreign_keys {
                let Some(parent) = block.catalog.table(Some(&key.parent_schema), &key.parent_table) else {
                    continue;
                };
                let known =
                    block.find(parent).is_some() || suggested.iter().any(|table| walk::same(table, parent));
                if known || !is_plain(parent) || guess::personal_columns(parent).is_empty() {
                    continue;
                }
                suggested.push(parent);
                let place = yaml(&table_name(block, parent).to_string());
                if guess::is_person(parent) {
                    let text =
                        format!("{place}: the person's rows point at it; probably other people, left out");
                    self.note(4, &text);
                    continue;
                }
                let pairs: Vec<String> = key
                    .parent_columns
                    .iter()
                    .zip(&key.columns)
                    .map(|(theirs, ours)| {
                        format!(
                            "{}: {}",
                            name(theirs),
                            yaml(&self.near(block, drafted.table, ours).to_string())
                        )
                    })
                    .collect();
                self.note(
                    4,
                    &format!("{place}:   the person's rows point at it; a row that others share stays"),
                );
                self.note(4, &format!("  match: {{ {} }}", pairs.join(", ")));
                self.note(4, "  erase: delete_if_unreferenced");
            }
        }
    }

    /// Tables that look personal and that no foreign key leads to.
    fn strangers(&mut self, block: &Block<'_>) {
        let root = self.blocks[0].tables[0].table;
        let email = root.columns.iter().find(|column| guess::is_email(column));
        let points_at = |child: &Table, parent: &Table| {
            let here =
                |key: &ForeignKey| key.parent_schema == parent.schema && key.parent_table == parent.name;
            child.foreign_keys.iter().any(here)
        };
        // Parents have their own suggestion; children of rows that stay, stay.
        let known = |table: &Table| {
            let tables = block.tables.iter().map(|drafted| drafted.table);
            tables.into_iter().any(|drafted| points_at(drafted, table) || points_at(table, drafted))
        };
        for table in
            block.catalog.tables.iter().filter(|table| is_plain(table) && block.find(table).is_none())
        {
            let personal = guess::personal_columns(table);
            if personal.is_empty() || known(table) {
                continue;
            }
            let place = yaml(&table_name(block, table).to_string());
            let columns: Vec<&str> = personal.iter().map(|column| column.name.as_str()).collect();
            self.note(
                4,
                &format!(
                    "{place}:   no foreign key leads here, but it looks personal: {}",
                    columns.join(", ")
                ),
            );
            let theirs = table.columns.iter().find(|column| guess::is_email(column));
            if let Some((theirs, ours)) = theirs.zip(email) {
                let source = self.full(self.blocks[0].connection, root, &ours.name).to_string();
                self.note(4, &format!("  match: {{ {}: {} }}", name(&theirs.name), yaml(&source)));
                self.note(4, "  erase: delete");
            }
        }
    }

    fn link(&self, block: &Block<'_>, link: &Link<'_>) -> String {
        let pairs: Vec<String> = link
            .key
            .columns
            .iter()
            .zip(&link.key.parent_columns)
            .map(|(own, theirs)| {
                format!("{}: {}", name(own), yaml(&self.near(block, link.parent, theirs).to_string()))
            })
            .collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    /// A column of the same connection, as short as it stays clear.
    fn near(&self, block: &Block<'_>, table: &Table, column: &str) -> Reference {
        let is_connection = |name: &str| self.blocks.iter().any(|block| block.connection == name);
        if table.schema == block.catalog.default_schema {
            return reference(&[&table.name, column]);
        }
        if is_connection(&table.schema) {
            return reference(&[block.connection, &table.schema, &table.name, column]);
        }
        reference(&[&table.schema, &table.name, column])
    }

    /// A column that may be of another connection.
    fn full(&self, connection: &str, table: &Table, column: &str) -> Reference {
        let default = self
            .blocks
            .iter()
            .any(|block| block.connection == connection && block.catalog.default_schema == table.schema);
        // A schema of the connection's name could be meant too: then all four parts are written.
        let doubtful = self.blocks.iter().any(|block| block.catalog.has_schema(connection));
        if default && !doubtful {
            return reference(&[connection, &table.name, column]);
        }
        reference(&[connection, &table.schema, &table.name, column])
    }
}

fn reference(parts: &[&str]) -> Reference {
    Reference { parts: parts.iter().map(|part| (*part).to_owned()).collect() }
}

fn table_name(block: &Block<'_>, table: &Table) -> Reference {
    if table.schema == block.catalog.default_schema {
        return reference(&[&table.name]);
    }
    reference(&[&table.schema, &table.name])
}

/// A bare name where a plan takes dotted ones: dots inside are quoted.
fn name(text: &str) -> String {
    yaml(&reference(&[text]).to_string())
}

fn list(columns: &[&Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| name(&column.name)).collect();
    format!("[{}]", names.join(", "))
}

fn other_people(link: &Link<'_>) -> String {
    format!("other people's rows: only the pointer goes ({})", by(link))
}

/// How the rows were found to hang together.
fn by(link: &Link<'_>) -> String {
    match link.key.name.as_str() {
        "" => "a guess by the column's name: there is no foreign key".to_owned(),
        name => format!("foreign key {name}"),
    }
}

/// Unique within the table: the key's columns, with a number where they repeat.
fn entry_name(links: &[Link<'_>], at: usize) -> String {
    let base = |link: &Link<'_>| guess::words(&link.key.columns.join("_")).join("_");
    let own = base(&links[at]);
    let earlier = links[..at].iter().filter(|link| base(link) == own).count();
    if earlier == 0 { own } else { format!("{own}_{}", earlier + 1) }
}

/// A scalar, quoted where YAML could take it for anything but this text.
fn yaml(text: &str) -> String {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if starts && plain && !WORDS.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}
