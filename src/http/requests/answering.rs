//! What concerns the month of GDPR Art. 12(3): `POST /v1/requests/{id}/identity_check`, `…/extend`,
//! `…/answered`, and the draft of `GET …/answer`.

use actix_web::http::StatusCode;

use super::{MAX_REASON, answer, shape};
use crate::{
    domain::request::{Answered, Channel, Extension, IdentityCheck},
    http::{
        body::Fields,
        call::{Answer, Call, json},
    },
    service::{answering, readings},
};

/// Of an identity check's method, in characters.
const MAX_METHOD: usize = 40;

/// Records how the person's identity is checked. Until it is confirmed the month does not run, and a pending request
/// stays so; where no approval is needed it goes on with the confirmation.
#[utoipa::path(
    post, path = "/v1/requests/{id}/identity_check", tag = "Requests", operation_id = "checkIdentity",
    params(("id" = uuid::Uuid, Path)), request_body = shape::IdentityCheckBody,
    responses(
        (status = 200, description = "Recorded", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn check_identity(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = Fields::of(call.json().await?)?;
    let check = identity_check(&mut fields);
    fields.end()?;
    let reader = call.reader();
    let reading = call
        .run(|service| async move { answering::check_identity(&service, &reader, id, check).await })
        .await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}

/// Lengthens the month by one or two, once, before it is over.
#[utoipa::path(
    post, path = "/v1/requests/{id}/extend", tag = "Requests", operation_id = "extendRequest",
    params(("id" = uuid::Uuid, Path)), request_body = shape::ExtendBody,
    responses(
        (status = 200, description = "Extended", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn extend(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = Fields::of(call.json().await?)?;
    let months = fields.number("months", 1..=2);
    let reason = fields.text("reason", MAX_REASON);
    let subject_informed_at = fields.optional_time("subject_informed_at");
    fields.end()?;
    let (extension, reader) = (Extension { months, subject_informed_at }, call.reader());
    let reading = call
        .run(|service| async move { answering::extend(&service, &reader, id, extension, reason).await })
        .await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}

/// Records that the person was told what became of their request: the duty of the month ends here.
#[utoipa::path(
    post, path = "/v1/requests/{id}/answered", tag = "Requests", operation_id = "answeredRequest",
    params(("id" = uuid::Uuid, Path)), request_body = shape::AnsweredBody,
    responses(
        (status = 200, description = "Recorded", body = shape::RequestBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn answered(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = Fields::of(call.json().await?)?;
    let at = fields.time("at");
    let channel = fields.word("channel", &Channel::ALL, Channel::as_str);
    fields.end()?;
    let (answered, reader) = (Answered { at, channel: channel.unwrap_or(Channel::Other) }, call.reader());
    let reading =
        call.run(|service| async move { answering::answered(&service, &reader, id, answered).await }).await?;
    Ok(answer(&call, StatusCode::OK, &reading))
}

/// A draft of the answer: what was done, what was withheld on which ground, and for refusals the remedies.
#[utoipa::path(
    get, path = "/v1/requests/{id}/answer", tag = "Requests", operation_id = "draftAnswer",
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The draft", body = shape::LetterBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn draft(call: Call) -> Answer {
    let (id, reader) = (call.id()?, call.reader());
    call.query(&[])?;
    let text = call.run(|service| async move { readings::letter(&service, &reader, id).await }).await?;
    Ok(json(StatusCode::OK, &shape::LetterBody { text }))
}

/// The members of an identity check.
pub fn identity_check(fields: &mut Fields) -> IdentityCheck {
    let method = fields.text("method", MAX_METHOD);
    if !method.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        fields
            .fault("method", "must be a word of small letters, digits and underscores, such as id_document");
    }
    let requested_at = fields.time("requested_at");
    IdentityCheck { method, requested_at, confirmed_at: fields.optional_time("confirmed_at") }
}
