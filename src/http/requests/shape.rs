//! How a request looks from outside. What the reader may not see is null, never absent.

mod asked;
mod export;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::{
    asked::{ApproveBody, ExtendBody, ReasonBody, SubmitBody},
    export::{ExportBody, LinkBody, LinkRequest},
};
use super::steps::{self, StepBody};
use crate::{
    domain::{
        audit::timestamp,
        deadline::days_left,
        request::{IdentityCheck, Kind, Request, RunError, Status, StepState, StepStatus},
    },
    service::readings::{Reader, Reading},
    store::Counts,
};

/// How it is made sure that the person is who they say (GDPR Art. 12(6)).
#[derive(Serialize, ToSchema)]
pub struct IdentityCheckBody {
    /// A word of the house: small letters, digits and underscores.
    #[schema(max_length = 40, example = "callback")]
    method: String,
    #[schema(format = DateTime)]
    requested_at: String,
    /// Null until then: the month does not run, and nothing is done.
    #[schema(format = DateTime)]
    confirmed_at: Option<String>,
}

/// A denial.
#[derive(Serialize, ToSchema)]
pub struct DenialBody {
    /// `suspected_fraud`, `identity_not_verified`, `no_match`, `not_covered`, `excessive` or `other`.
    #[schema(example = "identity_not_verified")]
    reason: &'static str,
    /// For the answer to the person; null for auditors.
    #[schema(max_length = 2000)]
    text: Option<String>,
}

/// A longer month (GDPR Art. 12(3)).
#[derive(Serialize, ToSchema)]
pub struct ExtensionBody {
    months: u32,
    /// Null for auditors.
    reason: Option<String>,
    /// When the person was told of it.
    #[schema(format = DateTime)]
    subject_informed_at: Option<String>,
}

/// When and how the person was told what became of their request.
#[derive(Serialize, ToSchema)]
pub struct AnsweredBody {
    #[schema(format = DateTime)]
    at: String,
    /// `email`, `letter`, `portal`, `phone`, `in_person` or `other`.
    #[schema(example = "email")]
    channel: &'static str,
}

/// What a replay's request does again.
#[derive(Serialize, ToSchema)]
pub struct ReplayBody {
    /// The erasure that the person asked for.
    of: Uuid,
    run_id: Uuid,
}

/// A request.
#[derive(Serialize, ToSchema)]
pub struct RequestBody {
    #[serde(flatten)]
    pub item: RequestItem,
    pub steps: Vec<StepBody>,
    /// Null unless it is an export.
    export: Option<ExportBody>,
}

/// A request without its steps, as lists hold it.
#[derive(Serialize, ToSchema)]
pub struct RequestItem {
    id: Uuid,
    #[schema(example = "erasure")]
    kind: &'static str,
    /// `pending`, `approved`, `in_progress`, `paused`, `on_hold`, `completed`, `failed`, `denied` or `cancelled`.
    status: &'static str,
    plan: PlanRef,
    /// Null for auditors, and once it was destroyed.
    subject: Option<BTreeMap<String, Value>>,
    /// The root identity's pseudonym, as it is shown in the month in which the request was made; null until the person is
    /// resolved, and once the request was reduced.
    subject_ref: Option<String>,
    subject_refs: Vec<SubjectRef>,
    /// Of a rectification; null for auditors.
    changes: Option<BTreeMap<String, Value>>,
    external_id: Option<String>,
    /// Null for auditors.
    reason: Option<String>,
    #[schema(format = DateTime)]
    submitted_at: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// When all that was sealed with it was destroyed, because its time was over (`retention.identities`): subject, reason,
    /// changes and notes are null from then on, and it cannot be retried.
    #[schema(format = DateTime)]
    identities_destroyed_at: Option<String>,
    /// When it lost what else leads to a person (`retention.requests`): `external_id`, pseudonyms and idempotency key.
    #[schema(format = DateTime)]
    reduced_at: Option<String>,
    deadline: Deadline,
    progress: Progress,
    attempt: i32,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    error: Option<ErrorBody>,
    created_by: String,
    /// The legal hold that it waits for.
    hold_id: Option<Uuid>,
    identity_check: Option<IdentityCheckBody>,
    extension: Option<ExtensionBody>,
    denial: Option<DenialBody>,
    /// Null until the person was told.
    answered: Option<AnsweredBody>,
    /// Of one that erases again whom a restored backup has brought back; no month runs then.
    replay: Option<ReplayBody>,
    /// `done`, `done_with_exceptions`, `no_match`, `partial` or `nothing_done`; null until an end.
    outcome: Option<&'static str>,
    pub links: Links,
}

