//! Going on after a pause or a crash: is the row still this person's, and what did a commit do whose record was
//! lost?

use std::sync::Arc;

use serde_json::json;

use super::{
    Run, calls, connector, follow, group::booked, keys, recorded, recorder::Recorder, trouble::Interrupt,
    verify,
};
use crate::{
    connectors::CountOf,
    domain::{
        compile::subject::subject_refs,
        compiled::{Action, CompiledPlan, Step},
        key::Tuple,
        request::{RunCode, StepStatus},
        vault::{DataKey, Vault},
    },
    service::Service,
};

/// Reads the root tuple from the manifest, takes the person's locks, and compares the live row with it: keys and
/// e-mail addresses are given to other people, and theirs must not be touched. `None` where the row has changed and
/// nothing was touched yet: what was resolved is void.
pub async fn same_person(
    service: &Arc<Service>,
    recorder: &mut Recorder,
    plan: &CompiledPlan,
    steps: &[Step],
    data_key: &DataKey,
) -> Result<Option<Tuple>, Interrupt> {
    let tuple = keys::root_tuple(service, recorder, data_key).await?;
    let kept = subject_refs(plan, &service.vault, &tuple);
    recorder.take_locks(&kept).await?;
    let complete = plan.root.key.iter().all(|position| tuple.get(*position).is_some_and(Option::is_some));
    if !complete {
        return Ok(Some(tuple));
    }
    let live = connector(service, &plan.root.connection)?
        .reread(&plan.root, &tuple)
        .await
        .map_err(|error| Interrupt::at(&error, &plan.root.connection, None))?;
    let Some(live) = live else { return Ok(Some(tuple)) };
    let is_untouched = !recorder.request.touched;
    let row = Row { plan, vault: &service.vault, live, overwritten: overwritten_columns(steps, recorder) };
    if row.has_other_identities(&tuple) {
        let expected = follow::corrected(service, &recorder.request, plan, tuple).await?;
        if !is_untouched || row.has_other_identities(&expected) {
            return Err(row.changed(
                "the person's row now has other identities than at the start: the key may have been given to somebody \
                 else; nothing more was touched",
            ));
        }
    } else if !row.leads_elsewhere(&tuple, is_untouched) {
        return Ok(Some(tuple));
    } else if !is_untouched {
        return Err(row.changed(
            "a value by which a `match` of the plan finds rows has changed in the person's row since the start, so that \
             rows may be left under the new one; nothing more was touched: submit again for those",
        ));
    }
    let mut tx = service.store.begin().await?;
    tx.delete_keys(recorder.request.id, "").await?;
    recorder
        .record_in(tx, |request, _, _| {
            request.void_resolution();
            Vec::new()
        })
        .await?;
    Ok(None)
}

/// The person's row as it is now.
struct Row<'a> {
    plan: &'a CompiledPlan,
    vault: &'a Vault,
    live: Tuple,
    overwritten: Vec<&'a str>,
}

impl Row<'_> {
    fn has_other_identities(&self, than: &Tuple) -> bool {
        let root = &self.plan.root;
        let found = subject_refs(self.plan, self.vault, &self.live);
        let is_overwritten = |name: &str| {
            let identity = root.identities.iter().find(|identity| identity.name == name);
            let column = identity.and_then(|identity| root.columns.get(identity.column));
            column.is_some_and(|column| self.overwritten.contains(&column.name.as_str()))
        };
        let known = subject_refs(self.plan, self.vault, than);
        known.iter().any(|known| !is_overwritten(&known.0) && !found.contains(known))
    }

    /// Rows may be found by other values than at the start.
    fn leads_elsewhere(&self, than: &Tuple, is_untouched: bool) -> bool {
        self.plan.root.columns.iter().zip(than.iter().zip(&self.live)).any(|(column, (kept, live))| {
            // NULL leads to no rows, and what was touched may have set it.
            let differs = live != kept && (is_untouched || live.is_some());
            differs && !self.overwritten.contains(&column.name.as_str())
        })
    }

    fn changed(&self, detail: &str) -> Interrupt {
        Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&self.plan.root.connection), None)
    }
}

/// Columns that this request's own mask or correction of the person's row may have overwritten already.
fn overwritten_columns<'a>(steps: &'a [Step], recorder: &Recorder) -> Vec<&'a str> {
    let Some(position) = steps.iter().position(|step| step.is_root) else { return Vec::new() };
    let begun = recorder.request.steps.get(position).is_some_and(|step| step.status != StepStatus::Pending);
    match steps.get(position).filter(|_| begun).map(|step| &step.action) {
        Some(Action::Mask(mask)) => mask.assignments.iter().map(|one| one.column.name.as_str()).collect(),
        Some(Action::Rectify(rectification)) => rectification.names(),
        _ => Vec::new(),
    }
}

/// Books what a commit did whose record was lost: matched − recorded − fresh count, for every step that was begun
/// and has not been verified. How the last attempt ended does not say whether there is one: the attempt before it
/// may have crashed, and the last one stopped before it came here.
pub async fn book_recovered(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if !recorder.request.may_have_lost_a_record() {
        return Ok(());
    }
    for (position, step) in run.steps.iter().enumerate() {
        let Some(state) = recorder.request.steps.get(position).cloned() else { continue };
        if !state.is_under_way() || step.is_keep() {
            continue;
        }
        if step.is_recorded() {
            recorded::settle(run, recorder, position).await?;
            continue;
        }
        let of = if step.may_withhold() { CountOf::Matched } else { CountOf::Remaining };
        let fresh = match step.resource() {
            Some(_) => calls::count_what_is_left(run, recorder, position, step).await?,
            None => verify::count(run, recorder, position, of).await?,
        };
        let fresh = i64::try_from(fresh).unwrap_or(i64::MAX);
        let recovered = state.rows_matched.unwrap_or(0) - state.rows_affected - fresh;
        if let Ok(recovered @ 1..) = u64::try_from(recovered) {
            let mut details = step.written_columns();
            if let Some(details) = details.as_object_mut() {
                details.insert("recovered".to_owned(), json!(true));
            }
            recorder
                .record(move |request, actor, _| {
                    request.progressed();
                    booked(request, position, recovered, actor, details).into_iter().collect()
                })
                .await?;
        }
    }
    Ok(())
}
