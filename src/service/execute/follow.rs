//! Identities that a rectification has changed since a request named its person by them. Requests of one person run in
//! the order in which they were submitted, but one that waits for an approval or for a hold to end is overtaken; without
//! this it would look for a row that is found by another value now, and end with nothing found.

use uuid::Uuid;

use super::{keys, rectify, trouble::Interrupt};
use crate::{
    domain::{
        compile::subject::subject_refs,
        compiled::{CompiledPlan, Root},
        key::{Key, Tuple},
        request::{Kind, Request, RunCode},
    },
    service::Service,
};

/// The given identities as they are by now.
pub async fn given(
    service: &Service,
    request: &Request,
    plan: &CompiledPlan,
    given: Vec<(usize, Key)>,
) -> Result<Vec<(usize, Key)>, Interrupt> {
    let now = corrected(service, request, plan, named(&plan.root, &given)).await?;
    let by_now = |(position, key): (usize, Key)| {
        let corrected = now.get(position).and_then(Option::clone);
        (position, corrected.unwrap_or(key))
    };
    Ok(given.into_iter().map(by_now).collect())
}

/// A root tuple that holds only what was given.
pub fn named(root: &Root, given: &[(usize, Key)]) -> Tuple {
    let mut tuple: Tuple = vec![None; root.columns.len()];
    for (position, key) in given {
        if let Some(slot) = tuple.get_mut(*position) {
            *slot = Some(key.clone());
        }
    }
    tuple
}

/// A root tuple as rectifications that ended since the request was submitted have left it.
pub async fn corrected(
    service: &Service,
    request: &Request,
    plan: &CompiledPlan,
    mut tuple: Tuple,
) -> Result<Tuple, Interrupt> {
    let mut seen: Vec<Uuid> = Vec::new();
    loop {
        let refs = subject_refs(plan, &service.vault, &tuple);
        // A new value may be what the next one began with.
        let ended = service.store.rectified_since(request.submitted_at, &refs).await?;
        let Some(next) = ended.into_iter().find(|id| *id != request.id && !seen.contains(id)) else {
            return Ok(tuple);
        };
        seen.push(next);
        tuple = after(service, next, &plan.root, tuple).await?;
    }
}

/// What a rectification made of the tuple; unchanged where it did not come so far.
async fn after(service: &Service, id: Uuid, root: &Root, tuple: Tuple) -> Result<Tuple, Interrupt> {
    let Some(rectification) = service.store.request(id).await? else { return Ok(tuple) };
    let plan = service.plans.pinned(service, &rectification.plan, &rectification.plan_version).await?;
    let (_, asked) = keys::confidential(service, id).await?;
    let steps = asked.steps(&plan, Kind::Rectification).map_err(|_| {
        Interrupt::trouble(
            RunCode::Internal,
            "a rectification of this person that ended meanwhile cannot be read",
            None,
            None,
        )
    })?;
    let is_done =
        |name: &str| rectification.steps.iter().any(|state| state.name == name && state.is_verified());
    let done = steps.iter().filter(|step| step.is_root && is_done(&step.name));
    Ok(rectify::renewed(&tuple, root, done))
}
