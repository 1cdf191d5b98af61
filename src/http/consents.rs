//! `/v1/consents`: what persons consented to and withdrew, recorded once and never changed.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    body::Fields,
    call::{Answer, Call, Page, json},
    page::{Paging, Position},
    problem::Problem,
    query::Query,
    requests::{MAX_NAME, MAX_REASON, named, person, shape::SubjectRef, subject, submit::idempotency},
};
use crate::{
    domain::{
        audit::timestamp,
        consent::{ConsentState, ShownText, Source, is_name, sha256_hex},
    },
    service::consents::{self, Act, ConsentReading, Recorded},
    store::ConsentFilter,
};

/// The text that was shown.
#[derive(Serialize, ToSchema)]
pub struct ConsentText {
    #[schema(max_length = 200, pattern = "^[A-Za-z0-9._:/-]+$", example = "2026-01")]
    version: String,
    /// Hex SHA-256 of the text.
    #[schema(min_length = 64, max_length = 64)]
    hash: String,
}

/// What a person did.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct RecordConsentBody {
    /// Whose identities name the person.
    plan: String,
    #[schema(example = json!({ "email": "jane@example.com" }))]
    subject: BTreeMap<String, Value>,
    /// A name, no free text: it stands in the audit log.
    #[schema(max_length = 200, pattern = "^[A-Za-z0-9._:/-]+$", example = "newsletter")]
    purpose: String,
    /// `given` or `withdrawn`.
    state: String,
    text: ConsentText,
    /// `web`, `app`, `email`, `paper`, `phone`, `in_person` or `other`.
    source: String,
    /// When the person did it; default now, never in the future.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// Such as where the paper is; sealed like the subject.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// A consent that was given, or withdrawn.
#[derive(Serialize, ToSchema)]
pub struct ConsentBody {
    id: Uuid,
    plan: String,
    /// Null for who may not see identities, and once the person was erased.
    subject: Option<BTreeMap<String, Value>>,
    subject_refs: Vec<SubjectRef>,
    purpose: String,
    state: &'static str,
    text: ConsentText,
    source: &'static str,
    /// As `subject`.
    note: Option<String>,
    #[schema(format = DateTime)]
    at: String,
    recorded_by: String,
    #[schema(format = DateTime)]
    recorded_at: String,
    /// The person was erased: who it was is destroyed, and this proof stays.
    pseudonymised: bool,
}

/// A consent that was just recorded.
#[derive(Serialize, ToSchema)]
pub struct RecordedConsentBody {
    #[serde(flatten)]
    consent: ConsentBody,
    /// Whether the person's row was there; null when its database could not be asked, when the identities lead to several
    /// rows, and when it was recorded before.
    subject_found: Option<bool>,
}

/// A person's consents.
#[derive(Serialize, ToSchema)]
pub struct ConsentsOfPerson {
    /// The last act for each purpose.
    current: Vec<ConsentBody>,
    /// A page of all acts, the latest first.
    items: Vec<ConsentBody>,
    /// For `?cursor=`; null on the last page.
    next_cursor: Option<String>,
}

