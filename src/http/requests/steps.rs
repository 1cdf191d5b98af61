//! The steps of a request: how they look from outside, and `POST /v1/requests/{id}/steps/{name}/complete`.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{MAX_REASON, answer, shape};
use crate::{
    domain::{
        audit::timestamp,
        request::{Confidential, ManualResult, Request, StepState},
    },
    http::{
        body::Fields,
        call::{Answer, Call},
    },
    service::manual,
};

/// One table with one action, or something that a person or the embedding program does.
#[derive(Serialize, ToSchema)]
pub struct StepBody {
    #[schema(example = "shop.order_items")]
    name: String,
    /// `code` and `manual` for steps that are no table's.
    #[schema(example = "delete")]
    action: String,
    /// `pending`, `in_progress`, `waiting`, `completed`, `withheld` or `failed`.
    status: &'static str,
    rows_matched: Option<i64>,
    rows_affected: i64,
    rows_remaining: Option<i64>,
    rows_withheld: i64,
    basis: Option<String>,
    /// Of rows that are kept for a time (`keep` with `until`): when the first of those that are withheld is deleted; null for
    /// others, and when none is left.
    #[schema(format = DateTime)]
    kept_until: Option<String>,
    /// Of a manual step: what is to be done. Null for others, as are the next three.
    r#do: Option<String>,
    /// Of a manual step: who is to be told (GDPR Art. 17(2), 19).
    recipient: Option<String>,
    /// Of a manual step: `done`, `impossible` or `disproportionate`; null until somebody has said it.
    result: Option<&'static str>,
    /// Of a manual step: what was written to its result; null for auditors.
    note: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

/// What became of a manual step.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct CompletionBody {
    /// `done`, `impossible` or `disproportionate` (GDPR Art. 19).
    #[schema(example = "done")]
    result: String,
    /// Sealed; where it was not done, the draft of the answer to the person quotes it.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// The steps in the order in which they are carried out; `confidential`: as far as the reader may see it.
pub fn bodies(request: &Request, confidential: Option<&Confidential>) -> Vec<StepBody> {
    let note = |step: &StepState| confidential?.notes.get(&step.name).cloned();
    request.steps_in_order().map(|step| body(step, note(step))).collect()
}

fn body(step: &StepState, note: Option<String>) -> StepBody {
    StepBody {
        name: step.name.clone(),
        action: step.action.clone(),
        status: step.status.as_str(),
        rows_matched: step.rows_matched,
        rows_affected: step.rows_affected,
        rows_remaining: step.rows_remaining,
        rows_withheld: step.rows_withheld,
        basis: step.basis.clone(),
        kept_until: step.kept.as_ref().and_then(|kept| kept.next).map(timestamp),
        r#do: step.by_hand.as_ref().map(|by_hand| by_hand.r#do.clone()),
        recipient: step.by_hand.as_ref().and_then(|by_hand| by_hand.recipient.clone()),
        result: step.result().map(ManualResult::as_str),
        note,
        started_at: step.started_at.map(timestamp),
        finished_at: step.finished_at.map(timestamp),
    }
}

/// Records what became of a manual step. After the last one the request is completed. While a worker is at the request
/// the answer is 409: the moment passes.
#[utoipa::path(
    post, path = "/v1/requests/{id}/steps/{name}/complete", tag = "Requests", operation_id = "completeStep",
    params(("id" = uuid::Uuid, Path), ("name" = String, Path, description = "The step's name in the plan")),
    request_body = CompletionBody,
    responses(
        (status = 200, description = "Recorded", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn complete(mut call: Call) -> Answer {
    let (id, name) = (call.id()?, call.path("name")?);
    let mut fields = Fields::of(call.json().await?)?;
    let result = fields.word("result", &ManualResult::ALL, ManualResult::as_str);
    let note = fields.optional_text("note", MAX_REASON);
    fields.end()?;
    let (result, reader) = (result.unwrap_or(ManualResult::Done), call.reader());
    let reading = call
        .run(|service| async move { manual::complete(&service, &reader, id, &name, result, note).await })
        .await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}
