//! What an approver does: let a request go, or deny it.

use uuid::Uuid;

use super::{
    Service,
    actions::{Text, change, finish, newer_version, repin},
    error::ServiceError,
    readings::{Reader, Reading, complete},
    registry::Availability,
};
use crate::{
    domain::{
        pseudonym::PeriodKeys,
        request::{DenialReason, Request, WithReason},
    },
    points::{self, Point},
    store::Tx,
};

/// Approves a pending request under the plan version that the approver was shown, which must be the current one. A
/// request that was submitted under an older version takes it over.
///
/// # Errors
/// In another state, for one's own request, or when the plan has changed since the preview.
pub async fn approve(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    plan_version: &str,
    with_note: WithReason,
) -> Result<Reading, ServiceError> {
    let request = service.store.request(id).await?.ok_or(ServiceError::NotFound)?;
    let known = complete(service, request).await?;
    let keys = service.pseudonyms.of(service, known.request.created_at).await?;
    let mut tx = service.store.begin().await?;
    let outcome = approve_in(service, &mut tx, reader, (&known, &keys), plan_version, with_note).await;
    let request = finish(tx, outcome).await?;
    points::reached(Point::RequestApproved);
    service.watchers.changed(&request);
    service.wake.notify_one();
    complete(service, request).await
}

async fn approve_in(
    service: &Service,
    tx: &mut Tx,
    reader: &Reader,
    (known, keys): (&Reading, &PeriodKeys),
    plan_version: &str,
    with_note: WithReason,
) -> Result<Request, ServiceError> {
    let mut request = tx.lock_request(known.request.id).await?.ok_or(ServiceError::NotFound)?;
    let from = request.plan_version.clone();
    let mut event = request.approve(&reader.sub, with_note, service.clock.now())?;
    if let Some(Availability::Registered(current)) = service.plans.current(&request.plan) {
        let current = current.compiled.version.clone();
        if current != plan_version {
            return Err(ServiceError::PlanChanged { current });
        }
    } else if from != plan_version {
        return Err(ServiceError::PlanChanged { current: from });
    }
    if from != plan_version {
        let newer = newer_version(service, &request, known).ok_or(ServiceError::SubjectDoesNotFit)?;
        repin(tx, &mut request, &newer, keys, &mut event).await?;
    }
    tx.write(&mut request, vec![event]).await?;
    Ok(request)
}

/// Ends a pending request unserved; what was sealed to find the person's data is destroyed.
///
/// # Errors
/// In another state, or for one's own request.
pub async fn deny(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    reason: DenialReason,
    text: Option<String>,
) -> Result<Reading, ServiceError> {
    let with_text = if text.is_some() { WithReason::Given } else { WithReason::None };
    let now = service.clock.now();
    change(service, id, text.map(Text::Denial), |request| {
        Ok(request.deny(&reader.sub, reason, with_text, now)?)
    })
    .await
}
