//! `manifest.json`: what a package holds, for programs and for whoever checks that nothing was changed.

use serde::Serialize;
use uuid::Uuid;

use super::Column;
use crate::domain::{plan::About, request::Subject};

/// What a package is about.
#[derive(Clone, Serialize)]
pub struct Heading {
    pub request: RequestPart,
    pub plan: PlanPart,
    /// As the person was named in the request.
    pub subject: Subject,
}

#[derive(Clone, Serialize)]
pub struct RequestPart {
    pub id: Uuid,
    /// `access` (GDPR Art. 15) or `portability` (Art. 20).
    pub right: &'static str,
    pub format: &'static str,
    pub external_id: Option<String>,
    /// RFC 3339.
    pub submitted_at: String,
}

#[derive(Clone, Serialize)]
pub struct PlanPart {
    pub name: String,
    pub version: String,
    /// What the controller says of the processing as a whole.
    pub about: About,
}

/// The whole file.
#[derive(Serialize)]
pub(super) struct Manifest<'a> {
    #[serde(flatten)]
    pub heading: &'a Heading,
    /// RFC 3339.
    pub created_at: &'a str,
    pub files: &'a [FilePart],
}

/// One file of the package.
#[derive(Clone, Serialize)]
pub struct FilePart {
    pub file: String,
    /// The step of the request that read it; `consents` for what the service itself holds.
    pub step: String,
    /// Null for what is no table.
    pub rows: Option<u64>,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
    pub columns: Vec<Column>,
    /// What the controller says of this processing.
    pub about: About,
}