/// The pinned version of a plan.
#[derive(Serialize, ToSchema)]
struct PlanRef {
    name: String,
    #[schema(example = "sha256:…")]
    version: String,
}

/// A pseudonym of the person, as it is shown in one month: another one in every month.
#[derive(Serialize, ToSchema)]
pub struct SubjectRef {
    pub identity: String,
    pub r#ref: String,
}

/// When the person must have been answered: one calendar month after `submitted_at` or the confirmed identity, and
/// by what it was extended (GDPR Art. 12(3)).
#[derive(Serialize, ToSchema)]
struct Deadline {
    /// Null while an identity waits to be confirmed, and of a replay.
    #[schema(format = DateTime)]
    due_at: Option<String>,
    /// Whole days, rounded down; negative once the time is over.
    days_left: Option<i64>,
    /// Not answered, and the time is over, whatever the status.
    overdue: bool,
    extended: bool,
}

/// How far a request is.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Progress {
    steps_total: usize,
    steps_done: usize,
    /// Null until counted.
    rows_matched: Option<i64>,
    rows_affected: i64,
    /// Never falls, and is 100 only at `completed`.
    percent: i64,
}

/// What went wrong, without a row's values.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    code: &'static str,
    detail: String,
    connection: Option<String>,
    step: Option<String>,
    cause: Option<&'static str>,
}

/// Counts of requests.
#[derive(Serialize, ToSchema)]
pub struct SummaryBody {
    /// Every status, also those without a request.
    by_status: BTreeMap<&'static str, i64>,
    /// Unanswered, and due within 7 days.
    due_in_7_days: i64,
    /// Unanswered, and past the due time, whatever the status.
    overdue: i64,
}

/// A draft of the answer to the person.
#[derive(Serialize, ToSchema)]
pub struct LetterBody {
    /// Plain text in English, for somebody to read over and sign.
    pub text: String,
}

/// Where to go from here.
#[derive(Serialize, ToSchema)]
pub struct Links {
    #[serde(rename = "self")]
    pub self_: String,
    events: String,
}

/// A request as this reader may see it now.
#[must_use]
pub fn whole(reading: &Reading, reader: &Reader, now: DateTime<Utc>) -> RequestBody {
    let confidential = reading.confidential.as_ref().filter(|_| reader.sees_identities(&reading.request));
    RequestBody {
        item: item(reading, reader, now),
        steps: steps::bodies(&reading.request, confidential),
        export: (reading.request.kind == Kind::Export).then(|| export::of(reading, reader, now)),
    }
}

