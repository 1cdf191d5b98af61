//! The ledger of completed erasures. A restored backup brings erased people back, and the service, which has forgotten
//! them, would not know whom to erase again: so their identities stay sealed, under a key of their own, for as long as a
//! backup may bring them back.

use std::collections::BTreeMap;

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
    /// Where each of them is, by name: a plan may name another table so by now, and other people. Entries of before this
    /// was kept have none.
    #[serde(default)]
    pub places: BTreeMap<String, Place>,
    /// The other columns by which the plan finds rows, by name: they outlive the row in a database that was not restored.
    #[serde(default)]
    pub others: BTreeMap<String, Key>,
}

/// Connection, schema, table and column.
pub type Place = [String; 4];

impl Kept {
    /// Of a person as resolved. An identity is never binary: `check` refuses such columns.
    #[must_use]
    pub fn of(root: &Root, tuple: &Tuple, found: bool) -> Self {
        let value = |identity: &Identity| match tuple.get(identity.column)?.as_ref()? {
            Key::Text(text) if !text.is_empty() => Some((identity.name.clone(), text.clone().into())),
            _ => None,
        };
        let identities: BTreeMap<_, _> = named(root).filter_map(value).collect();
        let places = named(root)
            .filter(|identity| identities.contains_key(&identity.name))
            .filter_map(|identity| Some((identity.name.clone(), place_of(root, identity)?)));
        let is_other = |position: &usize| named(root).all(|identity| identity.column != *position);
        let columns = root.columns.iter().zip(tuple).enumerate();
        let others = columns
            .filter(|(position, _)| is_other(position))
            .filter_map(|(_, (column, key))| Some((column.name.clone(), key.clone()?)));
        Self { places: places.collect(), others: others.collect(), identities: Subject(identities), found }
    }

    /// The plan means the same columns by the same names.
    #[must_use]
    pub fn is_of(&self, root: &Root) -> bool {
        let place = |name: &str| place_of(root, named(root).find(|identity| identity.name == name)?);
        self.places.iter().all(|(name, kept)| place(name).as_ref() == Some(kept))
    }
}

fn named(root: &Root) -> impl Iterator<Item = &Identity> {
    root.identities.iter().chain(&root.scope)
}

fn place_of(root: &Root, identity: &Identity) -> Option<Place> {
    let column = root.columns.get(identity.column)?.name.clone();
    Some([root.connection.clone(), root.table.schema.clone(), root.table.name.clone(), column])
}
