//! The audit log for auditors: query, search by person, export, verification.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::Bytes,
};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    call::{Answer, Call, Page, json},
    page::Paging,
    problem::{Code, Problem},
    query::Query,
    requests::{named, person},
};
use crate::{
    domain::audit::{EventName, verify::Broken},
    service::{
        audit::{self, Verification},
        audit_export::{self, Format},
    },
    store::{EventFilter, EventPage},
};

const FILTERS: [&str; 6] = ["request_id", "event", "actor", "from", "to", "subject_ref"];
/// Chunks of an export that wait for a slow reader.
const AHEAD: usize = 2;

/// One event, as it is hashed: `hash` is the hex SHA-256 over the 32 raw bytes of `prev_hash` and the RFC 8785 JSON
/// of the event without its two hashes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the domain's event, which knows nothing of this description")]
pub struct EventBody {
    id: Uuid,
    #[schema(example = "request:0199…")]
    stream: String,
    seq: i64,
    #[schema(format = DateTime)]
    at: String,
    #[schema(example = "step.batch")]
    event: String,
    request_id: Option<Uuid>,
    subject_ref: Option<String>,
    actor: String,
    step: Option<String>,
    action: Option<String>,
    rows: Option<serde_json::Value>,
    details: serde_json::Value,
    prev_hash: String,
    hash: String,
}

/// Whose events to find.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct SearchBody {
    plan: String,
    #[schema(example = json!({ "email": "jane@example.com" }))]
    subject: std::collections::BTreeMap<String, serde_json::Value>,
}

/// What a walk over the whole log found.
#[derive(Serialize, ToSchema)]
pub struct VerificationBody {
    ok: bool,
    /// Null when a place is broken: what follows was not looked at.
    events: Option<u64>,
    /// SHA-256 over the lines `stream seq hash`, sorted by stream.
    head: Option<String>,
    /// The first broken place.
    #[schema(value_type = Option<BrokenBody>)]
    broken: Option<Broken>,
}

/// The first place where the log is not what was written.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the domain's type, which knows nothing of this description")]
pub struct BrokenBody {
    stream: String,
    seq: i64,
    #[schema(example = "hash_mismatch")]
    reason: String,
}

/// Events, newest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "Audit", operation_id = "listEvents",
    params(
        ("request_id" = Option<Uuid>, Query), ("event" = Option<String>, Query), ("actor" = Option<String>, Query),
        ("from" = Option<String>, Query, description = "RFC 3339, included"),
        ("to" = Option<String>, Query, description = "RFC 3339, excluded"),
        ("subject_ref" = Option<String>, Query, description = "Any pseudonym of the person"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<EventBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&[&FILTERS[..], &["limit", "cursor"]].concat())?;
    let filter = filter(&call, &query).await?;
    page(&call, &query, filter).await
}

/// A person's events, although the log holds only pseudonyms. `limit` and `cursor` as everywhere.
#[utoipa::path(
    post, path = "/v1/audit/search", tag = "Audit", operation_id = "searchEvents", request_body = SearchBody,
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page, newest first", body = Page<EventBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn search(mut call: Call) -> Answer {
    let pseudonyms = person(&mut call).await?;
    let query = call.query(&["limit", "cursor"])?;
    let filter = EventFilter { subject_refs: Some(pseudonyms), ..EventFilter::default() };
    page(&call, &query, filter).await
}

async fn page(call: &Call, query: &Query, filter: EventFilter) -> Answer {
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Uuid>::read(query, format!("audit {filter:?}"), &vault)?;
    let page = EventPage { limit: paging.fetch(), before: paging.after };
    let mut items = call.run(|service| async move { audit::list(&service, &filter, &page).await }).await?;
    let next_cursor = paging.cut(&mut items, &vault, |event| event.id);
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

async fn filter(call: &Call, query: &Query) -> Result<EventFilter, Problem> {
    Ok(EventFilter {
        request_id: query.id("request_id")?,
        event: query.read("event", "the name of an event", |text| {
            EventName::ALL.into_iter().find(|event| event.as_str() == text)
        })?,
        actor: query.text("actor").map(str::to_owned),
        from: query.time("from")?,
        to: query.time("to")?,
        subject_refs: named(call, query).await?,
    })
}

/// The log as a file, oldest first, streamed from one consistent state.
#[utoipa::path(
    get, path = "/v1/audit/export", tag = "Audit", operation_id = "exportEvents",
    params(
        ("format" = Option<String>, Query, description = "`ndjson` (default) or `csv`"),
        ("request_id" = Option<Uuid>, Query), ("event" = Option<String>, Query), ("actor" = Option<String>, Query),
        ("from" = Option<String>, Query, description = "RFC 3339, included"),
        ("to" = Option<String>, Query, description = "RFC 3339, excluded"),
        ("subject_ref" = Option<String>, Query, description = "Any pseudonym of the person"),
    ),
    responses(
        (status = 200, description = "The file", content(
            (String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn export(call: Call) -> Answer {
    let query = call.query(&[&FILTERS[..], &["format"]].concat())?;
    let format = query.read("format", "ndjson or csv", Format::parse)?.unwrap_or(Format::Ndjson);
    let filter = filter(&call, &query).await?;
    let head = audit_export::head(format).map_err(Problem::internal)?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Problem>>(AHEAD);
    let service = call.api.service.clone();
    call.api.runtime.spawn(async move {
        let mut chunks = audit::export(&service.store, filter);
        while let Some(chunk) = chunks.next().await {
            let encoded = match chunk {
                Ok(events) => {
                    audit_export::encode(format, &events).map(Bytes::from).map_err(Problem::internal)
                }
                Err(error) => Err(Problem::internal(error)),
            };
            // The reader has hung up, or will, because an error ends the body early.
            let failed = encoded.is_err();
            if sender.send(encoded).await.is_err() || failed {
                return;
            }
        }
    });
    let body = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let (kind, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit.ndjson\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .streaming(stream::iter([Ok(Bytes::from(head))]).chain(body)))
}

/// Walks every stream's chain.
#[utoipa::path(
    get, path = "/v1/audit/verify", tag = "Audit", operation_id = "verifyAudit",
    responses((status = 200, description = "What was found", body = VerificationBody))
)]
pub async fn verify(call: Call) -> Answer {
    call.query(&[])?;
    let verification = call.run(|service| async move { Ok(audit::verify(&service.store).await?) }).await?;
    let body = match verification {
        Verification::Intact(verified) => VerificationBody {
            ok: true,
            events: Some(verified.events),
            head: Some(verified.head),
            broken: None,
        },
        Verification::Broken(broken) => {
            VerificationBody { ok: false, events: None, head: None, broken: Some(broken) }
        }
    };
    Ok(json(StatusCode::OK, &body))
}

/// The newest signed checkpoint of the log (C2SP tlog-checkpoint): its size and the root of its Merkle tree (RFC 6962). A
/// leaf is the SHA-256 over a zero byte and the 32 bytes of an event's `hash`.
#[utoipa::path(
    get, path = "/v1/audit/checkpoint", tag = "Audit", operation_id = "readCheckpoint",
    responses(
        (status = 200, description = "A signed note", content_type = "text/plain", body = String),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn checkpoint(call: Call) -> Answer {
    call.query(&[])?;
    let newest = call.run(|service| async move { Ok(service.store.newest_checkpoint().await?) }).await?;
    let Some(newest) = newest else {
        return Err(Problem::new(
            Code::NotFound,
            "No checkpoint was signed: the configuration has no evidence.key, or had none until a moment ago.",
        ));
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(newest.note))
}
