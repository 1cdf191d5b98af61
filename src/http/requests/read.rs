//! `GET /v1/requests/{id}` and `…/events`.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::time::{Instant, sleep_until};

use super::shape;
use crate::{
    domain::audit::Event,
    http::{
        call::{Answer, Call, Page, json},
        page::Paging,
        problem::Problem,
    },
    service::readings::{self, Reading},
};

/// The longest `?wait`.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Between two looks at the store, for what other processes change.
const LOOK: Duration = Duration::from_millis(250);

/// One request. With `?wait` the answer comes as soon as it changes, or when the wait ends.
#[utoipa::path(
    get, path = "/v1/requests/{id}", tag = "Requests", operation_id = "readRequest",
    params(
        ("id" = uuid::Uuid, Path),
        ("wait" = Option<String>, Query, description = "Such as `30s`, at most 60 s; relative to `If-None-Match` if \
            given, else to the state on arrival"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that is known already"),
    ),
    responses(
        (status = 200, description = "The request; `Retry-After: 1` while it is open", body = shape::RequestBody,
            headers(("ETag" = String, description = "Of the whole body"))),
        (status = 304, description = "Unchanged"),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    let id = call.id()?;
    let wait = call.query(&["wait"])?.duration("wait", MAX_WAIT)?;
    let reader = call.reader();
    let known = call.header("if-none-match")?;
    let mut watch = call.api.service.watchers.watch(id);
    let until = Instant::now() + wait.unwrap_or_default();
    let mut closing = call.api.closing.clone();
    let mut reading: Option<Reading> = None;
    let mut told = None;
    let mut on_arrival = None;
    loop {
        let (before, told_now, reader) = (reading.take(), told.take(), reader.clone());
        let now = call
            .run(|service| async move {
                match before {
                    None => readings::read(&service, &reader, id).await,
                    Some(before) => readings::refresh(&service, before, told_now).await,
                }
            })
            .await?;
        let shown = Shown::of(&call, &now)?;
        let is_known = known.as_deref().is_some_and(|known| matches(known, &shown.etag));
        let on_arrival = on_arrival.get_or_insert_with(|| shown.etag.clone());
        let is_news = if known.is_some() { !is_known } else { shown.etag != *on_arrival };
        // An end never changes any more: there is nothing to wait for.
        let is_over = now.request.status().is_end();
        if is_news || is_over || Instant::now() >= until || *closing.borrow() {
            return Ok(shown.answer(is_known, now.request.status().is_end()));
        }
        reading = Some(now);
        // No connection of the store is held while waiting.
        tokio::select! {
            change = watch.next_change() => told = change,
            () = sleep_until(until.min(Instant::now() + LOOK)) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}

/// A body and its tag.
struct Shown {
    body: Vec<u8>,
    etag: String,
}

impl Shown {
    fn of(call: &Call, reading: &Reading) -> Result<Self, Problem> {
        let shaped = shape::whole(reading, &call.reader(), call.api.service.clock.now());
        let body = serde_json::to_vec(&shaped).map_err(|_| Problem::internal("a request is no JSON"))?;
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        Ok(Self { etag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref())), body })
    }

    fn answer(self, unchanged: bool, is_end: bool) -> HttpResponse {
        let mut answer = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header((header::ETAG, self.etag));
        // A browser may keep it, and asks again each time.
        answer.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        if !is_end {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        if unchanged {
            return answer.finish();
        }
        answer.insert_header((header::CONTENT_TYPE, "application/json")).body(self.body)
    }
}

/// RFC 9110 §13.1.2: a list of tags, compared weakly, or `*`.
fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// The audit events of one request, oldest first.
#[utoipa::path(
    get, path = "/v1/requests/{id}/events", tag = "Requests", operation_id = "readRequestEvents",
    params(
        ("id" = uuid::Uuid, Path),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<crate::http::audit::EventBody>),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn events(call: Call) -> Answer {
    let id = call.id()?;
    let vault = call.api.service.vault.clone();
    let paging = Paging::<i64>::read(&call.query(&["limit", "cursor"])?, format!("events {id}"), &vault)?;
    let (reader, after, limit) = (call.reader(), paging.after.unwrap_or(0), paging.fetch());
    let mut items: Vec<Event> = call
        .run(|service| async move { readings::events(&service, &reader, id, after, limit).await })
        .await?;
    let next_cursor = paging.cut(&mut items, &vault, |event| event.seq);
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}
