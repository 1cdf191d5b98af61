//! Submitting a request: one transaction with its first audit event, and the worker is woken.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;

use super::{
    Service,
    error::ServiceError,
    readings::{CONFIDENTIAL, Reader, Reading},
    registry::{Availability, Registered},
};
use crate::{
    domain::{
        audit::{ChainHead, EventName, NewEvent},
        compile::subject::{check_subject, subject_refs},
        compiled::{CompiledPlan, Step},
        key::Key,
        rectification::Changes,
        request::{
            Answering, Confidential, ExportOptions, IdentityCheck, Kind, Places, Replay, Request, State,
            StepState, Subject,
        },
    },
    points::{self, Point},
    store::{Given, Inserted, NewSecrets, StoreError},
};

/// How far a caller's clock may be ahead; such a `submitted_at` counts as now.
pub(super) const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

/// A request as it was asked for.
pub struct Submission {
    pub kind: Kind,
    pub plan: String,
    pub subject: Subject,
    pub external_id: Option<String>,
    pub reason: Option<String>,
    /// When the controller received it (GDPR Art. 12(3)); default now.
    pub submitted_at: Option<DateTime<Utc>>,
    /// Where the person's identity had, or has, to be confirmed (Art. 12(6)).
    pub identity_check: Option<IdentityCheck>,
    /// Of an export; otherwise `None`.
    pub export: Option<ExportOptions>,
    /// Of a rectification; otherwise `None`.
    pub changes: Option<Changes>,
    pub idempotency: Option<Idempotency>,
}

/// The caller's key, and a keyed hash of the body it came with.
pub struct Idempotency {
    pub key: String,
    pub fingerprint: String,
}

/// What became of a submission.
pub enum Submitted {
    New(Reading),
    /// The same key and body as before: the same request.
    Again(Reading),
}

/// Accepts a request: validated, sealed, stored and audited in one transaction.
///
/// # Errors
/// When the plan, subject or time is not acceptable, the idempotency key is taken, or the person has an open request.
pub async fn submit(
    service: &Service,
    reader: &Reader,
    submission: Submission,
) -> Result<Submitted, ServiceError> {
    if let Some(again) = again(service, reader, submission.idempotency.as_ref()).await? {
        points::reached(Point::RequestRepeated);
        return Ok(Submitted::Again(again));
    }
    let plan = registered(service, &submission.plan)?.compiled;
    let Accepted { mut request, confidential, refs, places, secrets, created } =
        accept(service, &reader.sub, &plan, &submission, None)?;
    let idempotency = submission.idempotency.as_ref();
    let key = idempotency.map(|given| (given.key.as_str(), given.fingerprint.as_str()));

    let keys = service.pseudonyms.of(service, request.created_at).await?;
    let given = Given { refs: &refs, places: &places, keys: &keys };

    let mut tx = service.store.begin().await?;
    match tx.insert_request(&mut request, vec![created], &secrets, key, given).await? {
        Inserted::Ok => tx.commit().await?,
        Inserted::Duplicate(open) => {
            tx.rollback().await?;
            return Err(duplicate(service, reader, open).await?);
        }
        Inserted::IdempotencyConflict => {
            tx.rollback().await?;
            let again = again(service, reader, idempotency).await?;
            // Its time was over in this very moment.
            return again.map(Submitted::Again).ok_or(ServiceError::Store(StoreError::Busy));
        }
    }
    points::reached(Point::RequestAccepted);
    service.wake.notify_one();
    let refs = keys.refs(request.created_at, refs);
    Ok(Submitted::New(Reading::of_new(request, confidential, refs)))
}

/// A request that is ready to be stored.
pub(super) struct Accepted {
    pub request: Request,
    pub confidential: Confidential,
    pub refs: Vec<(String, String)>,
    pub places: Places,
    pub secrets: NewSecrets,
    /// Its first event.
    pub created: NewEvent,
}

/// What a submission comes to under a plan; `replay`: it erases again, and was approved with its run; beside it what the
/// ledger knows of the person's row.
///
/// # Errors
/// When the subject, what is asked for, or the time is not acceptable.
pub(super) fn accept(
    service: &Service,
    created_by: &str,
    plan: &CompiledPlan,
    submission: &Submission,
    replay: Option<(Replay, BTreeMap<String, Key>)>,
) -> Result<Accepted, ServiceError> {
    let (replay, known) = replay.unzip();
    let refs = given_refs(service, plan, &submission.subject)?;
    let confidential = Confidential {
        subject: submission.subject.clone(),
        reason: submission.reason.clone(),
        denial_text: None,
        extension_reason: None,
        export: submission.export.clone(),
        changes: submission.changes.clone(),
        notes: BTreeMap::new(),
        known: known.unwrap_or_default(),
    };
    let steps = confidential.steps(plan, submission.kind)?;
    if submission.kind == Kind::Export && steps.is_empty() {
        return Err(ServiceError::NothingToExport);
    }
    let places = confidential.places(&service.vault, &refs);
    let request = new_request(service, created_by, plan, &steps, submission, replay)?;
    let secrets = seal(service, &confidential)?;
    let mut details =
        json!({ "kind": request.kind.as_str(), "plan": request.plan, "plan_version": request.plan_version });
    if let (Some(replay), Some(details)) = (&request.answering.replay, details.as_object_mut()) {
        details.insert("replay_of".to_owned(), json!(replay.of));
        details.insert("run_id".to_owned(), json!(replay.run));
    }
    let created = request.event(EventName::RequestCreated, created_by, details);
    Ok(Accepted { request, confidential, refs, places, secrets, created })
}

