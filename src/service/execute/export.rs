//! Carries out an export (GDPR Art. 15, 20): every step's rows are streamed into one package. It becomes readable by
//! the very transaction that completes the request, because only that keeps its key; whatever an attempt leaves
//! behind before is sealed under a key that nobody has any more. So each attempt begins anew.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::json;

use super::{Run, keys, recorder::Recorder, trouble::Interrupt, verify};
use crate::{
    connectors::{ConnectorError, Extract, Work},
    domain::{
        audit::{EventName, NewEvent, timestamp},
        compiled::{Action, Exported, Step},
        package::{Heading, Packer, PlanPart, Recipient, RequestPart, Value},
        request::{Confidential, ExportOptions, Request, RunCode, StepStatus},
    },
    service::packages::Upload,
    store::Package,
};

/// How often the rows so far are recorded.
const PROGRESS: Duration = Duration::from_secs(1);

/// Makes the package and completes the request.
pub async fn carry_out(
    run: &Run<'_>,
    recorder: &mut Recorder,
    confidential: &Confidential,
) -> Result<(), Interrupt> {
    let id = recorder.request.id;
    let options = confidential.export.clone().unwrap_or_default();
    let objects = &run.service.packages.objects;
    objects.remove_all(&id.to_string()).await.map_err(|error| unstored(&error))?;
    let (key, wrapped_key) = run.service.vault.new_data_key();
    let place = format!("{id}/{:06}", recorder.request.epoch);
    let now = run.service.clock.now();
    let mut making = Making {
        packer: packer(run, recorder, confidential, &options, now)?,
        upload: Upload::new(objects.clone(), key, place.clone()),
        told: Instant::now(),
    };
    for (position, step) in run.steps.iter().enumerate() {
        making.step(run, recorder, position, step).await?;
    }
    recorder.check()?;
    let (size, sha256) = making.finish().await?;
    let created_at = run.service.clock.now();
    let life =
        chrono::TimeDelta::from_std(run.service.packages.expires_after).unwrap_or(chrono::TimeDelta::MAX);
    let package = Package {
        request_id: id,
        place,
        size,
        sha256,
        encrypted: options.encrypt_to.is_some(),
        wrapped_key: Some(wrapped_key),
        created_at,
        expires_at: created_at.checked_add_signed(life).unwrap_or(DateTime::<Utc>::MAX_UTC),
        expired_at: None,
    };
    record(run, recorder, &options, &package).await
}

fn packer(
    run: &Run<'_>,
    recorder: &Recorder,
    confidential: &Confidential,
    options: &ExportOptions,
    now: DateTime<Utc>,
) -> Result<Packer, Interrupt> {
    let request = &recorder.request;
    let heading = Heading {
        request: RequestPart {
            id: request.id,
            right: options.right.as_str(),
            format: options.format.as_str(),
            external_id: request.external_id.clone(),
            submitted_at: timestamp(request.submitted_at),
        },
        plan: PlanPart {
            name: run.plan.name.clone(),
            version: run.plan.version.clone(),
            about: run.plan.about.clone(),
        },
        subject: confidential.subject.clone(),
    };
    let unusable = || Interrupt::trouble(RunCode::Internal, "the recipient's key cannot be used", None, None);
    let recipient: Option<Recipient> =
        options.encrypt_to.as_deref().map(str::parse).transpose().map_err(|_| unusable())?;
    Packer::new(heading, options.format, recipient.as_ref(), now).map_err(|_| unusable())
}

/// A package in the making.
struct Making {
    packer: Packer,
    upload: Upload,
    told: Instant,
}

