//! `/v1/schedules`: what is done by itself, and when.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunBody, asked, begun, named};
use crate::{
    domain::audit::timestamp,
    http::call::{Answer, Call, json},
    service::{error::ServiceError, runs::schedules},
};

/// A schedule.
#[derive(Serialize, ToSchema)]
pub struct ScheduleBody {
    name: String,
    #[schema(example = "retention:old_visits")]
    handler: String,
    #[schema(example = "0 3 * * * (Europe/Berlin)")]
    timing: String,
    /// Null where it never fires again.
    #[schema(format = DateTime)]
    next_at: Option<String>,
    /// The last moment that it fired for; it may have fired later, when no process ran.
    #[schema(format = DateTime)]
    fired_at: Option<String>,
    /// The last moment that was passed by because the run before was not over.
    #[schema(format = DateTime)]
    skipped_at: Option<String>,
    /// Of the handler, whoever asked for it.
    last_run: Option<LastRunBody>,
}

#[derive(Serialize, ToSchema)]
pub struct LastRunBody {
    id: Uuid,
    status: &'static str,
    outcome: Option<&'static str>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Schedules {
    items: Vec<ScheduleBody>,
}

/// The schedules with their next and last runs.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "Schedules", operation_id = "listSchedules",
    responses((status = 200, description = "All schedules", body = Schedules))
)]
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let found = call
        .run(|service| async move { schedules::list(&service).await.map_err(ServiceError::from) })
        .await?;
    let items = found.into_iter().map(|schedule| ScheduleBody {
        name: schedule.name,
        handler: schedule.handler,
        timing: schedule.timing,
        next_at: schedule.next_at.map(timestamp),
        fired_at: schedule.fired_at.map(timestamp),
        skipped_at: schedule.skipped_at.map(timestamp),
        last_run: schedule.last_run.map(|run| LastRunBody {
            id: run.id,
            status: run.status,
            outcome: run.outcome,
            started_at: run.started_at.map(timestamp),
            finished_at: run.finished_at.map(timestamp),
        }),
    });
    Ok(json(StatusCode::OK, &Schedules { items: items.collect() }))
}

/// Does now what the schedule would do.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/run", tag = "Schedules", operation_id = "runSchedule",
    params(
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same call again begins no second run"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunBody,
            headers(("Location" = String, description = "Where to poll"))),
        (status = 200, description = "Begun by the same call before", body = RunBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn run(mut call: Call) -> Answer {
    let name = named(&call)?;
    call.query(&[])?;
    call.optional_fields().await?.end()?;
    let asked = asked(&call)?;
    begun(call.run(|service| async move { schedules::run_now(&service, &name, asked).await }).await?)
}
