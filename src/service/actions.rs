//! What a person does to a request that exists: cancel and retry, and what all such changes have in common.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Service,
    error::ServiceError,
    intake::given_refs,
    packages::sweep_one,
    readings::{CONFIDENTIAL, Reader, Reading, complete},
    registry::Availability,
};
use crate::{
    domain::{
        audit::NewEvent,
        compiled::{CompiledPlan, Step},
        pseudonym::{PeriodKeys, Ref},
        request::{Cancelled, Confidential, Kind, Places, Refusal, Request, State, WithReason},
    },
    store::{NewSecrets, Tx},
};

/// Cancels at once where nobody is at work, else between two batches.
///
/// # Errors
/// When the request has ended, or its rest could not be found again without its sealed keys.
pub async fn cancel(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    with_reason: WithReason,
) -> Result<Reading, ServiceError> {
    let known = service.store.request(id).await?.ok_or(ServiceError::NotFound)?;
    let plan = pinned(service, &known).await?;
    let mut tx = service.store.begin().await?;
    let outcome = cancel_in(service, &mut tx, reader, id, with_reason, plan.as_ref()).await;
    let request = finish(tx, outcome).await?;
    service.watchers.changed(&request);
    service.wake.notify_one();
    if request.kind == Kind::Export && request.status().is_end() {
        sweep_one(service, &request).await?;
    }
    complete(service, request).await
}

async fn cancel_in(
    service: &Service,
    tx: &mut Tx,
    reader: &Reader,
    id: Uuid,
    with_reason: WithReason,
    plan: Option<&CompiledPlan>,
) -> Result<Request, ServiceError> {
    let mut request = tx.lock_request(id).await?.ok_or(ServiceError::NotFound)?;
    let status = request.status();
    let cancelled = request.cancel(&reader.sub, with_reason, service.clock.now())?;
    if request.touched && plan.is_none_or(|plan| plan.rest_needs_sealed_keys(request.kind, &request.steps)) {
        return Err(ServiceError::MustBeFinished(status));
    }
    if let Cancelled::AtOnce(event) = cancelled {
        tx.append(&mut request, vec![event]).await?;
        tx.delete_keys(id, "").await?;
        tx.release(id).await?;
    }
    tx.save(&request).await?;
    Ok(request)
}

async fn pinned(service: &Service, request: &Request) -> Result<Option<CompiledPlan>, ServiceError> {
    let stored = service.store.plan_version(&request.plan, &request.plan_version).await?;
    Ok(stored.and_then(|stored| serde_json::from_str(&stored.compiled).ok()))
}

/// Gives a failed or paused request a new budget of attempts. One that has touched nothing yet takes the plan's
/// current version, if its subject fits that one.
///
/// # Errors
/// In another state, once its identities were destroyed, or when another request of the same person was opened meanwhile.
pub async fn retry(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    with_reason: WithReason,
) -> Result<Reading, ServiceError> {
    let request = service.store.request(id).await?.ok_or(ServiceError::NotFound)?;
    let known = complete(service, request).await?;
    let keys = service.pseudonyms.of(service, known.request.created_at).await?;
    let mut tx = service.store.begin().await?;
    let outcome = retry_in(service, &mut tx, reader, &known, &keys, with_reason).await;
    let (request, refs) = finish(tx, outcome).await?;
    service.watchers.changed(&request);
    service.wake.notify_one();
    Ok(Reading { request, refs, ..known })
}

async fn retry_in(
    service: &Service,
    tx: &mut Tx,
    reader: &Reader,
    known: &Reading,
    keys: &PeriodKeys,
    with_reason: WithReason,
) -> Result<(Request, Vec<Ref>), ServiceError> {
    let id = known.request.id;
    let mut request = tx.lock_request(id).await?.ok_or(ServiceError::NotFound)?;
    let had_ended = request.status().is_end();
    let mut event = request.retry(&reader.sub, with_reason, service.clock.now())?;
    if had_ended && tx.secrets(id).await?.is_none() {
        return Err(Refusal::IdentitiesDestroyed.into());
    }
    let newer = newer_version(service, &request, known);
    let refs = match &newer {
        Some(newer) => {
            repin(tx, &mut request, newer, keys, &mut event).await?;
            // What was approved was the other version; a replay's run was approved with whatever the plans are.
            let is_replay = request.answering.replay.is_some();
            if service.approval.contains(&request.kind) && !is_replay {
                request.state = State::Pending;
            }
            keys.refs(request.created_at, newer.refs.iter().cloned())
        }
        None => {
            // One that was completed before is no request of the person's any more.
            if had_ended
                && !request.is_reopened()
                && let Some(open) = tx.reopen(&request, &known.places(&service.vault)).await?
            {
                return Err(ServiceError::Duplicate(Some(open)));
            }
            known.refs.clone()
        }
    };
    tx.append(&mut request, vec![event]).await?;
    tx.save(&request).await?;
    Ok((request, refs))
}

