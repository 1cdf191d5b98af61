//! What a request asks for beyond whose data it is about, and the steps that follow from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Confidential, Kind};
use crate::domain::{
    compiled::{Action, CompiledPlan, Exported, Resource, ResourceAct, Step},
    plan::{CodeStep, ManualStep},
    rectification::{self, ChangesFault},
    vault::Vault,
};

/// How an export is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOptions {
    pub format: Format,
    pub right: Right,
    /// A recipient of the age format (`age1…`): the package is encrypted to that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt_to: Option<String>,
}

/// The form of the tables in a package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One array per table (RFC 8259).
    #[default]
    Json,
    /// RFC 4180; NULL is an empty field, empty text is a pair of quotes.
    Csv,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Json, Self::Csv];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// Which right an export serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// GDPR Art. 15: everything.
    #[default]
    Access,
    /// GDPR Art. 20: what the person has provided.
    Portability,
}

impl Right {
    pub const ALL: [Self; 2] = [Self::Access, Self::Portability];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Portability => "portability",
        }
    }
}

impl CompiledPlan {
    /// All steps that requests of a kind may have.
    #[must_use]
    pub fn steps(&self, kind: Kind) -> &Arc<[Step]> {
        match kind {
            Kind::Erasure => &self.erasure,
            Kind::Export => &self.export,
            Kind::Rectification => &self.rectification,
        }
    }

    /// What people do by hand for a kind of request.
    pub fn manual(&self, kind: Kind) -> impl Iterator<Item = &ManualStep> {
        self.manual.iter().filter(move |step| step.kinds.contains(&kind))
    }

    /// What the embedding program does for a kind of request: it erases.
    #[must_use]
    pub fn code(&self, kind: Kind) -> &[CodeStep] {
        match kind {
            Kind::Erasure => &self.code,
            Kind::Export | Kind::Rectification => &[],
        }
    }
}

impl Confidential {
    /// The steps of a request that asks for this, in the order of execution.
    ///
    /// # Errors
    /// For changes that do not fit the plan.
    pub fn steps(&self, plan: &CompiledPlan, kind: Kind) -> Result<Arc<[Step]>, ChangesFault> {
        match (kind, &self.export, &self.changes) {
            (Kind::Export, Some(options), _) if options.right == Right::Portability => {
                Ok(portable(&plan.export))
            }
            (Kind::Rectification, _, Some(changes)) => rectification::bind(plan, changes),
            (Kind::Rectification, _, None) => Err(ChangesFault { errors: Vec::new() }),
            _ => Ok(plan.steps(kind).clone()),
        }
    }
}

/// Where a request stands among the open ones: another one with one of these is its duplicate. Each once, and in the
/// same order everywhere, so that two requests with the same two do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Vec<String>);

impl Places {
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = String>) -> Self {
        let mut places: Vec<String> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        Self(places)
    }

    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

impl Confidential {
    /// By the person's pseudonyms; of a rectification together with what changes, since each of other changes is a
    /// request of its own.
    #[must_use]
    pub fn places(&self, vault: &Vault, refs: &[(String, String)]) -> Places {
        let place = |(_, pseudonym): &(String, String)| match &self.changes {
            Some(changes) => {
                let canonical = serde_json_canonicalizer::to_vec(&(pseudonym, changes));
                vault.fingerprint(&canonical.unwrap_or_default())
            }
            None => pseudonym.clone(),
        };
        Places::new(refs.iter().map(place))
    }
}

fn portable(steps: &[Step]) -> Arc<[Step]> {
    let narrowed = |step: &Step| match &step.action {
        Action::Export(Exported { portable: Some(columns), about, .. }) => {
            let exported =
                Exported { columns: columns.clone(), portable: Some(columns.clone()), about: about.clone() };
            Some(Step { action: Action::Export(exported), ..step.clone() })
        }
        Action::Http(Resource { act: ResourceAct::Export { portable: true, .. }, .. }) => Some(step.clone()),
        _ => None,
    };
    steps.iter().filter_map(narrowed).collect()
}
