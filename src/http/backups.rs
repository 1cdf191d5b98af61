//! `GET /v1/backups` and `GET /v1/backups/{name}`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, Page, json};
use crate::{
    domain::{
        audit::timestamp,
        backup::{Reason, Report},
    },
    service::backups,
};

/// A backup, as its last verification found it.
#[derive(Serialize, ToSchema)]
pub struct BackupBody {
    /// Its name in the configuration.
    name: String,
    /// Whatever is not known is not ok: a backup that was never verified, or whose last one has grown too old since.
    ok: bool,
    /// Why it is not ok, as words.
    #[schema(example = json!(["too_old"]))]
    reasons: Vec<&'static str>,
    /// The same for people.
    message: Option<String>,
    /// When the newest backup was made.
    #[schema(format = DateTime)]
    last_success: Option<String>,
    /// How long backups are kept.
    retention_days: Option<i32>,
    /// Seconds since `last_success`; in the history, those until the verification.
    age: Option<i64>,
    /// Bytes.
    size: Option<i64>,
    /// How long the verification took, in seconds.
    duration: Option<f64>,
    /// SHA-256 in hex, or what a command said.
    checksum: Option<String>,
    /// Rows by table, counted after the restore.
    tables: BTreeMap<String, i64>,
    /// Null when it was never verified.
    #[schema(format = DateTime)]
    verified_at: Option<String>,
}

impl From<Report> for BackupBody {
    fn from(report: Report) -> Self {
        let was_verified = !report.reasons.contains(&Reason::NeverVerified);
        Self {
            reasons: report.reason_words(),
            name: report.name,
            ok: report.ok,
            message: report.message,
            last_success: report.last_success.map(timestamp),
            retention_days: report.retention_days,
            age: report.age,
            size: report.size,
            #[expect(clippy::cast_precision_loss, reason = "no verification takes so long")]
            duration: was_verified.then_some(report.duration_ms as f64 / 1_000.0),
            checksum: report.checksum,
            tables: report.tables,
            verified_at: was_verified.then(|| timestamp(report.verified_at)),
        }
    }
}

/// A backup with the verifications before.
#[derive(Serialize, ToSchema)]
pub struct BackupHistoryBody {
    #[serde(flatten)]
    backup: BackupBody,
    /// The last 30 verifications, newest first.
    history: Vec<BackupBody>,
}

/// Every backup of the configuration, by name.
#[utoipa::path(
    get, path = "/v1/backups", tag = "Backups", operation_id = "listBackups",
    responses((status = 200, description = "All of them on one page", body = Page<BackupBody>))
)]
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let reports = call.run(|service| async move { backups::list(&service).await }).await?;
    let items = reports.into_iter().map(BackupBody::from).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor: None }))
}

/// One backup.
#[utoipa::path(
    get, path = "/v1/backups/{name}", tag = "Backups", operation_id = "readBackup",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The backup", body = BackupHistoryBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    let name = call.path("name")?;
    call.query(&[])?;
    let (backup, history) = call.run(|service| async move { backups::read(&service, &name).await }).await?;
    let history = history.into_iter().map(BackupBody::from).collect();
    Ok(json(StatusCode::OK, &BackupHistoryBody { backup: backup.into(), history }))
}
