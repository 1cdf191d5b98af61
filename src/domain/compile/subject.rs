//! A request's subject against a compiled plan: known identities, values that fit their columns, and the
//! pseudonyms of a resolved person.

use serde_json::Value;

use super::families::{MAIN, canonical_text};
use crate::domain::{
    compiled::{CompiledPlan, Identity, KeyColumn},
    document::suggest,
    key::{Key, Tuple},
    request::Subject,
    schema::Family,
    vault::Vault,
};

/// Why a subject is refused; every reason at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .code.as_str())]
pub struct SubjectFault {
    pub code: SubjectCode,
    pub errors: Vec<SubjectError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectCode {
    UnknownIdentity,
    InvalidIdentity,
}

impl SubjectCode {
    /// The problem's `code`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIdentity => "unknown_identity",
            Self::InvalidIdentity => "invalid_identity",
        }
    }
}

/// One place of the body and what is wrong with it; never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectError {
    /// JSON pointer into the request's body.
    pub pointer: String,
    pub detail: String,
}

/// The given values as positions in [`Root::columns`](crate::domain::compiled::Root::columns) and keys, scope
/// included, in the order of the plan.
///
/// # Errors
/// `unknown_identity` for names that the plan does not have, otherwise `invalid_identity` for values that no row
/// could hold, a scope that is not complete, and a subject without any identity.
pub fn check_subject(plan: &CompiledPlan, subject: &Subject) -> Result<Vec<(usize, Key)>, SubjectFault> {
    let root = &plan.root;
    let known = || root.identities.iter().chain(&root.scope);
    let unknown: Vec<SubjectError> = subject
        .0
        .keys()
        .filter(|name| !known().any(|identity| identity.name == **name))
        .map(|name| SubjectError {
            pointer: pointer(name),
            detail: format!(
                "plan `{}` has no such identity: {}",
                plan.name,
                suggest(name, known().map(|identity| identity.name.as_str()))
            ),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(SubjectFault { code: SubjectCode::UnknownIdentity, errors: unknown });
    }
    let mut given = Vec::new();
    let mut errors = Vec::new();
    for identity in known() {
        let Some(value) = subject.0.get(&identity.name) else { continue };
        match key(value, &root.columns[identity.column], root.table.schema == MAIN) {
            Ok(key) => given.push((identity.column, key)),
            Err(detail) => errors.push(SubjectError { pointer: pointer(&identity.name), detail }),
        }
    }
    for part in root.scope.iter().filter(|part| !subject.0.contains_key(&part.name)) {
        let detail = format!("`{}` is required: it is part of this plan's scope", part.name);
        errors.push(SubjectError { pointer: pointer(&part.name), detail });
    }
    if !root.identities.iter().any(|identity| subject.0.contains_key(&identity.name)) {
        let names: Vec<&str> = root.identities.iter().map(|identity| identity.name.as_str()).collect();
        let detail = format!("give at least one identity: {}", names.join(", "));
        errors.push(SubjectError { pointer: "/subject".to_owned(), detail });
    }
    if errors.is_empty() {
        Ok(given)
    } else {
        Err(SubjectFault { code: SubjectCode::InvalidIdentity, errors })
    }
}

fn pointer(name: &str) -> String {
    format!("/subject/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The canonical key of a JSON value, or why it cannot be one.
fn key(value: &Value, column: &KeyColumn, is_main_schema: bool) -> Result<Key, String> {
    let text = match value {
        Value::String(text) if text.is_empty() => {
            return Err("it is empty, and an empty key matches nothing".to_owned());
        }
        Value::String(text) => text.clone(),
        Value::Number(number) if column.family == Family::Integer && number.is_f64() => {
            return Err("it is not a whole number".to_owned());
        }
        Value::Number(number) => {
            let text = number.to_string();
            if text.contains(['e', 'E']) {
                return Err("it is a number with an exponent: write it as a string".to_owned());
            }
            text
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err("an identity is a string or a number".to_owned());
        }
    };
    canonical_text(&text, column, is_main_schema).map(Key::Text)
}

/// The pseudonym of every identity that the tuple holds, by the identity's name: over its place, the compared form
/// of its value and, with a scope, the compared forms of the scope's values.
#[must_use]
pub fn subject_refs(plan: &CompiledPlan, vault: &Vault, tuple: &Tuple) -> Vec<(String, String)> {
    refs(plan, vault, tuple, &|identity| identity.ignore_case)
}

/// [`subject_refs`], also as plans have them that heed or ignore the case of an identity where this one does not.
#[must_use]
pub fn refs_of_any_plan(plan: &CompiledPlan, vault: &Vault, tuple: &Tuple) -> Vec<(String, String)> {
    let mut all = subject_refs(plan, vault, tuple);
    for ignore_case in [true, false] {
        let other = refs(plan, vault, tuple, &|_| ignore_case);
        let new: Vec<_> = other.into_iter().filter(|found| !all.contains(found)).collect();
        all.extend(new);
    }
    all
}

fn refs(
    plan: &CompiledPlan,
    vault: &Vault,
    tuple: &Tuple,
    ignore_case: &dyn Fn(&Identity) -> bool,
) -> Vec<(String, String)> {
    let root = &plan.root;
    let value = |identity: &Identity| {
        let key = tuple.get(identity.column)?.as_ref().filter(|key| !key.is_empty())?;
        let column = root.columns.get(identity.column)?;
        let key = match key {
            // The database writes `4.50` where `4.5` was given: one value has one pseudonym.
            Key::Text(text) => canonical_text(text, column, root.table.schema == MAIN)
                .map_or_else(|_| key.clone(), Key::Text),
            Key::Bytes(_) => key.clone(),
        };
        Some(key.compared(ignore_case(identity)))
    };
    // Without the whole scope a ref would name somebody of another scope.
    let Some(scope) = root.scope.iter().map(value).collect::<Option<Vec<Key>>>() else { return Vec::new() };
    root.identities
        .iter()
        .filter_map(|identity| {
            let column = &root.columns.get(identity.column)?.name;
            let place = [root.connection.as_str(), &root.table.schema, &root.table.name, column];
            Some((identity.name.clone(), vault.subject_ref(place, &value(identity)?, &scope)))
        })
        .collect()
}
