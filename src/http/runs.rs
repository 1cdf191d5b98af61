//! `/v1/runs`: what is done beside requests, and what people decide about it. `retention` and `schedules` start them.

use actix_web::http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    call::{Answer, Call, Page, json},
    page::Paging,
    problem::{FieldError, Problem},
    requests::{shape::ErrorBody, submit::idempotency_key},
};
use crate::{
    domain::{
        audit::timestamp,
        request::{Outcome, StepState},
        run::{Params, Run, Task},
    },
    service::{
        error::ServiceError,
        runs::{self, Asked, Decision},
    },
    store::RunFilter,
};

pub mod replays;
pub mod retention;
pub mod schedules;

/// A run.
#[derive(Serialize, ToSchema)]
pub struct RunBody {
    id: Uuid,
    /// `retention:POLICY`, `backup:NAME` or `replay`.
    #[schema(example = "retention:old_visits")]
    task: String,
    /// As those of requests; `pending` waits for an approver.
    status: &'static str,
    /// Null until an end.
    outcome: Option<&'static str>,
    /// A token's `sub`, `cli:USER` or `schedule:NAME`.
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Of a retention run: the first moment that is not old any more.
    #[schema(format = DateTime)]
    before: Option<String>,
    /// Of a retention run: the version that is carried out.
    policy_version: Option<String>,
    /// Of a replay: erasures that were completed from then on; null also where it is over all of them.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// In the order of execution; empty until it was counted.
    steps: Vec<RunStepBody>,
    /// What came of it beside the counts.
    report: Value,
    error: Option<ErrorBody>,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    attempt: i32,
}

/// One table of a run.
#[derive(Serialize, ToSchema)]
pub struct RunStepBody {
    #[schema(example = "shop.visits")]
    name: String,
    action: String,
    status: &'static str,
    basis: Option<String>,
    rows_matched: Option<i64>,
    rows_affected: i64,
    /// They stay because of a legal hold.
    rows_withheld: i64,
    /// Null until verified.
    rows_remaining: Option<i64>,
}

impl From<StepState> for RunStepBody {
    fn from(step: StepState) -> Self {
        Self {
            name: step.name,
            action: step.action,
            status: step.status.as_str(),
            basis: step.basis,
            rows_matched: step.rows_matched,
            rows_affected: step.rows_affected,
            rows_withheld: step.rows_withheld,
            rows_remaining: step.rows_remaining,
        }
    }
}

impl From<Run> for RunBody {
    fn from(run: Run) -> Self {
        let (before, policy_version) = match &run.params {
            Params::Retention { before, policy_version } => {
                (Some(timestamp(*before)), policy_version.clone())
            }
            Params::Backup | Params::Replay { .. } => (None, None),
        };
        let since = match &run.params {
            Params::Replay { since } => since.map(timestamp),
            Params::Retention { .. } | Params::Backup => None,
        };
        let waits = run.state.error().is_some() && !run.status().is_end() && run.lease_until.is_none();
        Self {
            id: run.id,
            task: run.task.to_string(),
            status: run.status().as_str(),
            outcome: run.state.outcome().map(Outcome::as_str),
            created_at: timestamp(run.created_at),
            started_at: run.started_at.map(timestamp),
            finished_at: run.state.finished_at().map(timestamp),
            before,
            policy_version,
            since,
            error: run.state.error().map(ErrorBody::from),
            next_attempt_at: waits.then(|| timestamp(run.run_at)),
            attempt: run.attempt,
            created_by: run.created_by,
            steps: run.steps.into_iter().map(RunStepBody::from).collect(),
            report: run.report,
        }
    }
}