/// The version of a plan that new requests pin.
///
/// # Errors
/// When no such plan is registered, or none of its versions was ever compiled.
pub fn registered(service: &Service, plan: &str) -> Result<Registered, ServiceError> {
    match service.plans.current(plan) {
        Some(Availability::Registered(registered)) => Ok(registered),
        Some(Availability::NeverCompiled) => Err(ServiceError::NeverCompiled),
        None => Err(ServiceError::UnknownPlan),
    }
}

/// The pseudonyms of the identities that were given.
///
/// # Errors
/// When the subject does not fit the plan.
pub fn given_refs(
    service: &Service,
    plan: &CompiledPlan,
    subject: &Subject,
) -> Result<Vec<(String, String)>, ServiceError> {
    let given = plan.root.named(&check_subject(plan, subject)?);
    Ok(subject_refs(plan, &service.vault, &given))
}

/// The request that this principal made with this key before.
async fn again(
    service: &Service,
    reader: &Reader,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Reading>, ServiceError> {
    let Some(given) = idempotency else { return Ok(None) };
    let Some((id, fingerprint)) = service.store.find_idempotent(&reader.sub, &given.key).await? else {
        return Ok(None);
    };
    if fingerprint != given.fingerprint {
        return Err(ServiceError::IdempotencyKeyReused);
    }
    let request = service.store.request(id).await?;
    let request = request.ok_or(ServiceError::Internal("an idempotency key has no request"))?;
    Ok(Some(super::readings::complete(service, request).await?))
}

async fn duplicate(
    service: &Service,
    reader: &Reader,
    open: uuid::Uuid,
) -> Result<ServiceError, ServiceError> {
    let request = service.store.request(open).await?;
    let visible = request.is_some_and(|request| reader.may_read(&request));
    Ok(ServiceError::Duplicate(visible.then_some(open)))
}

fn new_request(
    service: &Service,
    created_by: &str,
    plan: &CompiledPlan,
    steps: &[Step],
    submission: &Submission,
    replay: Option<Replay>,
) -> Result<Request, ServiceError> {
    let now = service.clock.now();
    let submitted_at = match submission.submitted_at {
        Some(at) if at > now + CLOCK_SKEW => return Err(ServiceError::SubmittedInFuture),
        Some(at) => at.min(now),
        None => now,
    };
    if let Some(check) = &submission.identity_check {
        check.validate(now + CLOCK_SKEW).map_err(ServiceError::IdentityCheck)?;
    }
    let needs_approval = service.approval.contains(&submission.kind) && replay.is_none();
    let identity_check = submission.identity_check.clone();
    let answering = Answering { identity_check, replay, ..Answering::default() };
    let waits = needs_approval || answering.is_suspended();
    Ok(Request {
        id: service.clock.new_id(),
        kind: submission.kind,
        plan: plan.name.clone(),
        plan_version: plan.version.clone(),
        external_id: submission.external_id.clone(),
        created_by: created_by.to_owned(),
        submitted_at,
        created_at: now,
        started_at: None,
        state: if waits { State::Pending } else { State::Approved },
        answering,
        run_at: now,
        attempt: 0,
        strikes: 0,
        failures: 0,
        waits: 0,
        epoch: 0,
        lease_until: None,
        resolved: false,
        touched: false,
        hold: None,
        subject_ref: None,
        steps: StepState::of_plan(plan, submission.kind, steps),
        head: ChainHead::default(),
    })
}

/// Seals under a data key of its own.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn seal(service: &Service, confidential: &impl Serialize) -> Result<NewSecrets, ServiceError> {
    let plain = serde_json::to_vec(confidential)
        .map_err(|_| ServiceError::Internal("what is to be sealed could not be written as JSON"))?;
    let (data_key, wrapped_key) = service.vault.new_data_key();
    Ok(NewSecrets { wrapped_key, confidential: data_key.seal(&plain, CONFIDENTIAL) })
}
