//! `POST /v1/requests/{id}/approve` and `…/deny`.

use actix_web::http::StatusCode;

use super::{MAX_NAME, MAX_REASON, answer, shape};
use crate::{
    domain::request::{DenialReason, WithReason},
    http::{
        body::Fields,
        call::{Answer, Call},
    },
    service::decisions,
};

/// Lets a pending request go, under the plan version that the approver was shown. Never one's own.
#[utoipa::path(
    post, path = "/v1/requests/{id}/approve", tag = "Requests", operation_id = "approveRequest",
    params(("id" = uuid::Uuid, Path)), request_body = shape::ApproveBody,
    responses(
        (status = 200, description = "Approved", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn approve(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = Fields::of(call.json().await?)?;
    let plan_version = fields.text("plan_version", MAX_NAME);
    if !plan_version.is_empty() && !plan_version.starts_with("sha256:") {
        fields.fault("plan_version", "must be as the preview shows it, with `sha256:` in front");
    }
    let note = fields.optional_text("note", MAX_REASON);
    fields.end()?;
    let with_note = if note.is_some() { WithReason::Given } else { WithReason::None };
    let reader = call.reader();
    let reading =
        call.run(|service| async move {
            decisions::approve(&service, &reader, id, &plan_version, with_note).await
        })
        .await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}

/// Ends a pending request unserved. Never one's own.
#[utoipa::path(
    post, path = "/v1/requests/{id}/deny", tag = "Requests", operation_id = "denyRequest",
    params(("id" = uuid::Uuid, Path)), request_body = shape::DenialBody,
    responses(
        (status = 200, description = "Denied", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn deny(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = Fields::of(call.json().await?)?;
    let reason = fields.word("reason", &DenialReason::ALL, DenialReason::as_str);
    let text = fields.optional_text("text", MAX_REASON);
    fields.end()?;
    let (reason, reader) = (reason.unwrap_or(DenialReason::Other), call.reader());
    let reading =
        call.run(|service| async move { decisions::deny(&service, &reader, id, reason, text).await }).await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}