/// A later version of a request's plan, and what follows from it.
pub(super) struct Newer {
    plan: Arc<CompiledPlan>,
    steps: Arc<[Step]>,
    refs: Vec<(String, String)>,
    places: Places,
}

/// The plan's current version where the request has touched nothing and what it asks for fits it.
pub(super) fn newer_version(service: &Service, request: &Request, known: &Reading) -> Option<Newer> {
    let Some(Availability::Registered(current)) = service.plans.current(&request.plan) else { return None };
    // What somebody said of a step holds for the version that asked for it.
    let was_worked_on = request.touched || request.steps.iter().any(|step| step.result().is_some());
    if was_worked_on || current.compiled.version == request.plan_version {
        return None;
    }
    let given = known.confidential.as_ref()?;
    let refs = given_refs(service, &current.compiled, &given.subject).ok()?;
    let places = given.places(&service.vault, &refs);
    let steps = given.steps(&current.compiled, request.kind).ok()?;
    Some(Newer { plan: current.compiled, steps, refs, places })
}

/// Gives a request the plan's current version and its subject's refs under that; the event that tells of it gets both
/// versions.
pub(super) async fn repin(
    tx: &mut Tx,
    request: &mut Request,
    Newer { plan, steps, refs, places }: &Newer,
    keys: &PeriodKeys,
    event: &mut NewEvent,
) -> Result<(), ServiceError> {
    if let Some(details) = event.details.as_object_mut() {
        details.insert("from_plan_version".to_owned(), request.plan_version.clone().into());
        details.insert("plan_version".to_owned(), plan.version.clone().into());
    }
    request.pin(plan, steps);
    tx.delete_keys(request.id, "").await?;
    // Those of the version before may be of other columns.
    tx.forget_refs(request.id).await?;
    if let Some(open) = tx.reopen(request, places).await? {
        return Err(ServiceError::Duplicate(Some(open)));
    }
    Ok(tx.add_refs(request, refs, keys).await?)
}

/// Free text that belongs to a change. It is sealed with the request: no event holds free text.
pub(super) enum Text {
    Denial(String),
    Extension(String),
    /// To what became of a manual step.
    Note {
        step: String,
        text: String,
    },
}

/// One change of a request, with its event and text, in one transaction.
///
/// # Errors
/// `NotFound`, what `act` refuses, or when the store does not answer.
pub(super) async fn change(
    service: &Service,
    id: Uuid,
    text: Option<Text>,
    act: impl FnOnce(&mut Request) -> Result<NewEvent, ServiceError>,
) -> Result<Reading, ServiceError> {
    let mut tx = service.store.begin().await?;
    let outcome = change_in(service, &mut tx, id, text, act).await;
    let request = finish(tx, outcome).await?;
    service.watchers.changed(&request);
    service.wake.notify_one();
    complete(service, request).await
}

async fn change_in(
    service: &Service,
    tx: &mut Tx,
    id: Uuid,
    text: Option<Text>,
    act: impl FnOnce(&mut Request) -> Result<NewEvent, ServiceError>,
) -> Result<Request, ServiceError> {
    let mut request = tx.lock_request(id).await?.ok_or(ServiceError::NotFound)?;
    let event = act(&mut request)?;
    if let Some(text) = text {
        seal(service, tx, id, text).await?;
    }
    tx.write(&mut request, vec![event]).await?;
    Ok(request)
}

/// Puts a text beside what is sealed with a request.
async fn seal(service: &Service, tx: &mut Tx, id: Uuid, text: Text) -> Result<(), ServiceError> {
    const UNREADABLE: ServiceError = ServiceError::Internal("what is sealed with a request cannot be read");
    let NewSecrets { wrapped_key, confidential } =
        tx.secrets(id).await?.ok_or(Refusal::IdentitiesDestroyed)?;
    let data_key = service.vault.unwrap_data_key(&wrapped_key).map_err(|_| UNREADABLE)?;
    if confidential.is_empty() {
        return Err(Refusal::IdentitiesDestroyed.into());
    }
    let plain = data_key.open(&confidential, CONFIDENTIAL).map_err(|_| UNREADABLE)?;
    let mut confidential: Confidential = serde_json::from_slice(&plain).map_err(|_| UNREADABLE)?;
    match text {
        Text::Denial(text) => confidential.denial_text = Some(text),
        Text::Extension(text) => confidential.extension_reason = Some(text),
        Text::Note { step, text } => {
            confidential.notes.insert(step, text);
        }
    }
    let plain = serde_json::to_vec(&confidential).map_err(|_| UNREADABLE)?;
    tx.reseal(id, &data_key.seal(&plain, CONFIDENTIAL)).await?;
    Ok(())
}

pub(super) async fn finish<T>(tx: Tx, outcome: Result<T, ServiceError>) -> Result<T, ServiceError> {
    match outcome {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}
