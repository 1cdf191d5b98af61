//! `POST /v1/requests/{id}/cancel` and `…/retry`.

use actix_web::http::StatusCode;

use super::{MAX_REASON, answer, shape};
use crate::{
    domain::request::WithReason,
    http::call::{Answer, Call},
    service::actions,
};

/// Cancels a request: at once where nobody works on it, else between two batches. What was done stays done and counted.
#[utoipa::path(
    post, path = "/v1/requests/{id}/cancel", tag = "Requests", operation_id = "cancelRequest",
    params(("id" = uuid::Uuid, Path)), request_body = Option<shape::ReasonBody>,
    responses(
        (status = 202, description = "Cancelled, or asked to", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn cancel(mut call: Call) -> Answer {
    let with_reason = reason(&mut call).await?;
    let (id, reader) = (call.id()?, call.reader());
    let reading =
        call.run(|service| async move { actions::cancel(&service, &reader, id, with_reason).await }).await?;
    Ok(answer(&call, StatusCode::ACCEPTED, &reading))
}

/// Gives a failed or paused request a new budget of attempts, due now.
#[utoipa::path(
    post, path = "/v1/requests/{id}/retry", tag = "Requests", operation_id = "retryRequest",
    params(("id" = uuid::Uuid, Path)), request_body = Option<shape::ReasonBody>,
    responses(
        (status = 202, description = "Due again", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn retry(mut call: Call) -> Answer {
    let with_reason = reason(&mut call).await?;
    let (id, reader) = (call.id()?, call.reader());
    let reading =
        call.run(|service| async move { actions::retry(&service, &reader, id, with_reason).await }).await?;
    Ok(answer(&call, StatusCode::ACCEPTED, &reading))
}

async fn reason(call: &mut Call) -> Result<WithReason, crate::http::problem::Problem> {
    let mut fields = call.optional_fields().await?;
    let reason = fields.optional_text("reason", MAX_REASON);
    fields.end()?;
    Ok(if reason.is_some() { WithReason::Given } else { WithReason::None })
}
