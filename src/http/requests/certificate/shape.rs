//! How a certificate looks: the domain's own types, which know nothing of this description.
#![expect(dead_code, reason = "only described here")]

use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::audit::EventBody;

/// What became of a request, and the proof.
#[derive(ToSchema)]
pub struct CertificateBody {
    #[schema(example = "rightful-certificate/1")]
    format: String,
    statement: StatementBody,
    /// The one that ended the request. Its `details.statement` is the hex SHA-256 over the RFC 8785 JSON of `statement`.
    event: EventBody,
    /// That the event is in the log (C2SP tlog-proof), by a signed checkpoint.
    #[schema(example = "c2sp.org/tlog-proof@v1\nindex 7\n…")]
    proof: String,
}

/// What cannot change any more of a request that has ended.
#[derive(ToSchema)]
struct StatementBody {
    request_id: Uuid,
    #[schema(example = "erasure")]
    kind: String,
    /// `completed`, `failed`, `denied` or `cancelled`.
    status: String,
    /// `done`, `done_with_exceptions`, `no_match`, `partial` or `nothing_done`.
    outcome: String,
    plan: CertifiedPlan,
    #[schema(format = DateTime)]
    submitted_at: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: String,
    steps: Vec<CertifiedStep>,
    /// Why it was denied: the fixed reason.
    denial: Option<String>,
    /// Why it failed.
    error: Option<CertifiedError>,
    /// Of an export that found something.
    package: Option<CertifiedPackage>,
    /// The erasure that it does again.
    replay_of: Option<Uuid>,
}

/// The version of the plan that was carried out.
#[derive(ToSchema)]
struct CertifiedPlan {
    name: String,
    #[schema(example = "sha256:…")]
    version: String,
}

/// What became of a step.
#[derive(ToSchema)]
struct CertifiedStep {
    #[schema(example = "shop.orders")]
    name: String,
    #[schema(example = "mask")]
    action: String,
    status: String,
    /// Why rows stay, or are masked only.
    basis: Option<String>,
    /// Those that were written, without what was in them.
    columns: Vec<String>,
    rows: CertifiedRows,
    /// When the first of the rows that stay for a time is over.
    #[schema(format = DateTime)]
    kept_until: Option<String>,
    by_hand: Option<CertifiedByHand>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

/// Counts of a step.
#[derive(ToSchema)]
struct CertifiedRows {
    matched: Option<i64>,
    affected: i64,
    withheld: i64,
    /// By a fresh count; null where none was made.
    remaining: Option<i64>,
}

/// What a person did.
#[derive(ToSchema)]
struct CertifiedByHand {
    r#do: String,
    recipient: Option<String>,
    /// `done`, `impossible` or `disproportionate`.
    result: Option<String>,
}

/// Why a request failed.
#[derive(ToSchema)]
struct CertifiedError {
    code: String,
    cause: Option<String>,
    step: Option<String>,
}

/// The package of an export.
#[derive(ToSchema)]
struct CertifiedPackage {
    /// In bytes.
    size: u64,
    /// Hex, over the package as it is handed out.
    sha256: String,
    encrypted: bool,
}
