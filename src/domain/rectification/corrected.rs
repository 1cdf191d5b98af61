//! What has to be known of a rectification once its values are destroyed.

use serde::{Deserialize, Serialize};

use super::Changes;
use crate::domain::{
    compiled::{Root, Step, TableName},
    vault::Vault,
};

/// The columns that a rectification has changed, and what tells whether another one was asked for the same. No value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    tables: Vec<Columns>,
    /// A keyed hash of all changes.
    changes: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Columns {
    connection: String,
    table: TableName,
    names: Vec<String>,
}

impl Corrected {
    /// Of the steps that a request was given for its changes.
    #[must_use]
    pub fn of(steps: &[Step], changes: &Changes, vault: &Vault) -> Self {
        let columns = |step: &Step| {
            let names = step.rectification()?.names().into_iter().map(str::to_owned).collect();
            Some(Columns { connection: step.connection.clone(), table: step.rows.table.clone(), names })
        };
        let canonical = serde_json_canonicalizer::to_vec(changes).unwrap_or_default();
        Self { tables: steps.iter().filter_map(columns).collect(), changes: vault.fingerprint(&canonical) }
    }

    /// Those columns of a root table that a plan reads of it.
    #[must_use]
    pub fn identities(&self, root: &Root) -> Vec<&str> {
        let of_root =
            |columns: &&Columns| columns.connection == root.connection && columns.table == root.table;
        let names = self.tables.iter().filter(of_root).flat_map(|columns| &columns.names);
        let is_read = |name: &&str| root.columns.iter().any(|column| column.name == *name);
        names.map(String::as_str).filter(is_read).collect()
    }

    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.changes == other.changes
    }
}
