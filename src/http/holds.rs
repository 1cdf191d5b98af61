//! `/v1/holds`: legal holds, placed by an admin and ended by an approver, never by who placed them.

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    body::Fields,
    call::{Answer, Call, Page, json},
    page::Paging,
    requests::{MAX_NAME, MAX_REASON, shape::SubjectRef, subject},
};
use crate::{
    domain::{
        audit::timestamp,
        hold::{Ground, Scope},
    },
    service::{
        holds::{self, HoldReading, Placement},
        readings::Reader,
    },
};

/// A hold to place.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct PlaceHoldBody {
    /// Whose identities name the person.
    plan: String,
    #[schema(example = json!({ "email": "jane@example.com" }))]
    subject: BTreeMap<String, Value>,
    /// `all_plans` (default), `plan` or `table`.
    scope: Option<String>,
    /// With scope `table`: `connection.table`.
    #[schema(example = "shop.orders")]
    table: Option<String>,
    /// `legal_claims`, `legal_obligation`, `public_interest` or `other`.
    ground: String,
    #[schema(max_length = 2000)]
    reason: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A legal hold.
#[derive(Serialize, ToSchema)]
pub struct HoldBody {
    id: Uuid,
    plan: String,
    /// Null for auditors, and once it was destroyed.
    subject: Option<BTreeMap<String, Value>>,
    subject_refs: Vec<SubjectRef>,
    scope: &'static str,
    table: Option<String>,
    ground: &'static str,
    /// Null for auditors.
    reason: Option<String>,
    placed_by: String,
    #[schema(format = DateTime)]
    placed_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    ended_by: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// When subject and reason were destroyed, because their time was over (`retention.identities`).
    #[schema(format = DateTime)]
    identities_destroyed_at: Option<String>,
    /// When its pseudonyms went too (`retention.requests`).
    #[schema(format = DateTime)]
    reduced_at: Option<String>,
}

/// A hold that was just placed.
#[derive(Serialize, ToSchema)]
pub struct PlacedHoldBody {
    #[serde(flatten)]
    hold: HoldBody,
    /// Whether the person's row was there; null when its database could not be asked, or when the identities lead to
    /// several rows. A hold on nobody keeps whoever is found by these identities later.
    subject_found: Option<bool>,
}

fn shape(reading: HoldReading, reader: &Reader) -> HoldBody {
    let HoldReading { hold, confidential, refs } = reading;
    let confidential = confidential.filter(|_| reader.identities);
    let (ended_by, ended_at) = hold.ended.map(|ended| (ended.by, timestamp(ended.at))).unzip();
    let (subject, reason) =
        confidential.map(|confidential| (confidential.subject.0, confidential.reason)).unzip();
    HoldBody {
        id: hold.id,
        plan: hold.plan,
        subject,
        subject_refs: refs.into_iter().map(|(identity, r#ref)| SubjectRef { identity, r#ref }).collect(),
        scope: hold.scope.as_str(),
        table: hold.table,
        ground: hold.ground.as_str(),
        reason,
        placed_by: hold.placed_by,
        placed_at: timestamp(hold.placed_at),
        expires_at: hold.expires_at.map(timestamp),
        ended_by,
        ended_at,
        identities_destroyed_at: hold.identities_destroyed_at.map(timestamp),
        reduced_at: hold.reduced_at.map(timestamp),
    }
}

/// Places a hold. An erasure of the person that is at work stops between two batches, others go `on_hold` before they
/// touch anything; what was erased before stays so, and the audit log shows which came first.
#[utoipa::path(
    post, path = "/v1/holds", tag = "Holds", operation_id = "placeHold", request_body = PlaceHoldBody,
    responses(
        (status = 201, description = "Placed", body = PlacedHoldBody,
            headers(("Location" = String, description = "Where to read it"))),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn place(mut call: Call) -> Answer {
    let mut fields = Fields::of(call.json().await?)?;
    let placement = placement(&mut fields);
    fields.end()?;
    let Some(placement) = placement else { return Err(super::problem::Problem::invalid(Vec::new())) };
    let (reader, shown_to) = (call.reader(), call.reader());
    let placed = call.run(|service| async move { holds::place(&service, &reader, placement).await }).await?;
    let location = format!("/v1/holds/{}", placed.reading.hold.id);
    let body = PlacedHoldBody { hold: shape(placed.reading, &shown_to), subject_found: placed.subject_found };
    let mut answer = json(StatusCode::CREATED, &body);
    if let Ok(location) = location.parse() {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// `None` only where a fault was noted.
fn placement(fields: &mut Fields) -> Option<Placement> {
    let plan = fields.text("plan", MAX_NAME);
    let subject = subject(fields);
    let scope = match fields.has("scope") {
        true => fields.word("scope", &Scope::ALL, Scope::as_str),
        false => {
            fields.optional_text("scope", MAX_NAME);
            Some(Scope::AllPlans)
        }
    };
    let table = fields.optional_text("table", MAX_NAME);
    if scope.is_some_and(|scope| (scope == Scope::Table) != table.is_some()) {
        fields.fault("table", "belongs to scope `table`, and to no other");
    }
    let ground = fields.word("ground", &Ground::ALL, Ground::as_str);
    let reason = fields.text("reason", MAX_REASON);
    let expires_at = fields.optional_time("expires_at");
    Some(Placement { plan, subject, scope: scope?, table, ground: ground?, reason, expires_at })
}

/// Holds, newest first.
#[utoipa::path(
    get, path = "/v1/holds", tag = "Holds", operation_id = "listHolds",
    params(
        ("active" = Option<bool>, Query, description = "Not ended, or ended"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<HoldBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["active", "limit", "cursor"])?;
    let active = query.flag("active")?;
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Uuid>::read(&query, format!("holds {active:?}"), &vault)?;
    let (before, limit) = (paging.after, paging.fetch());
    let mut found =
        call.run(|service| async move { holds::list(&service, active, before, limit).await }).await?;
    let next_cursor = paging.cut(&mut found, &vault, |reading| reading.hold.id);
    let reader = call.reader();
    let items = found.into_iter().map(|reading| shape(reading, &reader)).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

/// One hold.
#[utoipa::path(
    get, path = "/v1/holds/{id}", tag = "Holds", operation_id = "readHold",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The hold", body = HoldBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    let id = call.id()?;
    call.query(&[])?;
    let reading = call.run(|service| async move { holds::read(&service, id).await }).await?;
    Ok(json(StatusCode::OK, &shape(reading, &call.reader())))
}

/// Ends a hold; what it kept goes on. Never one's own.
#[utoipa::path(
    delete, path = "/v1/holds/{id}", tag = "Holds", operation_id = "endHold",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Ended", body = HoldBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn end(call: Call) -> Answer {
    let id = call.id()?;
    let reader = call.reader();
    let reading = call.run(|service| async move { holds::end(&service, &reader, id).await }).await?;
    Ok(json(StatusCode::OK, &shape(reading, &call.reader())))
}