fn shape(reading: ConsentReading) -> ConsentBody {
    let ConsentReading { consent, confidential, refs, is_pseudonymised } = reading;
    let (subject, note) =
        confidential.map(|confidential| (confidential.subject.0, confidential.note)).unzip();
    ConsentBody {
        id: consent.id,
        plan: consent.plan,
        subject,
        subject_refs: refs.into_iter().map(|(identity, r#ref)| SubjectRef { identity, r#ref }).collect(),
        purpose: consent.purpose,
        state: consent.state.as_str(),
        text: ConsentText { version: consent.text.version, hash: consent.text.hash },
        source: consent.source.as_str(),
        note: note.flatten(),
        at: timestamp(consent.at),
        recorded_by: consent.recorded_by,
        recorded_at: timestamp(consent.recorded_at),
        pseudonymised: is_pseudonymised,
    }
}

/// Records that a person gave a consent, or withdrew it. It is stored and audited when the answer leaves. An act from
/// before an erasure of the person is recorded without who it was.
#[utoipa::path(
    post, path = "/v1/consents", tag = "Consents", operation_id = "recordConsent",
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body: the same consent, with 200.")),
    request_body = RecordConsentBody,
    responses(
        (status = 201, description = "Recorded", body = RecordedConsentBody),
        (status = 200, description = "Recorded before under this key", body = RecordedConsentBody),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn record(mut call: Call) -> Answer {
    let body = call.json().await?;
    let idempotency = idempotency(&call, &body)?;
    let mut fields = Fields::of(body)?;
    let act = act(&mut fields);
    fields.end()?;
    let Some(act) = act else { return Err(Problem::invalid(Vec::new())) };
    let act = Act { idempotency, ..act };
    let reader = call.reader();
    let recorded = call.run(|service| async move { consents::record(&service, &reader, act).await }).await?;
    let (status, reading, subject_found) = match recorded {
        Recorded::New(reading, subject_found) => (StatusCode::CREATED, reading, subject_found),
        Recorded::Again(reading) => (StatusCode::OK, reading, None),
    };
    Ok(json(status, &RecordedConsentBody { consent: shape(reading), subject_found }))
}

/// `None` only where a fault was noted.
fn act(fields: &mut Fields) -> Option<Act> {
    let plan = fields.text("plan", MAX_NAME);
    let subject = subject(fields);
    let purpose = name(fields, "purpose");
    let state = fields.word("state", &ConsentState::ALL, ConsentState::as_str);
    if !fields.has("text") {
        fields.fault("text", "is required");
    }
    let text = fields.optional_part("text", shown_text);
    let source = fields.word("source", &Source::ALL, Source::as_str);
    let at = fields.optional_time("at");
    let note = fields.optional_text("note", MAX_REASON);
    Some(Act {
        plan,
        subject,
        purpose,
        state: state?,
        text: text?,
        source: source?,
        at,
        note,
        idempotency: None,
    })
}

fn shown_text(fields: &mut Fields) -> ShownText {
    let version = name(fields, "version");
    let text = fields.text("hash", 64);
    let hash = sha256_hex(&text).unwrap_or_default();
    if hash.is_empty() && !text.is_empty() {
        fields.fault("hash", "must be the SHA-256 of the text that was shown, in 64 hex digits");
    }
    ShownText { version, hash }
}

fn name(fields: &mut Fields, member: &str) -> String {
    let text = fields.text(member, MAX_NAME);
    if !text.is_empty() && !is_name(&text) {
        let detail = "must consist of letters, digits and . _ - : / because it stands in the audit log";
        fields.fault(member, detail);
    }
    text
}

/// Consents, the latest act first. A program sees those of the person whom it names, else those that it recorded.
#[utoipa::path(
    get, path = "/v1/consents", tag = "Consents", operation_id = "listConsents",
    params(
        ("subject_ref" = Option<String>, Query, description = "Any pseudonym of the person"),
        ("purpose" = Option<String>, Query, description = "Exactly this"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<ConsentBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["subject_ref", "purpose", "limit", "cursor"])?;
    let filter = ConsentFilter {
        subject_refs: named(&call, &query).await?,
        purpose: query.text("purpose").map(str::to_owned),
        recorded_by: None,
    };
    Ok(json(StatusCode::OK, &page(&call, &query, filter).await?))
}

async fn page(call: &Call, query: &Query, filter: ConsentFilter) -> Result<Page<ConsentBody>, Problem> {
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Position>::read(query, format!("consents {filter:?}"), &vault)?;
    let (after, limit) = (paging.after.map(|position| (position.at, position.id)), paging.fetch());
    let reader = call.reader();
    let mut found = call
        .run(|service| async move { consents::list(&service, &reader, filter, after, limit).await })
        .await?;
    let next_cursor =
        paging.cut(&mut found, &vault, |reading| Position { at: reading.consent.at, id: reading.consent.id });
    Ok(Page { items: found.into_iter().map(shape).collect(), next_cursor })
}

/// A person's last act for each purpose. Of two at the same time the one that was recorded later counts.
#[utoipa::path(
    get, path = "/v1/consents/current", tag = "Consents", operation_id = "currentConsents",
    params(("subject_ref" = String, Query, description = "Any pseudonym of the person")),
    responses(
        (status = 200, description = "One for each purpose", body = Page<ConsentBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn current(call: Call) -> Answer {
    let query = call.query(&["subject_ref"])?;
    let Some(pseudonyms) = named(&call, &query).await? else {
        return Err(Problem::parameter(
            "subject_ref",
            "is required; POST /v1/consents/search takes identities",
        ));
    };
    let items = current_of(&call, pseudonyms).await?;
    Ok(json(StatusCode::OK, &Page { items, next_cursor: None }))
}

async fn current_of(call: &Call, pseudonyms: Vec<String>) -> Result<Vec<ConsentBody>, Problem> {
    let reader = call.reader();
    let found =
        call.run(|service| async move { consents::current(&service, &reader, &pseudonyms).await }).await?;
    Ok(found.into_iter().map(shape).collect())
}

/// A person's consents, without an identity in a URL. `limit` and `cursor` as everywhere.
#[utoipa::path(
    post, path = "/v1/consents/search", tag = "Consents", operation_id = "searchConsents",
    request_body = super::audit::SearchBody,
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "Where they stand, and a page of what was", body = ConsentsOfPerson),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn search(mut call: Call) -> Answer {
    let pseudonyms = person(&mut call).await?;
    let query = call.query(&["limit", "cursor"])?;
    let filter = ConsentFilter { subject_refs: Some(pseudonyms.clone()), ..ConsentFilter::default() };
    let Page { items, next_cursor } = page(&call, &query, filter).await?;
    let current = current_of(&call, pseudonyms).await?;
    Ok(json(StatusCode::OK, &ConsentsOfPerson { current, items, next_cursor }))
}
