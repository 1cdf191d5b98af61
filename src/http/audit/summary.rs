//! `GET /v1/audit/summary`.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        audit::timestamp,
        request::Kind,
        summary::{Group, Summary, Tally},
    },
    http::{
        call::{Answer, Call, json},
        problem::Problem,
    },
    service::{
        audit_readings,
        audit_summary::{Style, as_csv},
    },
    store::SummaryFilter,
};

/// How many requests there were of what, and how they were answered.
#[derive(Serialize, ToSchema)]
pub struct AuditSummaryBody {
    /// When it was counted: what is late is late then.
    #[schema(format = DateTime)]
    at: String,
    lines: Vec<AuditSummaryLine>,
    total: AuditTally,
}

/// Requests that were submitted in one month, of one kind and status.
#[derive(Serialize, ToSchema)]
pub struct AuditSummaryLine {
    #[schema(example = "2026-11")]
    month: String,
    #[schema(example = "erasure")]
    kind: &'static str,
    #[schema(example = "completed")]
    status: &'static str,
    #[serde(flatten)]
    tally: AuditTally,
}

/// Every request is exactly one of `on_time`, `late`, `not_due` and `replays`.
#[derive(Serialize, ToSchema)]
pub struct AuditTally {
    requests: u64,
    /// Answered before the month of Art. 12(3), with its extension, was over.
    on_time: u64,
    /// Answered after it was over; or it is over, and no answer was recorded.
    late: u64,
    /// Not answered, and the month is not over, or stands still while an identity has to be confirmed.
    not_due: u64,
    /// Erased again after a restore: no month runs for them, and nobody is to be answered.
    replays: u64,
    /// No answer was recorded: all that are not due, and of the late ones those that still wait.
    unanswered: u64,
    /// From the beginning of the month, as the deadline counts it, to the answer, or to the end of the request where no
    /// answer was recorded; null where neither has come. Requests that were taken up again at the end of a `keep` count
    /// only with an answer.
    mean_days: Option<f64>,
    /// Affected rows of erasures, those that were unlinked or lie at other services too.
    rows_erased: i64,
    rows_deleted: i64,
    rows_masked: i64,
}

impl AuditTally {
    fn of(tally: &Tally) -> Self {
        Self {
            requests: tally.requests,
            on_time: tally.on_time,
            late: tally.late,
            not_due: tally.not_due,
            replays: tally.replays,
            unanswered: tally.unanswered,
            mean_days: tally.mean_days(),
            rows_erased: tally.rows_erased,
            rows_deleted: tally.rows_deleted,
            rows_masked: tally.rows_masked,
        }
    }
}

/// Counts requests by the month of `submitted_at` (UTC), kind and status. It reads them all, in constant memory.
#[utoipa::path(
    get, path = "/v1/audit/summary", tag = "Audit", operation_id = "summarizeForAuditors",
    params(
        ("from" = Option<String>, Query, description = "RFC 3339, of `submitted_at`, included"),
        ("to" = Option<String>, Query, description = "RFC 3339, of `submitted_at`, excluded"),
        ("kind" = Option<String>, Query, description = "One or several, comma-separated"),
        ("format" = Option<String>, Query, description = "`json` (default) or `csv`: the total is its last line"),
    ),
    responses(
        (status = 200, description = "The counts", content(
            (AuditSummaryBody = "application/json"), (String = "text/csv"))),
        (status = 422, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    let query = call.query(&["from", "to", "kind", "format"])?;
    let style = query.read("format", "json or csv", Style::parse)?.unwrap_or(Style::Json);
    let kinds = format!("one or several of {}", Kind::ALL.map(Kind::as_str).join(", "));
    let filter = SummaryFilter {
        from: query.time("from")?,
        to: query.time("to")?,
        kind: query
            .several("kind", &kinds, |text| Kind::ALL.into_iter().find(|kind| kind.as_str() == text))?,
    };
    let reader = call.principal.sub.clone();
    let summary = call
        .run(|service| async move { audit_readings::summarise(&service, &reader, style, &filter).await })
        .await?;
    match style {
        Style::Json => Ok(json(StatusCode::OK, &body(&summary))),
        Style::Csv => Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
            .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"summary.csv\""))
            .body(as_csv(&summary).map_err(Problem::internal)?)),
    }
}

fn body(summary: &Summary) -> AuditSummaryBody {
    let line = |(Group { month, kind, status }, tally): (&Group, &Tally)| AuditSummaryLine {
        month: month.clone(),
        kind,
        status,
        tally: AuditTally::of(tally),
    };
    AuditSummaryBody {
        at: timestamp(summary.at),
        lines: summary.lines.iter().map(line).collect(),
        total: AuditTally::of(&summary.total),
    }
}
