//! For whoever runs the service: is it alive, is it ready, and its metrics.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::json;

use super::{
    api::Api,
    call::{Answer, json},
    problem::{Code, Problem},
};
use crate::{
    domain::backup::Report,
    service::{Service, backups, error::ServiceError},
    store::{Counts, LogState, Sink},
};

/// A worker polls about four times a second, and backs off to 2 s while the store does not answer.
const POLLED_WITHIN_SECONDS: i64 = 15;
/// Whoever asks whether the service is ready waits a few seconds at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers as long as the process does.
#[utoipa::path(
    get, path = "/healthz", tag = "Service", operation_id = "isAlive", security(()),
    responses((status = 200, description = "Alive"))
)]
pub async fn alive(_: web::Data<Api>) -> Answer {
    Ok(json(StatusCode::OK, &json!({ "status": "alive" })))
}

/// The store is reachable and migrated; where workers run in this process, one has polled the store lately.
#[utoipa::path(
    get, path = "/readyz", tag = "Service", operation_id = "isReady", security(()),
    responses((status = 200, description = "Ready"), (status = 503, response = super::openapi::ProblemAnswer))
)]
pub async fn ready(api: web::Data<Api>) -> Answer {
    let service = api.service.clone();
    let has_worker = api.has_worker;
    let check = api.runtime.spawn(async move { not_ready(&service, has_worker).await }).await;
    match check {
        Ok(None) => Ok(json(StatusCode::OK, &json!({ "status": "ready" }))),
        Ok(Some(reason)) => {
            Err(Problem::new(Code::Unavailable, format!("Not ready: {reason}."))
                .header(header::RETRY_AFTER, "1"))
        }
        Err(_) => Err(Problem::internal("the readiness check ended early")),
    }
}

async fn not_ready(service: &Service, has_worker: bool) -> Option<&'static str> {
    match tokio::time::timeout(PATIENCE, service.store.is_migrated()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Some("the store's schema is not up to date"),
        Ok(Err(_)) | Err(_) => return Some("the store does not answer"),
    }
    let lately = service
        .metrics
        .last_poll()
        .is_some_and(|at| (service.clock.now() - at).num_seconds() < POLLED_WITHIN_SECONDS);
    (has_worker && !lately).then_some("the worker has not polled the store lately")
}

/// For Prometheus, in the OpenMetrics text format.
#[utoipa::path(
    get, path = "/metrics", tag = "Service", operation_id = "readMetrics", security(()),
    responses((status = 200, description = "Metrics", content_type = "application/openmetrics-text", body = String))
)]
pub async fn metrics(api: web::Data<Api>) -> Answer {
    let service = api.service.clone();
    let read = async move {
        let counts = service.store.counts(None).await?;
        let log = service.store.log_state().await?;
        let sinks = service.store.checkpoint_sinks().await?;
        Ok(Readings { counts, reports: backups::list(&service).await?, log, sinks })
    };
    let read: Result<Result<_, ServiceError>, _> = api.runtime.spawn(read).await;
    let Ok(read) = read else { return Err(Problem::internal("reading the metrics ended early")) };
    let mut text = String::new();
    let encoded = encode_store(&mut text, &api.service, read).and_then(|()| api.metrics.encode(&mut text));
    encoded
        .and_then(|()| prometheus_client::encoding::text::encode_eof(&mut text))
        .map_err(|_| Problem::internal("a metric cannot be written"))?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
        .body(text))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackupLabel {
    backup: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

struct Readings {
    counts: Counts,
    reports: Vec<Report>,
    log: LogState,
    sinks: Vec<Sink>,
}

/// What the store says, read anew for every scrape; left out but for `rightful_store_up 0` when it does not answer.
fn encode_store(text: &mut String, service: &Service, read: Result<Readings, ServiceError>) -> fmt::Result {
    let mut registry = Registry::with_prefix("rightful");
    let up = Gauge::<i64>::default();
    up.set(i64::from(read.is_ok()));
    registry.register("store_up", "1 while the store answers", up);
    if let Ok(Readings { counts, reports, log, sinks }) = read {
        register_backups(&mut registry, &reports);
        register_log(&mut registry, log, &sinks);
        let requests = Family::<StatusLabel, Gauge>::default();
        for (status, count) in &counts.requests {
            requests.get_or_create(&StatusLabel { status: status.as_str() }).set(*count);
        }
        registry.register("requests", "Requests by status", requests);
        let overdue = Gauge::<i64>::default();
        overdue.set(counts.overdue);
        let due_soon = Gauge::<i64>::default();
        due_soon.set(counts.due_soon);
        registry.register("requests_due_soon", "Unanswered requests that are due within 7 days", due_soon);
        registry.register("requests_overdue", "Unanswered requests past their due time", overdue);
        let waiting = Gauge::<i64>::default();
        waiting.set(counts.oldest_waiting.map_or(0, |at| (service.clock.now() - at).num_seconds().max(0)));
        registry.register(
            "oldest_waiting_seconds",
            "Age of the oldest request that no worker took yet",
            waiting,
        );
    }
    prometheus_client::encoding::text::encode_registry(text, &registry)
}

/// What is not known is left out, but for `backup_ok`, which is 0 then.
fn register_backups(registry: &mut Registry, reports: &[Report]) {
    if reports.is_empty() {
        return;
    }
    let gauge = |of: fn(&Report) -> Option<i64>| {
        let family = Family::<BackupLabel, Gauge>::default();
        for (report, value) in reports.iter().filter_map(|report| of(report).map(|value| (report, value))) {
            family.get_or_create(&BackupLabel { backup: report.name.clone() }).set(value);
        }
        family
    };
    let ok = gauge(|report| Some(i64::from(report.ok)));
    registry.register("backup_ok", "1 while the newest backup is known to be good", ok);
    registry.register("backup_age_seconds", "Age of the newest backup", gauge(|report| report.age));
    registry.register("backup_size_bytes", "Size of the newest backup", gauge(|report| report.size));
    registry.register(
        "backup_last_success_timestamp_seconds",
        "When the newest backup was made",
        gauge(|report| report.last_success.map(|at| at.timestamp())),
    );
}

fn register_log(registry: &mut Registry, log: LogState, sinks: &[Sink]) {
    let entries = Gauge::<i64>::default();
    entries.set(log.size.cast_signed());
    registry.register("log_entries", "Events that have their place in the Merkle log", entries);
    if sinks.is_empty() {
        return;
    }
    let published = Family::<SinkLabel, Gauge>::default();
    let failing = Family::<SinkLabel, Gauge>::default();
    for sink in sinks {
        let label = SinkLabel { sink: sink.name.clone() };
        published.get_or_create(&label).set(sink.published_at.map_or(0, |at| at.timestamp()));
        failing.get_or_create(&label).set(i64::from(sink.failure.is_some()));
    }
    registry.register(
        "checkpoint_published_timestamp_seconds",
        "When a checkpoint was last published there; 0 for never",
        published,
    );
    registry.register("checkpoint_failing", "1 while checkpoints cannot be published there", failing);
}
