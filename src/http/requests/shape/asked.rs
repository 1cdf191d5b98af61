//! What callers ask for. These bodies are read field by field, for their faults' places, and only described here.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use super::IdentityCheckBody;

/// A submission.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct SubmitBody {
    #[schema(example = "erasure")]
    kind: String,
    #[schema(example = "customer")]
    plan: String,
    /// Identity → value; with a scope also its names. Several identities must lead to the same row.
    #[schema(example = json!({ "email": "jane@example.com" }))]
    subject: BTreeMap<String, Value>,
    #[schema(max_length = 200)]
    external_id: Option<String>,
    #[schema(max_length = 2000)]
    reason: Option<String>,
    /// When the controller received it (GDPR Art. 12(3)); default now, never in the future.
    #[schema(format = DateTime)]
    submitted_at: Option<String>,
    identity_check: Option<IdentityCheckBody>,
    /// Of a rectification, and required there: step → column → new value. Binary is base64, an array of PostgreSQL a
    /// JSON array, a decimal or a number beyond 64 bits a string; null is NULL.
    #[schema(example = json!({ "shop.users": { "phone": "+49 30 123" } }))]
    changes: Option<BTreeMap<String, Value>>,
    /// Of an export: `json` (default) or `csv`.
    #[schema(example = "json")]
    format: Option<String>,
    /// Of an export: `access` (default, GDPR Art. 15) or `portability` (Art. 20).
    #[schema(example = "access")]
    right: Option<String>,
    /// Of an export: a recipient of the age format, to whom the package is encrypted.
    #[schema(example = "age1…")]
    encrypt_to: Option<String>,
}

/// An approval, of what a preview has shown.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct ApproveBody {
    /// As the preview has it; refused when the plan has changed since.
    #[schema(example = "sha256:…", pattern = "^sha256:")]
    plan_version: String,
    /// Not kept as text: no event holds free text.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// Asks for a longer month (GDPR Art. 12(3)).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct ExtendBody {
    #[schema(minimum = 1, maximum = 2)]
    months: u32,
    /// For the answer to the person.
    #[schema(max_length = 2000)]
    reason: String,
    /// When the person was told of it.
    #[schema(format = DateTime)]
    subject_informed_at: Option<String>,
}

/// Why somebody acts. Not kept as text: no event holds free text.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct ReasonBody {
    #[schema(max_length = 2000)]
    reason: Option<String>,
}
