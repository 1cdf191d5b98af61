//! `POST /v1/requests`.

use actix_web::http::{StatusCode, header};
use serde_json::Value;

use super::{MAX_NAME, MAX_REASON, answer, answering::identity_check, changes, kind, shape, subject};
use crate::{
    domain::{
        package::Recipient,
        request::{ExportOptions, Format, Kind, Right},
    },
    http::{
        body::Fields,
        call::{Answer, Call},
        problem::Problem,
    },
    service::intake::{self, Idempotency, Submission, Submitted},
};

/// Of the idempotency key, in characters.
const MAX_KEY: usize = 255;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Accepts a request. It is stored, audited and due when the answer leaves.
#[utoipa::path(
    post, path = "/v1/requests", tag = "Requests", operation_id = "submitRequest",
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body: the same request, with 200.")),
    request_body = shape::SubmitBody,
    responses(
        (status = 202, description = "Accepted", body = shape::RequestBody,
            headers(("Location" = String, description = "Where to read it"))),
        (status = 200, description = "Accepted before under this key", body = shape::RequestBody),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
        (status = 422, response = crate::http::openapi::ProblemAnswer),
        (status = 503, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn submit(mut call: Call) -> Answer {
    let body = call.json().await?;
    let idempotency = idempotency(&call, &body)?;
    let submission = parse(Fields::of(body)?, idempotency)?;
    let reader = call.reader();
    let submitted =
        call.run(|service| async move { intake::submit(&service, &reader, submission).await }).await?;
    let (status, reading) = match submitted {
        Submitted::New(reading) => (StatusCode::ACCEPTED, reading),
        Submitted::Again(reading) => (StatusCode::OK, reading),
    };
    let mut answer = answer(&call, status, &reading);
    if let Ok(location) = format!("/v1/requests/{}", reading.request.id).parse() {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

fn parse(mut fields: Fields, idempotency: Option<Idempotency>) -> Result<Submission, Problem> {
    let kind = kind(&mut fields);
    let submission = Submission {
        kind,
        plan: fields.text("plan", MAX_NAME),
        subject: subject(&mut fields),
        external_id: fields.optional_text("external_id", MAX_NAME),
        reason: fields.optional_text("reason", MAX_REASON),
        submitted_at: fields.optional_time("submitted_at"),
        identity_check: fields.optional_part("identity_check", identity_check),
        export: export_options(&mut fields, kind),
        changes: (kind == Kind::Rectification).then(|| changes(&mut fields)),
        idempotency,
    };
    fields.pass_null(&["format", "right", "encrypt_to", "changes"]);
    fields.end()?;
    Ok(submission)
}

/// How an export is to be made; members of other kinds' bodies stay behind and are told as unknown.
fn export_options(fields: &mut Fields, kind: Kind) -> Option<ExportOptions> {
    (kind == Kind::Export).then(|| ExportOptions {
        format: fields.optional_word("format", &Format::ALL, Format::as_str).unwrap_or_default(),
        right: fields.optional_word("right", &Right::ALL, Right::as_str).unwrap_or_default(),
        encrypt_to: recipient(fields),
    })
}

fn recipient(fields: &mut Fields) -> Option<String> {
    let text = fields.optional_text("encrypt_to", MAX_NAME)?;
    if text.parse::<Recipient>().is_err() {
        fields.fault("encrypt_to", "must be a recipient of the age format, age1…");
    }
    Some(text)
}

/// The caller's key with the fingerprint of the body it came with.
///
/// # Errors
/// For a key that is empty or too long.
pub fn idempotency(call: &Call, body: &Value) -> Result<Option<Idempotency>, Problem> {
    Ok(idempotency_key(call)?.map(|key| Idempotency {
        key,
        // Over the canonical form: the same body with other blanks is the same body.
        fingerprint: call
            .api
            .service
            .vault
            .fingerprint(&serde_json_canonicalizer::to_vec(body).unwrap_or_default()),
    }))
}

/// The `Idempotency-Key` of a call.
///
/// # Errors
/// When it is empty or too long.
pub fn idempotency_key(call: &Call) -> Result<Option<String>, Problem> {
    let Some(key) = call.header(IDEMPOTENCY_KEY)? else { return Ok(None) };
    if key.trim().is_empty() || key.chars().count() > MAX_KEY {
        return Err(Problem::parameter(IDEMPOTENCY_KEY, "must have 1 to 255 characters"));
    }
    Ok(Some(key))
}
