//! `GET /v1/requests`, `…/summary` and `POST /v1/requests/search`.

use actix_web::http::StatusCode;

use super::{person, shape};
use crate::{
    domain::request::{Kind, Outcome, Status},
    http::{
        call::{Answer, Call, Page, json},
        page::{Paging, Position},
        problem::Problem,
        query::Query,
    },
    service::readings::{self, Reading},
    store::{self, RequestFilter, Sort},
};

const PARAMETERS: [&str; 10] =
    ["status", "kind", "outcome", "plan", "external_id", "overdue", "due_before", "sort", "limit", "cursor"];

/// Requests without their steps, newest first.
#[utoipa::path(
    get, path = "/v1/requests", tag = "Requests", operation_id = "listRequests",
    params(
        ("status" = Option<String>, Query, description = "Several, comma-separated"),
        ("kind" = Option<String>, Query, description = "Several, comma-separated"),
        ("outcome" = Option<String>, Query, description = "Several, comma-separated"),
        ("plan" = Option<String>, Query, description = "The plan's name"),
        ("external_id" = Option<String>, Query, description = "Exactly this"),
        ("overdue" = Option<bool>, Query, description = "Not answered and past the due time, or not"),
        ("due_before" = Option<String>, Query, description = "RFC 3339"),
        ("sort" = Option<String>, Query, description = "`-created_at` (default) or `due_at`"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<shape::RequestItem>),
        (status = 422, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&PARAMETERS)?;
    page(&call, &query, filter(&query)?, sort(&query)?).await
}

async fn page(call: &Call, query: &Query, filter: RequestFilter, sort: Sort) -> Answer {
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Position>::read(query, format!("requests {filter:?} {sort:?}"), &vault)?;
    let page = store::Page {
        limit: paging.fetch(),
        sort,
        after: paging.after.map(|position| (position.at, position.id)),
    };
    let reader = call.reader();
    let mut readings =
        call.run(|service| async move { readings::list(&service, &reader, filter, &page).await }).await?;
    let next_cursor = paging.cut(&mut readings, &vault, |reading| position(reading, sort));
    let (reader, now) = (call.reader(), call.api.service.clock.now());
    let items = readings.iter().map(|reading| shape::item(reading, &reader, now)).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

/// A person's requests, without an identity in a URL. `limit` and `cursor` as everywhere.
#[utoipa::path(
    post, path = "/v1/requests/search", tag = "Requests", operation_id = "searchRequests",
    request_body = crate::http::audit::SearchBody,
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page, newest first", body = Page<shape::RequestItem>),
        (status = 422, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn search(mut call: Call) -> Answer {
    let pseudonyms = person(&mut call).await?.pseudonyms;
    let query = call.query(&["limit", "cursor"])?;
    let filter = RequestFilter { subject_refs: Some(pseudonyms), ..RequestFilter::default() };
    page(&call, &query, filter, Sort::default()).await
}

/// How many requests there are, and how many answers are late or nearly so; of a service, its own.
#[utoipa::path(
    get, path = "/v1/requests/summary", tag = "Requests", operation_id = "summarizeRequests",
    responses((status = 200, description = "Counts", body = shape::SummaryBody))
)]
pub async fn summary(call: Call) -> Answer {
    call.query(&[])?;
    let reader = call.reader();
    let counts = call.run(|service| async move { readings::counts(&service, &reader).await }).await?;
    Ok(json(StatusCode::OK, &shape::summary(&counts)))
}

fn filter(query: &Query) -> Result<RequestFilter, Problem> {
    let one_of = |names: &[&str]| format!("one or several of {}", names.join(", "));
    Ok(RequestFilter {
        status: query.several("status", &one_of(&Status::ALL.map(Status::as_str)), |text| {
            Status::ALL.into_iter().find(|status| status.as_str() == text)
        })?,
        kind: query.several("kind", &one_of(&Kind::ALL.map(Kind::as_str)), |text| {
            Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
        })?,
        outcome: query.several("outcome", &one_of(&Outcome::ALL.map(Outcome::as_str)), |text| {
            Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
        })?,
        plan: query.text("plan").map(str::to_owned),
        external_id: query.text("external_id").map(str::to_owned),
        created_by: None,
        subject_refs: None,
        overdue: query.flag("overdue")?,
        due_before: query.time("due_before")?,
    })
}

fn sort(query: &Query) -> Result<Sort, Problem> {
    let sort = query.read("sort", "-created_at or due_at", |text| match text {
        "-created_at" => Some(Sort::Created),
        "due_at" => Some(Sort::Due),
        _ => None,
    })?;
    Ok(sort.unwrap_or_default())
}

fn position(reading: &Reading, sort: Sort) -> Position {
    let request = &reading.request;
    let at = match sort {
        Sort::Created => request.created_at,
        Sort::Due => request.urgency(),
    };
    Position { at, id: request.id }
}
