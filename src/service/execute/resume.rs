//! Going on after a pause or a crash: is the row still this person's, and what did a commit do whose record was
//! lost?

use std::sync::Arc;

use serde_json::json;

use super::{
    Run, calls, connector, group::booked, keys, recorded, recorder::Recorder, trouble::Interrupt, verify,
};
use crate::{
    connectors::CountOf,
    domain::{
        compile::subject::subject_refs,
        compiled::{Action, CompiledPlan, Step},
        key::Tuple,
        request::{RunCode, StepStatus},
        vault::DataKey,
    },
    service::Service,
};

/// Reads the root tuple from the manifest, takes the person's locks, and compares the live row with the refs kept at resolution: keys and
/// e-mail addresses are given to other people, and theirs must not be touched.
pub async fn same_person(
    service: &Arc<Service>,
    recorder: &mut Recorder,
    plan: &CompiledPlan,
    steps: &[Step],
    data_key: &DataKey,
) -> Result<Tuple, Interrupt> {
    let tuple = keys::root_tuple(service, recorder, data_key).await?;
    let kept = subject_refs(plan, &service.vault, &tuple);
    recorder.take_locks(&kept).await?;
    let complete = plan.root.key.iter().all(|position| tuple.get(*position).is_some_and(Option::is_some));
    if !complete {
        return Ok(tuple);
    }
    let live = connector(service, &plan.root.connection)?
        .reread(&plan.root, &tuple)
        .await
        .map_err(|error| Interrupt::at(&error, &plan.root.connection, None))?;
    let Some(live) = live else { return Ok(tuple) };
    let overwritten = overwritten_identities(plan, steps, recorder);
    let found = subject_refs(plan, &service.vault, &live);
    let differs = |(name, kept_ref): &(String, String)| {
        !overwritten.contains(name)
            && !found.iter().any(|(other, found_ref)| other == name && found_ref == kept_ref)
    };
    if kept.iter().any(differs) {
        return Err(Interrupt::trouble(
            RunCode::SubjectAmbiguous,
            "the person's row now has other identities than at the start: the key may have been given to somebody \
             else; nothing more was touched",
            Some(&plan.root.connection),
            None,
        ));
    }
    Ok(tuple)
}

/// Identities that this request's own mask or correction of the person's row may have overwritten already.
fn overwritten_identities(plan: &CompiledPlan, steps: &[Step], recorder: &Recorder) -> Vec<String> {
    let Some(position) = steps.iter().position(|step| step.is_root) else { return Vec::new() };
    let begun = recorder.request.steps.get(position).is_some_and(|step| step.status != StepStatus::Pending);
    let overwritten: Vec<&str> = match steps.get(position).map(|step| &step.action) {
        Some(Action::Mask(mask)) => mask.assignments.iter().map(|one| one.column.name.as_str()).collect(),
        Some(Action::Rectify(rectification)) => rectification.names(),
        _ => Vec::new(),
    };
    plan.root
        .identities
        .iter()
        .filter(|_| begun)
        .filter(|identity| {
            plan.root
                .columns
                .get(identity.column)
                .is_some_and(|column| overwritten.contains(&column.name.as_str()))
        })
        .map(|identity| identity.name.clone())
        .collect()
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
