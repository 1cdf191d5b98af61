//! Whose resources a step is about: the keys that a selection's links lead to, by the names that stand in paths.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use super::super::{ConnectorError, ErrorKind, Keys};
use crate::domain::{
    call::NewFields,
    compiled::{Alternative, Link, Source},
    key::{Key, Tuple},
};

/// The values of one resource's path. Personal data: `Debug` shows nothing of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Target(BTreeMap<String, String>);

impl Target {
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The resource as it is named once these fields are changed; `None` where they are no part of its name.
    pub(super) fn renamed(&self, fields: &NewFields) -> Option<Self> {
        let mut renamed = self.clone();
        for (name, value) in &mut renamed.0 {
            match fields.0.get(name) {
                Some(Value::String(new)) => value.clone_from(new),
                Some(Value::Number(new)) => *value = new.to_string(),
                _ => {}
            }
        }
        (renamed != *self).then_some(renamed)
    }

    /// Names and values as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!(self.0).to_string()
    }

    /// Tell this resource from every other one of its step.
    #[must_use]
    pub fn tagged_bytes(&self) -> Vec<u8> {
        let parts = self.0.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        parts.flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target([redacted])")
    }
}

/// The resources of one alternative of a selection. NULL and empty text lead to none.
///
/// # Errors
/// When a key is binary, which only a database without types can have after the plan was checked.
pub fn targets(alternative: &Alternative, keys: &Keys) -> Result<Vec<Target>, ConnectorError> {
    let Alternative::Match { links, constants } = alternative else { return Ok(Vec::new()) };
    let constants =
        constants.iter().map(|constant| (constant.column.name.clone(), constant.value.clone())).collect();
    let mut found = vec![Target(constants)];
    for link in links {
        let mut wider = Vec::new();
        for tuple in tuples(link, keys) {
            for target in &found {
                wider.extend(with(target, link, &tuple)?);
            }
        }
        found = wider;
    }
    Ok(found)
}

fn tuples(link: &Link, keys: &Keys) -> Vec<Tuple> {
    match &link.source {
        Source::Root(positions) => {
            vec![positions.iter().map(|position| keys.root.get(*position).cloned().flatten()).collect()]
        }
        Source::Keys(set) => keys.chunk.get(set).map(|chunk| chunk.to_vec()).unwrap_or_default(),
        // Of the same connection, where a service has no rows.
        Source::Live(_) | Source::Itself => Vec::new(),
    }
}

fn with(target: &Target, link: &Link, tuple: &Tuple) -> Result<Option<Target>, ConnectorError> {
    let mut wider = target.clone();
    for (column, key) in link.columns.iter().zip(tuple) {
        let Some(key) = key.as_ref().filter(|key| !key.is_empty()) else { return Ok(None) };
        let Key::Text(text) = key else {
            return Err(ConnectorError {
                kind: ErrorKind::Internal,
                detail: "a key of this person is binary and cannot stand in a path".to_owned(),
            });
        };
        wider.0.insert(column.name.clone(), text.clone());
    }
    Ok(Some(wider))
}
