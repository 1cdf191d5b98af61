//! What a person does about the month of GDPR Art. 12(3): confirm an identity, extend, record the answer.

use uuid::Uuid;

use super::{
    Service,
    actions::{Text, change},
    error::ServiceError,
    intake::CLOCK_SKEW,
    readings::{Reader, Reading},
};
use crate::domain::request::{Answered, Extension, IdentityCheck};

/// Records the check of the person's identity; a pending request that needs no approval goes on once it is confirmed.
///
/// # Errors
/// In another state, or for times that cannot be.
pub async fn check_identity(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    check: IdentityCheck,
) -> Result<Reading, ServiceError> {
    let now = service.clock.now();
    change(service, id, None, |request| {
        let needs_approval = service.approval.contains(&request.kind);
        Ok(request.check_identity(&reader.sub, check, needs_approval, now, now + CLOCK_SKEW)?)
    })
    .await
}

/// Lengthens the month.
///
/// # Errors
/// When it is over, was lengthened before, or a worker holds the request.
pub async fn extend(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    extension: Extension,
    reason: String,
) -> Result<Reading, ServiceError> {
    let now = service.clock.now();
    change(service, id, Some(Text::Extension(reason)), |request| {
        Ok(request.extend(&reader.sub, extension, now, now + CLOCK_SKEW)?)
    })
    .await
}

/// Records that the person was told what became of their request.
///
/// # Errors
/// Before it has ended, or when it was answered before.
pub async fn answered(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    answered: Answered,
) -> Result<Reading, ServiceError> {
    let latest = service.clock.now() + CLOCK_SKEW;
    change(service, id, None, |request| Ok(request.answer(&reader.sub, answered, latest)?)).await
}
