//! The ledger of completed erasures. A restored backup brings erased people back, and the service, which has forgotten
//! them, would not know whom to erase again: so their identities stay sealed, under a key of their own, for as long as a
//! backup may bring them back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    compiled::{Identity, Root},
    key::{Key, Tuple},
    request::Subject,
};

/// One completed erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: Uuid,
    /// The ledger whose key sealed it.
    pub ledger: String,
    /// The erasure that a person asked for.
    pub erasure: Uuid,
    pub plan: String,
    /// When the person was erased last.
    pub completed_at: DateTime<Utc>,
    /// [`Kept`], at [`place`].
    pub sealed: Vec<u8>,
}

/// Under which an entry is sealed.
#[must_use]
pub fn place(entry: Uuid) -> String {
    format!("ledger/{entry}")
}

/// The stream of a ledger's audit events.
#[must_use]
pub fn stream(ledger: &str) -> String {
    format!("ledger:{ledger}")
}

/// What is kept of a person. Sealed; `Debug` shows none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// All identities of the plan that were known, and its scope.
    pub identities: Subject,
    /// The person's row was there. Without it, whoever has one of the identities later may be somebody else.
    pub found: bool,
}

impl Kept {
    /// Of a person as resolved. An identity is never binary: `check` refuses such columns.
    #[must_use]
    pub fn of(root: &Root, tuple: &Tuple, found: bool) -> Self {
        let value = |identity: &Identity| match tuple.get(identity.column)?.as_ref()? {
            Key::Text(text) if !text.is_empty() => Some((identity.name.clone(), text.clone().into())),
            _ => None,
        };
        let identities = root.identities.iter().chain(&root.scope).filter_map(value).collect();
        Self { identities: Subject(identities), found }
    }
}