/// The same without steps.
#[must_use]
pub fn item(reading: &Reading, reader: &Reader, now: DateTime<Utc>) -> RequestItem {
    let request = &reading.request;
    let confidential = reading.confidential.as_ref().filter(|_| reader.sees_identities(request));
    let answering = &request.answering;
    let swept = reading.swept.as_ref();
    let own = format!("/v1/requests/{}", request.id);
    RequestItem {
        id: request.id,
        kind: request.kind.as_str(),
        status: request.status().as_str(),
        plan: PlanRef { name: request.plan.clone(), version: request.plan_version.clone() },
        subject: confidential.map(|confidential| confidential.subject.0.clone()),
        subject_ref: request.subject_ref.clone(),
        subject_refs: reading
            .refs
            .iter()
            .filter_map(|known| {
                Some(SubjectRef { identity: known.identity.clone(), r#ref: known.shown.clone()? })
            })
            .collect(),
        changes: confidential.and_then(|confidential| confidential.changes.as_ref()).map(|it| it.0.clone()),
        external_id: request.external_id.clone(),
        reason: confidential.and_then(|confidential| confidential.reason.clone()),
        submitted_at: timestamp(request.submitted_at),
        created_at: timestamp(request.created_at),
        started_at: request.started_at.map(timestamp),
        finished_at: request.state.finished_at().map(timestamp),
        identities_destroyed_at: swept.map(|swept| timestamp(swept.identities_destroyed_at)),
        reduced_at: swept.and_then(|swept| swept.reduced_at).map(timestamp),
        deadline: Deadline {
            due_at: request.due_at().map(timestamp),
            days_left: request.due_at().map(|due| days_left(due, now)),
            overdue: request.is_overdue(now),
            extended: answering.extension.is_some(),
        },
        progress: progress(request),
        attempt: request.attempt,
        next_attempt_at: request.next_attempt_at().map(timestamp),
        error: request.state.error().map(ErrorBody::from),
        created_by: request.created_by.clone(),
        hold_id: request.hold,
        identity_check: answering.identity_check.as_ref().map(identity_check),
        extension: answering.extension.as_ref().map(|extension| ExtensionBody {
            months: extension.months,
            reason: confidential.and_then(|confidential| confidential.extension_reason.clone()),
            subject_informed_at: extension.subject_informed_at.map(timestamp),
        }),
        denial: answering.denial.map(|reason| DenialBody {
            reason: reason.as_str(),
            text: confidential.and_then(|confidential| confidential.denial_text.clone()),
        }),
        answered: answering
            .answered
            .as_ref()
            .map(|answered| AnsweredBody { at: timestamp(answered.at), channel: answered.channel.as_str() }),
        replay: answering.replay.as_ref().map(|replay| ReplayBody { of: replay.of, run_id: replay.run }),
        outcome: request.state.outcome().map(|outcome| outcome.as_str()),
        links: Links { events: format!("{own}/events"), self_: own },
    }
}

/// Counts as the reader sees them.
#[must_use]
pub fn summary(counts: &Counts) -> SummaryBody {
    SummaryBody {
        by_status: counts.requests.iter().map(|(status, count)| (status.as_str(), *count)).collect(),
        due_in_7_days: counts.due_soon,
        overdue: counts.overdue,
    }
}

fn identity_check(check: &IdentityCheck) -> IdentityCheckBody {
    IdentityCheckBody {
        method: check.method.clone(),
        requested_at: timestamp(check.requested_at),
        confirmed_at: check.confirmed_at.map(timestamp),
    }
}

impl From<&RunError> for ErrorBody {
    fn from(error: &RunError) -> Self {
        Self {
            code: error.code.as_str(),
            detail: error.detail.clone(),
            connection: error.connection.clone(),
            step: error.step.clone(),
            cause: error.cause.map(|cause| cause.as_str()),
        }
    }
}

fn progress(request: &Request) -> Progress {
    let steps = &request.steps;
    let is_done = |step: &&StepState| matches!(step.status, StepStatus::Completed | StepStatus::Withheld);
    Progress {
        steps_total: steps.len(),
        steps_done: steps.iter().filter(is_done).count(),
        rows_matched: steps.iter().map(|step| step.rows_matched).sum(),
        rows_affected: steps.iter().map(|step| step.rows_affected).sum(),
        percent: percent(request),
    }
}

/// The part of the matched rows that are dealt with. They are all counted before the first batch, and a step's
/// `rows_matched` grows only with the rows that are dealt with, so this never falls.
fn percent(request: &Request) -> i64 {
    if request.status() == Status::Completed {
        return 100;
    }
    let steps = &request.steps;
    let matched: i64 = steps.iter().filter_map(|step| step.rows_matched).sum();
    let dealt_with: i64 = steps.iter().map(|step| step.rows_affected + step.rows_withheld).sum();
    if matched == 0 { 0 } else { (dealt_with.saturating_mul(100) / matched).clamp(0, 99) }
}
