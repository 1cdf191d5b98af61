//! What the statements of a connection may rely on beyond the compiled plan: collations and indexes. They
//! decide how fast a statement is and how two texts may be put beside each other, never which rows it means,
//! and so they are no part of a plan's version. Where they are not known the careful form is written.

use std::collections::{HashMap, HashSet};

use super::{
    dialect::{Dialect, is_citext},
    session::Session,
    statement::{Statement, TextRow},
};
use crate::{
    connectors::ConnectorError,
    domain::{
        compiled::{KeyColumn, TableName},
        schema::{Catalog, Column, RowAddress, TableKind},
    },
};

#[derive(Default)]
pub(super) struct Facts {
    /// False: nothing was read, everything below is empty.
    known: bool,
    tables: HashMap<TableName, TableFacts>,
    collations: HashMap<(TableName, String), Collation>,
    /// SQLite: tables whose definition names a collation.
    collated: HashSet<TableName>,
    /// PostgreSQL: a transaction that changed nothing can still make those before it durable.
    pub(super) flushes: bool,
}

pub(super) struct TableFacts {
    pub(super) columns: Vec<Column>,
    pub(super) indexes: Vec<Vec<String>>,
    pub(super) address: RowAddress,
    /// Rows lie in several tables: an address without the table is not enough.
    pub(super) spread: bool,
}

/// The collation of a column: on MySQL of every text column, on PostgreSQL where it is not the default one.
pub(super) struct Collation {
    /// As `COLLATE` takes it.
    pub(super) name: String,
    pub(super) charset: String,
    /// Equal means equal byte for byte.
    pub(super) exact: bool,
    pub(super) ignores_case: bool,
}

impl Facts {
    /// # Errors
    /// When the target cannot be read.
    pub(super) async fn read(session: &mut Session, catalog: Catalog) -> Result<Self, ConnectorError> {
        let dialect = session.dialect();
        let sql = match dialect {
            Dialect::Postgres => POSTGRES_COLLATIONS,
            Dialect::MySql => MYSQL_COLLATIONS,
            Dialect::Sqlite => SQLITE_COLLATED,
        };
        let rows = session.query(&Statement::plain(sql)).await?;
        let mut facts = Self::of_tables(catalog);
        for row in rows {
            facts.learn(dialect, row);
        }
        if dialect == Dialect::Postgres {
            let found = session.query(&Statement::plain(POSTGRES_FLUSHES)).await?;
            facts.flushes = found.first().and_then(|row| row.first()) == Some(&Some("1".to_owned()));
        }
        Ok(facts)
    }

    pub(super) fn of_tables(catalog: Catalog) -> Self {
        let tables = catalog.tables.into_iter().map(|table| {
            let facts = TableFacts {
                columns: table.columns,
                indexes: table.indexes,
                address: table.address,
                spread: table.kind != TableKind::Table,
            };
            (TableName { schema: table.schema, name: table.name }, facts)
        });
        Self { known: true, tables: tables.collect(), ..Self::default() }
    }

    fn learn(&mut self, dialect: Dialect, row: TextRow) {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let table = TableName { schema: next(), name: next() };
        if dialect == Dialect::Sqlite {
            self.collated.insert(table);
            return;
        }
        let column = next();
        let (name, charset) = (next(), next());
        let exact = dialect == Dialect::Postgres && next() == "1";
        let ignores_case = dialect == Dialect::MySql && name.contains("_ci");
        self.collations.insert((table, column), Collation { name, charset, exact, ignores_case });
    }

    pub(super) fn table(&self, table: &TableName) -> Option<&TableFacts> {
        self.tables.get(table)
    }

    pub(super) fn collation(&self, table: &TableName, column: &str) -> Option<&Collation> {
        // The map is small and the key owned: no lookup by reference exists for a pair.
        self.collations.get(&(table.clone(), column.to_owned()))
    }

    /// True when the database's `=` on that text column compares byte for byte.
    pub(super) fn compares_exactly(&self, dialect: Dialect, table: &TableName, column: &KeyColumn) -> bool {
        match dialect {
            Dialect::MySql => false,
            Dialect::Sqlite => self.known && !self.collated.contains(table),
            Dialect::Postgres => {
                self.known
                    && !is_citext(&column.type_name)
                    && self.collation(table, &column.name).is_none_or(|collation| collation.exact)
            }
        }
    }
}

const POSTGRES_COLLATIONS: &str = "SELECT n.nspname::text, c.relname::text, a.attname::text, \
    quote_ident(cn.nspname) || '.' || quote_ident(co.collname), '', \
    (co.collisdeterministic AND t.typname <> 'citext')::int::text \
    FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_type t0 ON t0.oid = a.atttypid \
    JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN t0.typtype = 'd' THEN t0.typbasetype ELSE t0.oid END \
    JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
    JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' \
    AND (co.collname <> 'default' OR t.typname = 'citext')";

const POSTGRES_FLUSHES: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_proc \
    WHERE proname = 'pg_logical_emit_message' AND pronamespace = 'pg_catalog'::regnamespace \
    AND has_function_privilege(oid, 'EXECUTE'))::int::text";

const MYSQL_COLLATIONS: &str = "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), \
    CAST(column_name AS CHAR), CAST(collation_name AS CHAR), CAST(character_set_name AS CHAR) \
    FROM information_schema.columns WHERE collation_name IS NOT NULL \
    AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')";

const SQLITE_COLLATED: &str =
    "SELECT 'main', name FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE '%collate%'";
