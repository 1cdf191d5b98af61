//! Verification of backups: each by one process at a time, with a report in the store, an audit event, and word to the
//! webhooks at once where it is not ok.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Service, actions::finish, error::ServiceError};
use crate::{
    connectors::backups::Backup,
    domain::backup::{Findings, Reason, Report},
    store::{BACKUP_LEASE, StoreError},
};

/// The backups of the configuration.
#[derive(Default)]
pub struct Backups {
    pub by_name: BTreeMap<String, Backup>,
}

/// Verifies a backup, on behalf of the service itself. A backup that is not ok is a report, no error.
///
/// # Errors
/// `NotFound` when the configuration has no backup of this name, `BackupUnderWay` when it is being verified, and when the
/// store does not answer.
pub async fn verify(service: &Service, name: &str) -> Result<Report, ServiceError> {
    verify_as(service, name, "system").await
}

/// Verifies a backup on behalf of `actor`.
///
/// # Errors
/// As [`verify`].
pub async fn verify_as(service: &Service, name: &str, actor: &str) -> Result<Report, ServiceError> {
    let backup = service.backups.by_name.get(name).ok_or(ServiceError::NotFound)?;
    let run = service.clock.new_id();
    let mut tx = service.store.begin().await?;
    let taken = tx.take_backup(name, run).await;
    if !finish(tx, taken.map_err(ServiceError::from)).await? {
        return Err(ServiceError::BackupUnderWay);
    }
    let begun = Instant::now();
    let findings = tokio::select! {
        findings = backup.examine(service.clock) => findings,
        () = keep(service, name, run) => return Err(ServiceError::BackupUnderWay),
    };
    let duration = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let report = Report::new(name, findings, service.clock.now(), duration);
    let mut tx = service.store.begin().await?;
    let reported = match tx.report_backup(&report, run, actor).await {
        Err(StoreError::LeaseLost) => Err(ServiceError::BackupUnderWay),
        reported => reported.map_err(ServiceError::from),
    };
    finish(tx, reported).await?;
    match report.ok {
        true => tracing::info!(backup = name, "a backup was verified"),
        false => tracing::warn!(backup = name, reasons = ?report.reason_words(), "a backup is not ok"),
    }
    Ok(report)
}

/// Renews the lease; returns only when another verification has taken it.
async fn keep(service: &Service, name: &str, run: Uuid) {
    let pause = BACKUP_LEASE.to_std().unwrap_or(Duration::from_secs(60)) / 3;
    loop {
        tokio::time::sleep(pause).await;
        match renew(service, name, run).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(backup = name, %error, "the lease of a verification was not renewed")
            }
        }
    }
}

async fn renew(service: &Service, name: &str, run: Uuid) -> Result<bool, StoreError> {
    let mut tx = service.store.begin().await?;
    let kept = tx.keep_backup(name, run).await?;
    tx.commit().await?;
    Ok(kept)
}

/// The newest report of every backup of the configuration, as it has to be read now, by name. One that was never verified
/// is not ok.
///
/// # Errors
/// When the store does not answer.
pub async fn list(service: &Service) -> Result<Vec<Report>, ServiceError> {
    let now = service.clock.now();
    let reports = service.store.backup_reports().await?;
    let mut newest: BTreeMap<String, Report> =
        reports.into_iter().map(|report| (report.name.clone(), report)).collect();
    let all = service.backups.by_name.iter().map(|(name, backup)| match newest.remove(name) {
        Some(report) => report.as_of(&backup.expected, now),
        None => {
            let mut findings = Findings::default();
            findings.fail(Reason::NeverVerified, "it was never verified");
            Report::new(name, findings, now, 0)
        }
    });
    Ok(all.collect())
}

/// A backup of the configuration: as [`list`] has it, and its last reports as they were written, newest first.
///
/// # Errors
/// `NotFound` when the configuration has no backup of this name.
pub async fn read(service: &Service, name: &str) -> Result<(Report, Vec<Report>), ServiceError> {
    let report = list(service).await?.into_iter().find(|report| report.name == name);
    let report = report.ok_or(ServiceError::NotFound)?;
    Ok((report, service.store.backup_history(name).await?))
}
