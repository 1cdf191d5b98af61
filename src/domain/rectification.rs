//! Rectification (GDPR Art. 16): which columns of an entry may be corrected, what a request asks for, and the steps
//! that follow from it.
//!
//! `types` reads what a column's type allows, `values`, `times` and `arrays` check a given value against it, and
//! `bind` joins a request's changes with a compiled plan.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    compile::key_column,
    compiled::{Action, KeyColumn, Step, TableName},
    schema::{Column, RowAddress, Table},
};

mod arrays;
mod bind;
mod corrected;
mod identities;
mod narrow;
mod resources;
mod sqlite;
#[cfg(test)]
mod tests;
mod times;
mod types;
mod values;

pub use bind::{ChangesFault, bind};
pub use corrected::Corrected;
pub use identities::{Identities, lasting_refs, refs_at_work, renamed_columns};
pub use sqlite::reads_as_number;
pub(super) use values::column_value;

/// The database that a column lies in, as far as it decides what a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    Postgres,
    /// MariaDB counts as MySQL.
    MySql,
    Sqlite,
}

impl System {
    /// As the table's catalog shows it. Tables of SQLite have no role, those without rowid included.
    #[must_use]
    pub fn of(table: &Table) -> Self {
        match &table.address {
            RowAddress::Ctid => Self::Postgres,
            RowAddress::Rowid => Self::Sqlite,
            RowAddress::Key(_) | RowAddress::None if table.rights.role.is_empty() => Self::Sqlite,
            RowAddress::Key(_) | RowAddress::None => Self::MySql,
        }
    }
}

/// What may be corrected in the rows of one entry; in the step of a request, what is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rectification {
    pub system: System,
    pub columns: Vec<Correctable>,
    /// Copies of a corrected value are corrected along.
    pub cascade: bool,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correctable {
    pub column: KeyColumn,
    /// As [`Column::base_type`](super::schema::Column::base_type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_type: Option<String>,
    /// In characters, for text of limited length.
    pub max_length: Option<u32>,
    /// Under `rectify` in the plan; otherwise it is only carried along.
    pub listed: bool,
    /// Why it cannot be changed although it is listed.
    pub fixed: Option<Fixed>,
    /// The columns by which the plan matches other rows to this one.
    pub copies: Vec<Copied>,
    /// Sets of columns, this one among them, of which no two rows may have the same values.
    pub unique: Vec<UniqueColumns>,
    pub foreign_keys: Vec<PointsAt>,
    /// Of a request's step. A compiled plan lies open in the store, so it is never written there.
    #[serde(skip)]
    pub value: Option<NewValue>,
}

impl Correctable {
    /// A column by itself, of which no plan says anything.
    #[must_use]
    pub fn of(column: &Column) -> Self {
        Self {
            column: key_column(column),
            base_type: column.base_type.clone(),
            max_length: column.max_length,
            listed: false,
            fixed: None,
            copies: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            value: None,
        }
    }

    /// The type that decides what a value may be.
    #[must_use]
    pub fn base_type(&self) -> &str {
        self.base_type.as_deref().unwrap_or(&self.column.type_name)
    }
}

/// Why a column cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fixed {
    /// The key of the person's own row.
    Key,
    /// A live foreign key of this table points at it.
    Referenced(String),
}

/// An entry whose rows are matched through a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    pub step: String,
    /// `None`: by SQL, or through rows that cannot be told from those of another entry, so that nothing can be carried
    /// along.
    pub column: Option<String>,
}

/// A unique key, or what the plan takes for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueColumns {
    pub columns: Vec<KeyColumn>,
    /// As the identities say; position by position.
    pub ignore_case: Vec<bool>,
}

/// A foreign key that a column is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointsAt {
    pub table: TableName,
    /// Own columns and the parent's, position by position.
    pub columns: Vec<KeyColumn>,
    pub parent_columns: Vec<KeyColumn>,
}

/// What a column is to hold. Personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum NewValue {
    Null,
    Text(String),
    /// Written as a number; SQLite keeps it apart from the same text.
    Number(String),
    Bytes(Vec<u8>),
}

impl NewValue {
    /// Such a key matches nothing.
    fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) | Self::Number(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

impl fmt::Debug for NewValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a request asks for: step → column → value, as it was given. Personal data: sealed in the store, no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(pub BTreeMap<String, Value>);

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes([redacted])")
    }
}

impl Step {
    /// What a step of a rectification corrects; `None` of one at an HTTP service.
    #[must_use]
    pub fn rectification(&self) -> Option<&Rectification> {
        match &self.action {
            Action::Rectify(rectification) => Some(rectification),
            _ => None,
        }
    }
}

impl Rectification {
    /// Sets one column of a table.
    #[must_use]
    pub fn of_one(table: &Table, column: &Column, value: NewValue) -> Self {
        let correctable = Correctable { value: Some(value), ..Correctable::of(column) };
        Self { system: System::of(table), columns: vec![correctable], cascade: false }
    }

    /// The names of the columns, for people and the audit.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|correctable| correctable.column.name.as_str()).collect()
    }

    /// Those of a request's step with their new values.
    pub fn corrections(&self) -> impl Iterator<Item = (&Correctable, &NewValue)> {
        self.columns.iter().filter_map(|column| Some((column, column.value.as_ref()?)))
    }

    /// True in a request, false in a plan.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.corrections().next().is_some()
    }
}
