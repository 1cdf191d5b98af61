//! What a step writes into its rows.

use super::{Action, KeyColumn, Resource, ResourceAct};

impl Action {
    /// The columns that get other values, or the fields of a resource; none where rows go as a whole.
    #[must_use]
    pub fn written_columns(&self) -> Vec<String> {
        let name = |column: &KeyColumn| column.name.clone();
        match self {
            Self::Unlink { columns } => columns.iter().map(name).collect(),
            Self::Mask(mask) => mask.assignments.iter().map(|assignment| name(&assignment.column)).collect(),
            Self::Rectify(rectification) => rectification.names().into_iter().map(str::to_owned).collect(),
            Self::Http(Resource { act: ResourceAct::Rectify { new, .. }, .. }) => {
                new.0.keys().cloned().collect()
            }
            Self::Delete
            | Self::DeleteIfUnreferenced { .. }
            | Self::Keep
            | Self::KeepUntil(_)
            | Self::Export(_)
            | Self::Http(_) => Vec::new(),
        }
    }
}
