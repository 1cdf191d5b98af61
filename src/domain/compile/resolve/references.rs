//! `users.id`, `shop.users.id`, `sales.orders.id`, `shop.sales.orders.id` → a column of a table of the plan.

use std::collections::BTreeMap;

use super::super::model::{PlanTable, TableId};
use crate::domain::{
    document::{At, Reader, suggest},
    plan::{PlanFile, Reference},
    schema::{Catalog, Column, Table},
};

pub(super) struct Lookup<'a, 'm> {
    pub plan: &'a PlanFile,
    pub catalogs: &'a BTreeMap<String, Catalog>,
    pub tables: &'m [PlanTable<'a>],
}

/// A table that a reference could mean.
type Candidate<'a> = (&'a str, &'a Table);

impl<'a> Lookup<'a, '_> {
    /// A column of the entry's own table.
    pub(super) fn own_column(
        &self,
        table: &PlanTable<'a>,
        name: &At<String>,
        faults: &mut Reader,
    ) -> Option<&'a Column> {
        let column = table.table.column(&name.value);
        if column.is_none() {
            report_column(name.line, &table.shown, table.table, &name.value, faults);
        }
        column
    }

    /// Resolves a reference that stands in that connection (`None`: in `subject`, where the connection comes
    /// first) and reports what is wrong with it.
    pub(super) fn column(
        &self,
        from: Option<&str>,
        reference: &Reference,
        line: usize,
        faults: &mut Reader,
    ) -> Option<(TableId, &'a Column)> {
        let (column, place) = reference.parts.split_last()?;
        let (connection, table) = self.table(from, reference, place, line, faults)?;
        let shown = super::dotted(&[connection, &table.name]);
        let Some(column) = table.column(column) else {
            report_column(line, &shown, table, column, faults);
            return None;
        };
        let known = self
            .tables
            .iter()
            .position(|known| known.connection == connection && std::ptr::eq(known.table, table));
        if known.is_none() {
            let problem = format!("`{reference}` is read from `{shown}`, which this plan does not name");
            faults.error(line, problem, format!("add `{}` with an `erase` of its own", table.name));
        }
        known.map(|table| (table, column))
    }

    fn table(
        &self,
        from: Option<&str>,
        reference: &Reference,
        place: &[String],
        line: usize,
        faults: &mut Reader,
    ) -> Option<Candidate<'a>> {
        let mut found: Vec<Candidate<'a>> = Vec::new();
        match place {
            [table] => match from {
                Some(connection) => found.extend(self.candidate(connection, None, table)),
                None => {
                    let problem = format!("`{reference}` does not say its connection");
                    let remedy = format!(
                        "write connection.table.column, such as: {}.{reference}",
                        self.some_connection()
                    );
                    faults.error(line, problem, remedy);
                    return None;
                }
            },
            [first, table] => {
                found.extend(self.candidate(first, None, table));
                let by_schema = from.and_then(|connection| self.candidate(connection, Some(first), table));
                found.extend(by_schema.filter(|(connection, table)| {
                    !found.iter().any(|(other, known)| other == connection && std::ptr::eq(*known, *table))
                }));
            }
            [connection, schema, table] => found.extend(self.candidate(connection, Some(schema), table)),
            _ => {}
        }
        match found.as_slice() {
            [one] => Some(*one),
            [] => {
                self.report_unknown(from, reference, place, line, faults);
                None
            }
            _ => {
                let problem = format!("`{reference}` begins with what is a connection and a schema");
                faults.error(line, problem, "write all four parts: connection.schema.table.column");
                None
            }
        }
    }

    fn candidate(&self, connection: &str, schema: Option<&str>, table: &str) -> Option<Candidate<'a>> {
        let connection = self.connection(connection)?;
        let table = self.catalogs.get(connection)?.table(schema, table)?;
        Some((connection, table))
    }

    /// A connection of this plan.
    fn connection(&self, name: &str) -> Option<&'a str> {
        self.plan.connections.iter().map(|known| known.value.as_str()).find(|known| *known == name)
    }

    fn some_connection(&self) -> &'a str {
        self.plan.connections.first().map_or("shop", |connection| &connection.value)
    }

    fn report_unknown(
        &self,
        from: Option<&str>,
        reference: &Reference,
        place: &[String],
        line: usize,
        faults: &mut Reader,
    ) {
        let first = place.first().map_or("", String::as_str);
        let named = if place.len() > 1 { self.connection(first) } else { None };
        let is_schema =
            from.and_then(|name| self.catalogs.get(name)).is_some_and(|catalog| catalog.has_schema(first));
        if place.len() > 1 && named.is_none() && (from.is_none() || !is_schema) {
            let known = self.plan.connections.iter().map(|known| known.value.as_str());
            let problem = format!("`{reference}` begins with `{first}`, which is no connection of this plan");
            faults.error(line, problem, suggest(first, known));
            return;
        }
        let catalog = named.or(from).and_then(|name| self.catalogs.get(name));
        // A connection that is not configured has been reported already.
        let Some(catalog) = catalog else { return };
        let names = table_names(catalog);
        let wanted = place.iter().skip(usize::from(named.is_some())).map(String::as_str).collect::<Vec<_>>();
        let problem = format!("`{reference}`: there is no table `{}`", super::dotted(&wanted));
        faults.error(line, problem, suggest(&super::dotted(&wanted), names.iter().map(String::as_str)));
    }
}

/// Every table as a plan would name it.
pub(super) fn table_names(catalog: &Catalog) -> Vec<String> {
    let name = |table: &Table| {
        if table.schema == catalog.default_schema {
            super::dotted(&[&table.name])
        } else {
            super::dotted(&[&table.schema, &table.name])
        }
    };
    catalog.tables.iter().map(name).collect()
}

fn report_column(line: usize, shown: &str, table: &Table, column: &str, faults: &mut Reader) {
    let known = table.columns.iter().map(|known| known.name.as_str());
    faults.error(line, format!("`{shown}` has no column `{column}`"), suggest(column, known));
}
