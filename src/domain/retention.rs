//! Retention policies: rows that are kept no longer than they are needed (GDPR Art. 5(1)(e)). A policy names one table
//! and what becomes of its old rows; joined with the live schema it becomes steps like those of a request.

use serde::{Deserialize, Serialize};

use super::{
    document::At,
    period::Period,
    plan::{MaskStrategy, Reference},
};

mod compile;
mod kept;
mod plan;
mod steps;
#[cfg(test)]
mod tests;

pub use compile::{CompiledPolicy, Moments, compile};
pub use kept::Kept;

/// One policy as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub name: String,
    /// For faults: the file and the line of the policy.
    pub file: String,
    pub line: usize,
    pub connection: At<String>,
    /// `table` or `schema.table`.
    pub table: At<Reference>,
    /// The column that tells how old a row is.
    pub timestamp: At<String>,
    pub older_than: Period,
    /// What a row without a time is; must be said where the column is nullable.
    pub nulls: Option<Nulls>,
    /// The policy's `where`: trusted SQL.
    pub filter: Option<At<String>>,
    pub action: At<PolicyAction>,
    /// Tables whose rows go with the rows that they point at.
    pub children: Vec<At<Reference>>,
    /// Why that long: a law, a contract, a purpose that has ended.
    pub basis: String,
    /// It may take every row of a table.
    pub allow_all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    Keep,
    Old,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyAction {
    Delete,
    /// The column that says that a row is deleted: a time, or a flag.
    SoftDelete(String),
    Mask(Vec<(At<String>, At<MaskStrategy>)>),
    /// Written to the object store, read back, then deleted.
    Archive,
}

impl PolicyAction {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::SoftDelete(_) => "soft_delete",
            Self::Mask(_) => "mask",
            Self::Archive => "archive",
        }
    }

    /// True where rows go away, and what points at them must go before.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(self, Self::Delete | Self::Archive)
    }
}

/// From how many rows on a policy that matches all of them must say `allow_all`.
pub const SMALL_TABLE: u64 = 1_000;

/// What a policy would do, or has found to do, with one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// Rows on which there is work.
    pub matched: u64,
    /// Old rows that stay because of a legal hold.
    pub withheld: u64,
}