impl Making {
    async fn step(
        &mut self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        position: usize,
        step: &Step,
    ) -> Result<(), Interrupt> {
        let Action::Export(Exported { columns, about, .. }) = &step.action else { return Ok(()) };
        let fault = |error: ConnectorError| Interrupt::at(&error, &step.connection, Some(&step.name));
        recorder.defer(move |request, actor, now| begun(request, position, actor, now).into_iter().collect());
        recorder.flush().await?;
        let connector = run.connector(&step.connection)?;
        let shown = connector.columns(&step.rows.table, columns).await.map_err(fault)?;
        self.packer.begin(&step.name, shown, about).map_err(|_| unpacked())?;
        let (mut matched, mut read) = (0, 0);
        for alternative in 0..step.rows.any_of.len() {
            for pass in keys::passes(run, recorder, &step.rows, alternative).await? {
                let keys = keys::bind(run, recorder, &step.rows, alternative, &pass).await?;
                let work =
                    Work { rows: &step.rows, action: &step.action, alternative, keys: &keys, root: None };
                let Extract { matched: counted, mut rows } =
                    connector.extract(&work, columns).await.map_err(fault)?;
                matched += counted;
                while let Some(chunk) = rows.next().await {
                    let chunk = chunk.map_err(fault)?;
                    read += chunk.len() as u64;
                    self.pack(chunk).await?;
                    recorder.check()?;
                    self.tell(recorder, position, read).await?;
                }
            }
        }
        if read != matched {
            return Err(Interrupt::trouble(
                RunCode::RowsRemaining,
                "fewer or more rows arrived than the same transaction counted",
                Some(&step.connection),
                Some(&step.name),
            ));
        }
        self.packer.end().map_err(|_| unpacked())?;
        recorder
            .record(move |request, actor, now| {
                request.progressed();
                exported(request, position, read);
                verify::verified(request, position, 0, false, actor, now)
            })
            .await
    }

    async fn pack(&mut self, rows: Vec<Vec<Value>>) -> Result<(), Interrupt> {
        self.packer.rows(&rows).map_err(|_| unpacked())?;
        let ready = self.packer.take();
        self.upload.push(&ready).await.map_err(|error| unstored(&error))
    }

    /// The rows so far, now and then.
    async fn tell(&mut self, recorder: &mut Recorder, position: usize, read: u64) -> Result<(), Interrupt> {
        if self.told.elapsed() < PROGRESS {
            return Ok(());
        }
        self.told = Instant::now();
        recorder
            .record(move |request, _, _| {
                request.progressed();
                if let Some(step) = request.steps.get_mut(position) {
                    // An attempt before this one may have got further: what is shown never falls.
                    step.rows_affected = step.rows_affected.max(i64::try_from(read).unwrap_or(i64::MAX));
                }
                Vec::new()
            })
            .await
    }

    async fn finish(mut self) -> Result<(u64, String), Interrupt> {
        let rest = self.packer.finish().map_err(|_| unpacked())?;
        self.upload.push(&rest).await.map_err(|error| unstored(&error))?;
        self.upload.finish().await.map_err(|error| unstored(&error))
    }
}

fn begun(request: &mut Request, position: usize, actor: &str, now: DateTime<Utc>) -> Option<NewEvent> {
    let attempt = request.attempt;
    let step = request.steps.get_mut(position)?;
    step.status = StepStatus::InProgress;
    step.rows_remaining = None;
    step.finished_at = None;
    step.started_at.get_or_insert(now);
    Some(request.step_event(position, EventName::StepStarted, actor, json!({ "attempt": attempt })))
}

/// What was read is what there was, by the transaction's own count.
fn exported(request: &mut Request, position: usize, read: u64) {
    if let Some(step) = request.steps.get_mut(position) {
        let read = i64::try_from(read).unwrap_or(i64::MAX);
        step.rows_affected = read;
        step.rows_matched = Some(read);
    }
}

/// The package, its key and the end of the request, or none of them.
async fn record(
    run: &Run<'_>,
    recorder: &mut Recorder,
    options: &ExportOptions,
    package: &Package,
) -> Result<(), Interrupt> {
    let details = json!({
        "format": options.format.as_str(), "right": options.right.as_str(), "size": package.size,
        "encrypted_to_recipient": options.encrypt_to.is_some(), "expires_at": timestamp(package.expires_at),
    });
    let found = run.found();
    let mut tx = run.service.store.begin().await?;
    tx.put_package(package).await?;
    recorder
        .record_in(tx, move |request, actor, now| {
            let created = request.event(EventName::ExportCreated, actor, details);
            vec![created, request.complete(found, actor, now)]
        })
        .await?;
    run.service.metrics.requests_completed.inc();
    Ok(())
}

fn unpacked() -> Interrupt {
    Interrupt::trouble(RunCode::Internal, "the package could not be written", None, None)
}

/// A full disk, or a bucket that does not answer.
fn unstored(error: &ConnectorError) -> Interrupt {
    Interrupt::trouble(RunCode::ConnectionUnavailable, error.detail.clone(), None, None)
}
