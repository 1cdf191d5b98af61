//! What a plan names beside tables: steps that people carry out, and steps in code.

use serde::{Deserialize, Serialize};

use crate::domain::request::Kind;

/// Something that a person does by hand: a paper file, a system without an interface, a recipient who has to be told
/// (GDPR Art. 17(2), 19).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualStep {
    /// Without a dot, so that no step of a table is called the same.
    pub name: String,
    /// The kinds of request that have it.
    pub kinds: Vec<Kind>,
    /// For who does it.
    pub r#do: String,
    /// Who is told, where it is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

/// Something that the program around this crate does: it has registered the step under this name. Of erasures only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeStep {
    /// Without a dot, as of [`ManualStep`].
    pub name: String,
}
