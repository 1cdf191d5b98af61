//! The entry of the ledger that commits with the end of an erasure: no completed erasure is ever without one, and none is
//! there for an erasure that did not complete.

use super::{keys, recorder::Recorder, trouble::Interrupt};
use crate::{
    domain::{
        compiled::CompiledPlan,
        key::Tuple,
        ledger::{Entry, Kept},
        request::{Confidential, Kind, Request, RunCode},
    },
    service::Service,
    store::Tx,
};

/// The person of an erasure, as far as the ledger keeps them.
pub struct Known {
    kept: Kept,
    /// The step over the person's row; a plan may have none.
    root_step: Option<usize>,
}

impl Known {
    /// `found`: the resolution, or what it left, tells of a row.
    pub fn new(plan: &CompiledPlan, tuple: &Tuple, found: bool) -> Self {
        let root_step = plan.erasure.iter().position(|step| step.is_root);
        Self { kept: Kept::of(&plan.root, tuple, found), root_step }
    }

    fn kept_of(&self, request: &Request) -> Kept {
        let root = self.root_step.and_then(|position| request.steps.get(position));
        let found = root.is_some_and(|step| step.rows_matched.is_some_and(|matched| matched > 0));
        // What a replay meets says nothing of the row that was there when the person was erased first.
        let found = request.answering.replay.as_ref().map_or(found || self.kept.found, |replay| replay.found);
        Kept { found, ..self.kept.clone() }
    }
}

/// Reads who was resolved, for an erasure that ends without a look at its tables.
pub async fn recall(service: &Service, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if recorder.request.kind != Kind::Erasure {
        return Ok(());
    }
    let (plan, version) = (&recorder.request.plan, &recorder.request.plan_version);
    let plan = service.plans.pinned(service, plan, version).await?;
    let (data_key, confidential) = keys::confidential(service, recorder.request.id).await?;
    let tuple = keys::root_tuple(service, recorder.request.id, &data_key).await?;
    recorder.knows(&plan, &tuple, was_found(&plan, &tuple, &confidential));
    Ok(())
}

/// A row was there at resolution: the tuple holds more than was given. Where all was given, the step over the row tells.
pub fn was_found(plan: &CompiledPlan, tuple: &Tuple, confidential: &Confidential) -> bool {
    let root = &plan.root;
    let is_given = |position: usize| {
        let mut named = root.identities.iter().chain(&root.scope);
        named.any(|known| known.column == position && confidential.subject.0.contains_key(&known.name))
    };
    tuple.iter().enumerate().any(|(position, key)| key.is_some() && !is_given(position))
}

/// Enters an erasure that is completed. A replay moves the entry of the erasure that it does again, so that no backup from
/// between the two is forgotten earlier; one that had nothing to erase leaves it as it is.
pub async fn enter(
    tx: &mut Tx,
    service: &Service,
    known: Option<&Known>,
    request: &Request,
) -> Result<(), Interrupt> {
    let lacking = |what| Interrupt::trouble(RunCode::Internal, what, None, None);
    let ledger = service.ledgers.opened().ok_or_else(|| lacking("the ledger was not opened"))?;
    let known = known.ok_or_else(|| lacking("the ledger would not know who was erased"))?;
    let replay = request.answering.replay.as_ref();
    if replay.is_some() && request.steps.iter().all(|step| step.rows_affected == 0) {
        return Ok(());
    }
    let erasure = replay.map_or(request.id, |replay| replay.of);
    let before = match replay {
        Some(_) => service.store.ledger_entry_of(erasure).await?,
        None => None,
    };
    let id = before.as_ref().map_or_else(|| service.clock.new_id(), |entry| entry.id);
    let entry = Entry {
        id,
        ledger: ledger.id.clone(),
        erasure,
        plan: request.plan.clone(),
        completed_at: request.state.finished_at().unwrap_or_else(|| service.clock.now()),
        sealed: ledger.seal(id, &known.kept_of(request)),
    };
    if before.is_none() || !tx.renew_entry(&entry).await? {
        tx.enter(&entry).await?;
    }
    Ok(())
}
