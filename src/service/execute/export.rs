//! Carries out an export (GDPR Art. 15, 20): every step's rows are streamed into one package. Only the transaction that
//! says that it is whole keeps its key; whatever an attempt leaves behind before is sealed under a key that nobody has
//! any more. So each attempt begins anew, and what it has done so far is no progress that a crash could build on.

pub(super) mod consents;
mod resources;

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
        request::{Confidential, ExportOptions, Packed, Request, Right, RunCode, StepState, StepStatus},
    },
    points::{self, Point},
    service::packages::{Upload, discard, tidy},
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
    let epoch = recorder.request.epoch;
    tidy(objects, id, epoch, None).await;
    let (key, wrapped_key) = run.service.vault.new_data_key();
    let place = format!("{id}/{epoch:06}");
    let now = run.service.clock.now();
    let making = Making {
        packer: packer(run, recorder, confidential, &options, now)?,
        upload: Upload::new(objects.clone(), key, place.clone()),
        told: Instant::now(),
    };
    let Made { size, sha256, last, consents } = match making.all(run, recorder, options.right).await {
        Ok(made) => made,
        Err(interrupt) => {
            // Whoever stops the worker does not wait for that; the next attempt sees to it.
            if !matches!(interrupt, Interrupt::Stopping) {
                discard(objects, id, &place).await;
            }
            return Err(interrupt);
        }
    };
    points::reached(Point::ExportPacked);
    let created_at = run.service.clock.now();
    let package = Package {
        request_id: id,
        place,
        size,
        sha256,
        encrypted: options.encrypt_to.is_some(),
        wrapped_key: Some(wrapped_key),
        created_at,
        expires_at: run.service.packages.expiry(created_at),
        expired_at: None,
    };
    record(run, recorder, &options, &package, last, run.found() || consents > 0).await
}

/// A step's rows are in the package.
async fn record_step(recorder: &mut Recorder, done: Option<(usize, u64)>) -> Result<(), Interrupt> {
    let Some((position, read)) = done else { return Ok(()) };
    recorder.record(move |request, actor, now| exported(request, position, read, actor, now)).await?;
    points::reached(Point::ExportStepRecorded);
    Ok(())
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

/// A package that is whole.
struct Made {
    size: u64,
    sha256: String,
    /// The last step with its rows, which is yet to be recorded.
    last: Option<(usize, u64)>,
    consents: u64,
}

impl Making {
    async fn all(mut self, run: &Run<'_>, recorder: &mut Recorder, right: Right) -> Result<Made, Interrupt> {
        let mut last = None;
        for (position, step) in run.steps.iter().enumerate() {
            // The last one counts as done with the package only: whoever sees all steps done finds it.
            record_step(recorder, last.take()).await?;
            last = Some((position, self.step(run, recorder, position, step).await?));
        }
        let consents = self.consents(run, recorder, right).await?;
        recorder.check()?;
        let (size, sha256) = self.finish().await?;
        Ok(Made { size, sha256, last, consents })
    }

    async fn step(
        &mut self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        position: usize,
        step: &Step,
    ) -> Result<u64, Interrupt> {
        if let Some(resource) = step.resource() {
            return self.resources(run, recorder, position, step, resource).await;
        }
        let Action::Export(Exported { columns, about, .. }) = &step.action else { return Ok(0) };
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
                    // Nothing of an attempt that has lost its lease may come between the next one's parts.
                    recorder.check()?;
                    self.pack(chunk).await?;
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
        Ok(read)
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
fn exported(
    request: &mut Request,
    position: usize,
    read: u64,
    actor: &str,
    now: DateTime<Utc>,
) -> Vec<NewEvent> {
    if let Some(step) = request.steps.get_mut(position) {
        let read = i64::try_from(read).unwrap_or(i64::MAX);
        step.rows_affected = read;
        step.rows_matched = Some(read);
    }
    verify::verified(request, position, 0, false, actor, now)
}

/// The package, its key, the last step and, unless people are waited for, the end of the request; or none of them.
async fn record(
    run: &Run<'_>,
    recorder: &mut Recorder,
    options: &ExportOptions,
    package: &Package,
    last: Option<(usize, u64)>,
    found: bool,
) -> Result<(), Interrupt> {
    let details = json!({
        "format": options.format.as_str(), "right": options.right.as_str(), "size": package.size,
        "encrypted_to_recipient": options.encrypt_to.is_some(), "expires_at": timestamp(package.expires_at),
    });
    let packed = Packed { size: package.size, sha256: package.sha256.clone(), encrypted: package.encrypted };
    let mut tx = run.service.store.begin().await?;
    tx.put_package(package).await?;
    recorder
        .record_in(tx, move |request, actor, now| {
            let mut events = Vec::new();
            if let Some((position, read)) = last {
                events.extend(exported(request, position, read, actor, now));
            }
            events.push(request.event(EventName::ExportCreated, actor, details));
            request.answering.package = Some(packed);
            if request.steps.iter().all(StepState::is_verified) {
                events.push(request.complete(found, actor, now));
            }
            events
        })
        .await?;
    points::reached(Point::ExportRecorded);
    // An attempt that lost its lease may have sent a part after this one began.
    let request = &recorder.request;
    tidy(&run.service.packages.objects, request.id, request.epoch, Some(&package.place)).await;
    if !recorder.request.status().is_end() {
        return recorder.complete(found).await;
    }
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