/// Runs, newest first.
#[utoipa::path(
    get, path = "/v1/runs", tag = "Runs", operation_id = "listRuns",
    params(
        ("task" = Option<String>, Query, description = "`retention:POLICY`, `backup:NAME` or `replay`"),
        ("open" = Option<bool>, Query, description = "Not ended, or ended"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<RunBody>))
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["task", "open", "limit", "cursor"])?;
    let task =
        query.read("task", "retention:POLICY, backup:NAME or replay", |text| text.parse::<Task>().ok())?;
    let open = query.flag("open")?;
    let vault = call.api.service.vault.clone();
    let shown = task.as_ref().map(ToString::to_string).unwrap_or_default();
    let paging = Paging::<Uuid>::read(&query, format!("runs {shown} {open:?}"), &vault)?;
    let (filter, limit) = (RunFilter { task, open, before: paging.after }, paging.fetch());
    let listed = call
        .run(|service| async move { runs::list(&service, &filter, limit).await.map_err(ServiceError::from) });
    let mut found = listed.await?;
    let next_cursor = paging.cut(&mut found, &vault, |run| run.id);
    Ok(json(StatusCode::OK, &Page { items: found.into_iter().map(RunBody::from).collect(), next_cursor }))
}

/// One run.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "Runs", operation_id = "readRun",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The run", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    let id = call.id()?;
    call.query(&[])?;
    let run = call.run(|service| async move { runs::read(&service, id).await }).await?;
    Ok(json(StatusCode::OK, &RunBody::from(run)))
}

/// Lets a run go that waits for an approver. Never one's own.
#[utoipa::path(
    post, path = "/v1/runs/{id}/approve", tag = "Runs", operation_id = "approveRun",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Approved", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn approve(call: Call) -> Answer {
    decide(call, Decision::Approve).await
}

/// Ends a run that waits for an approver. Never one's own.
#[utoipa::path(
    post, path = "/v1/runs/{id}/deny", tag = "Runs", operation_id = "denyRun",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Denied", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn deny(call: Call) -> Answer {
    decide(call, Decision::Deny).await
}

/// Ends a run; one that is at work ends between two batches.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "Runs", operation_id = "cancelRun",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Cancelled, or asked to end", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn cancel(call: Call) -> Answer {
    decide(call, Decision::Cancel).await
}

/// Makes a failed or paused run due now.
#[utoipa::path(
    post, path = "/v1/runs/{id}/retry", tag = "Runs", operation_id = "retryRun",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Due", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn retry(call: Call) -> Answer {
    decide(call, Decision::Retry).await
}

/// Verifies a backup now.
#[utoipa::path(
    post, path = "/v1/backups/{name}/verify", tag = "Backups", operation_id = "verifyBackup",
    params(
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same call again begins no second run"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunBody,
            headers(("Location" = String, description = "Where to poll"))),
        (status = 200, description = "Begun by the same call before", body = RunBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 409, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn verify_backup(mut call: Call) -> Answer {
    let task = Task::Backup(named(&call)?);
    call.query(&[])?;
    call.optional_fields().await?.end()?;
    let asked = asked(&call)?;
    begun(call.run(|service| async move { runs::begin(&service, task, asked).await }).await?)
}

async fn decide(mut call: Call, decision: Decision) -> Answer {
    let id = call.id()?;
    call.query(&[])?;
    call.optional_fields().await?.end()?;
    let actor = call.principal.sub.clone();
    let run = call.run(|service| async move { runs::decide(&service, &actor, id, decision).await }).await?;
    Ok(json(StatusCode::OK, &RunBody::from(run)))
}

/// Who asks, with the `Idempotency-Key` of the call.
fn asked(call: &Call) -> Result<Asked, Problem> {
    Ok(Asked { by: call.principal.sub.clone(), idempotency_key: idempotency_key(call)? })
}

/// 202 for a run that was begun; 200 where the same call was made before.
fn begun((run, is_new): (Run, bool)) -> Answer {
    let location = format!("/v1/runs/{}", run.id);
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut answer = json(status, &RunBody::from(run));
    if let Ok(location) = location.parse() {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// A member of the path that names something of the configuration.
fn named(call: &Call) -> Result<String, Problem> {
    let name = call.path("name")?;
    match name.len() {
        1..=100 => Ok(name),
        _ => Err(Problem::invalid(vec![FieldError::new("/name", "must have 1 to 100 characters")])),
    }
}
