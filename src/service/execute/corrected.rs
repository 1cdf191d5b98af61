//! What rectifications have changed, as far as other requests of the person have to know.

use super::{keys, trouble::Interrupt};
use crate::{
    domain::{
        rectification::Corrected,
        request::{Kind, Request},
    },
    service::Service,
};

/// The columns that a request has changed, or may have; `None` where it has changed nothing.
pub async fn corrected_by(service: &Service, request: &Request) -> Result<Option<Corrected>, Interrupt> {
    let has_written = request.touched || request.steps.iter().any(|step| step.rows_affected > 0);
    if request.kind != Kind::Rectification || !has_written {
        return Ok(None);
    }
    if let Some(swept) = service.store.swept_requests(&[request.id]).await?.remove(&request.id) {
        return Ok(swept.corrected);
    }
    let plan = service.plans.pinned(service, &request.plan, &request.plan_version).await?;
    let (_, asked) = keys::confidential(service, request.id).await?;
    let Ok(steps) = asked.steps(&plan, request.kind) else { return Ok(None) };
    Ok(asked.changes.map(|changes| Corrected::of(&steps, &changes, &service.vault)))
}
