//! Fixtures: rows that a file names, table by table, and what they are in the live schema of a connection.
//!
//! `parse` reads the file, `bind` joins it with the catalog. A row is found by its key and then holds what the file says
//! of it; columns that the file does not name are left alone.

use super::{
    compiled::{KeyColumn, TableName},
    document::{At, Node},
    rectification::NewValue,
};

mod bind;
mod parse;
#[cfg(test)]
mod tests;

pub use bind::bind;
pub use parse::{parse, script_faults};

/// Faults of one file that are told; what is wrong with one row is often wrong with all.
const MOST_FAULTS: usize = 20;

/// What a file says of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureTable {
    /// `table`, or `schema.table` outside of the default schema.
    pub name: At<String>,
    /// The columns that tell one row from another, where the file says so.
    pub key: Option<Vec<At<String>>>,
    pub rows: Vec<FixtureRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureRow {
    pub line: usize,
    pub values: Vec<(At<String>, Node)>,
}

/// The rows of one table, as the live schema has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserts {
    pub table: TableName,
    /// Names of a unique key's columns; every row has a value for each.
    pub key: Vec<String>,
    pub rows: Vec<Upsert>,
}

/// One row that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upsert {
    /// In the file, for faults.
    pub line: usize,
    pub values: Vec<(KeyColumn, NewValue)>,
}
