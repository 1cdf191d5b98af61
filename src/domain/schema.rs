//! The live schema of one connection, as its catalog tells it: what `compile` joins a plan file with.

use serde::{Deserialize, Serialize};

/// Everything that `compile` needs to know of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    pub kind: CatalogKind,
    /// The schema that a table without one means: `public` (the first of `search_path`), the database, `main`.
    pub default_schema: String,
    pub tables: Vec<Table>,
}

/// What a connection is, as far as a plan is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CatalogKind {
    #[default]
    Database,
    /// An HTTP service, which tells nothing of its resources: a plan names them as it likes.
    Service,
}

impl Catalog {
    /// Of an HTTP service.
    #[must_use]
    pub fn of_service() -> Self {
        Self { kind: CatalogKind::Service, ..Self::default() }
    }

    /// The table of exactly that name; names are taken as the catalog has them.
    #[must_use]
    pub fn table(&self, schema: Option<&str>, name: &str) -> Option<&Table> {
        let schema = schema.unwrap_or(&self.default_schema);
        self.tables.iter().find(|table| table.name == name && table.schema == schema)
    }

    #[must_use]
    pub fn has_schema(&self, schema: &str) -> bool {
        self.tables.iter().any(|table| table.schema == schema)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    /// In key order; empty without a primary key.
    pub primary_key: Vec<String>,
    /// Unique constraints and unique indexes over plain columns without a predicate, the primary key included.
    pub unique_keys: Vec<Vec<String>>,
    /// The plain leading columns of every usable index (no predicate), the primary key included.
    pub indexes: Vec<Vec<String>>,
    /// The foreign keys that this table holds (it is the child).
    pub foreign_keys: Vec<ForeignKey>,
    /// Names of user triggers that fire on DELETE or UPDATE.
    pub triggers: Vec<String>,
    /// An estimate from the statistics; `None` where the database keeps none.
    pub estimated_rows: Option<u64>,
    pub rights: Rights,
    /// How one row is addressed in a batch.
    pub address: RowAddress,
    /// Reasons why a fresh count of this table could lie or a batch could not be undone; any of them refuses it.
    pub obstacles: Vec<Obstacle>,
}

impl Table {
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// True when those columns together can hold a value at most once.
    #[must_use]
    pub fn is_unique(&self, columns: &[String]) -> bool {
        self.unique_keys.iter().any(|key| key.iter().all(|column| columns.contains(column)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    Table,
    /// Partitioned or with inheriting tables: stands for all of them.
    Partitioned,
    /// A partition or an inheriting table: reached through its parent.
    Partition,
    /// No table, but what a plan calls a resource of an HTTP service.
    Resource,
    /// Views, foreign and virtual tables: refused.
    Other,
}

/// What makes a table unfit for a plan (DESIGN.md §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Row-level security applies to the role: hidden rows would make a fresh count lie.
    RowSecurity,
    /// MariaDB system versioning keeps what was deleted.
    SystemVersioned,
    /// The engine (named) has no transactions.
    NonTransactional(String),
}

/// Rights of the connection's role; all true where the database has no rights (SQLite).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    pub select: bool,
    pub delete: bool,
    /// On the whole table; otherwise `update_columns` counts.
    pub update: bool,
    pub update_columns: Vec<String>,
    /// The name that the remedy's GRANT is written for.
    pub role: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As the catalog writes it and a cast understands it: `character varying(20)`, `bigint unsigned`.
    pub type_name: String,
    /// What a domain is a domain of, with its lengths; of an array of a domain, an array of that. `None` for other types.
    pub base_type: Option<String>,
    pub family: Family,
    pub nullable: bool,
    /// In characters, for text of limited length.
    pub max_length: Option<u32>,
    /// GENERATED ALWAYS AS (…) or identity ALWAYS: cannot be written.
    pub generated: bool,
}

impl Column {
    /// The type that decides what a value means.
    #[must_use]
    pub fn base_type(&self) -> &str {
        self.base_type.as_deref().unwrap_or(&self.type_name)
    }
}

/// What kind of value a type holds. Two sides of a `match` must be of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Integer,
    /// Decimals and floats.
    Number,
    Text,
    Uuid,
    Boolean,
    /// Dates, times, intervals.
    Time,
    Binary,
    Json,
    Enum,
    Array,
    /// SQLite columns without a type: hold anything, compare with anything.
    Any,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub parent_schema: String,
    pub parent_table: String,
    pub parent_columns: Vec<String>,
    pub on_delete: OnDelete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// How a batch names the rows that it works on. The choice is part of no plan version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowAddress {
    /// PostgreSQL: `(tableoid, ctid)`.
    Ctid,
    /// SQLite: `rowid`.
    Rowid,
    /// The primary key (or, lacking one, a unique key of NOT NULL columns); MySQL, SQLite WITHOUT ROWID.
    Key(Vec<String>),
    /// None of these: batches are restarted with LIMIT (MySQL without any key).
    None,
}
