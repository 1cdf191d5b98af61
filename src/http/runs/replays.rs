//! `/v1/replays`: erases again whom a restored backup has brought back.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunBody, asked, begun};
use crate::{
    domain::{
        audit::timestamp,
        replay::{Fate, Item, NotSubmitted},
        request::{Outcome, Status},
    },
    http::{
        body::Fields,
        call::{Answer, Call, Page, json},
        page::Paging,
        problem::Problem,
    },
    service::replays::{self, Preview},
};

/// Which erasures are done again: exactly one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct ReplayScope {
    /// Those that were completed from then on: when the restored backup was begun. Never in the future.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// `true`: all that the ledger holds.
    all: Option<bool>,
}

/// What a replay would have to do.
#[derive(Serialize, ToSchema)]
pub struct ReplayPreview {
    #[schema(format = DateTime)]
    since: Option<String>,
    entries: i64,
    plans: Vec<ReplayPlan>,
    /// Persons who are there again, of the first of the ledger, as many as could be looked for in ten seconds.
    found: usize,
    absent: usize,
    /// A request would fail with `subject_ambiguous`.
    unclear: usize,
    /// No request could be made: the plan is not registered or has other identities, or the key is another one.
    unusable: usize,
}

/// Entries of the ledger under one plan.
#[derive(Serialize, ToSchema)]
pub struct ReplayPlan {
    plan: String,
    registered: bool,
    entries: i64,
    /// Completion of the oldest.
    #[schema(format = DateTime)]
    oldest: Option<String>,
    #[schema(format = DateTime)]
    newest: Option<String>,
}

/// One erasure that a replay does again.
#[derive(Serialize, ToSchema)]
pub struct ReplayItem {
    entry_id: Uuid,
    /// The erasure that the person asked for.
    of: Uuid,
    plan: String,
    /// The request that erases again; null before its turn, and where there can be none.
    request_id: Option<Uuid>,
    /// Of that request.
    status: Option<&'static str>,
    outcome: Option<&'static str>,
    /// Why there can be no request: `unknown_plan`, `unfit_identities`, `unreadable` or `expired`.
    code: Option<&'static str>,
}

impl From<Preview> for ReplayPreview {
    fn from(preview: Preview) -> Self {
        let plans = preview.plans.into_iter().map(|plan| ReplayPlan {
            plan: plan.plan,
            registered: plan.registered,
            entries: plan.entries,
            oldest: plan.oldest.map(timestamp),
            newest: plan.newest.map(timestamp),
        });
        Self {
            since: preview.since.map(timestamp),
            entries: preview.entries,
            plans: plans.collect(),
            found: preview.found,
            absent: preview.absent,
            unclear: preview.unclear,
            unusable: preview.unusable,
        }
    }
}

impl From<Item> for ReplayItem {
    fn from(item: Item) -> Self {
        let (request_id, stands, code) = match item.fate {
            Fate::Pending => (None, None, None),
            Fate::NotSubmitted(why) => (None, None, Some(why)),
            Fate::Submitted(request, stands) => (Some(request), stands, None),
        };
        Self {
            entry_id: item.entry,
            of: item.erasure,
            plan: item.plan,
            request_id,
            status: stands.map(|(status, _)| Status::as_str(status)),
            outcome: stands.and_then(|(_, outcome)| outcome).map(Outcome::as_str),
            code: code.map(NotSubmitted::as_str),
        }
    }
}

/// Begins a replay; where the configuration wants that, an approver lets it go first.
#[utoipa::path(
    post, path = "/v1/replays", tag = "Replays", operation_id = "replay", request_body = ReplayScope,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same call again begins no second run")),
    responses(
        (status = 202, description = "Begun", body = RunBody,
            headers(("Location" = String, description = "Where to poll"))),
        (status = 200, description = "Begun by the same call before", body = RunBody),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn begin(mut call: Call) -> Answer {
    let since = scope(&mut call).await?;
    let asked = asked(&call)?;
    begun(call.run(|service| async move { replays::begin(&service, since, asked).await }).await?)
}

/// Counts what a replay would have to do; nothing is changed.
#[utoipa::path(
    post, path = "/v1/replays/preview", tag = "Replays", operation_id = "previewReplay", request_body = ReplayScope,
    responses((status = 200, description = "The counts", body = ReplayPreview))
)]
pub async fn preview(mut call: Call) -> Answer {
    let since = scope(&mut call).await?;
    let found = call.run(|service| async move { replays::preview(&service, since).await }).await?;
    Ok(json(StatusCode::OK, &ReplayPreview::from(found)))
}

/// What a replay has to do, with the requests that it made, in the order of the ledger.
#[utoipa::path(
    get, path = "/v1/replays/{id}", tag = "Replays", operation_id = "readReplay",
    params(
        ("id" = Uuid, Path, description = "Of the run"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<ReplayItem>),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn items(call: Call) -> Answer {
    let run = call.id()?;
    let query = call.query(&["limit", "cursor"])?;
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Uuid>::read(&query, format!("replays {run}"), &vault)?;
    let (after, limit) = (paging.after, paging.fetch());
    let mut found =
        call.run(|service| async move { replays::items(&service, run, after, limit).await }).await?;
    let next_cursor = paging.cut(&mut found, &vault, |item| item.entry);
    Ok(json(StatusCode::OK, &Page { items: found.into_iter().map(ReplayItem::from).collect(), next_cursor }))
}

/// `None`: all.
async fn scope(call: &mut Call) -> Result<Option<DateTime<Utc>>, Problem> {
    call.query(&[])?;
    let mut fields = Fields::of(call.json().await?)?;
    let has_since = fields.has("since");
    let since = fields.optional_time("since");
    match (has_since, fields.choice("all")) {
        (true, true) => fields.fault("all", "goes without since, and since without it"),
        (false, false) => fields.fault("since", "is required: since, or all: true"),
        _ => {}
    }
    fields.end()?;
    Ok(since)
}
