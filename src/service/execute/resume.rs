//! Going on after a pause or a crash: is the row still this person's, and what did a commit do whose record was
//! lost?

use std::sync::Arc;

use serde_json::json;

use super::{
    Run, calls, connector, group::booked, keeps, keys, recorded, recorder::Recorder, trouble::Interrupt,
    verify,
};
use crate::{
    connectors::{CountOf, Resolution},
    domain::{
        compile::subject::subject_refs,
        compiled::{Action, CompiledPlan, Step},
        key::{Key, Tuple},
        rectification::refs_at_work,
        request::{RunCode, StepStatus},
        vault::{DataKey, Vault},
    },
    points::{self, Point},
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
    let tuple = keys::root_tuple(service, recorder.request.id, data_key).await?;
    recorder.take_locks(&refs_at_work(plan, &service.vault, steps, &tuple)).await?;
    let complete = plan.root.key.iter().all(|position| tuple.get(*position).is_some_and(Option::is_some));
    if !complete {
        return Ok(Some(tuple));
    }
    let live = connector(service, &plan.root.connection)?
        .reread(&plan.root, &tuple)
        .await
        .map_err(|error| Interrupt::at(&error, &plan.root.connection, None))?;
    let Resolution::Found { tuple: live, .. } = live else {
        require_nobody_else(service, recorder, plan, steps, &tuple).await?;
        return Ok(Some(tuple));
    };
    let is_untouched = !recorder.request.touched;
    let row = Row::new(plan, &service.vault, (&tuple, live), steps, recorder);
    if row.has_other_identities() {
        return Err(row.changed(
            "the person's row now has other identities than at the start: the key may have been given to somebody else; \
             nothing more was touched",
        ));
    }
    if !row.leads_elsewhere(is_untouched) {
        return Ok(Some(tuple));
    }
    if !is_untouched {
        return Err(row.changed(
            "a value by which a `match` of the plan finds rows has changed in the person's row since the start, so that \
             rows may be left under the new one; nothing more was touched: submit again for those",
        ));
    }
    let mut tx = service.store.begin().await?;
    tx.delete_keys(recorder.request.id, "").await?;
    recorder.record_in(tx, |request, actor, _| vec![request.void_resolution(actor)]).await?;
    Ok(None)
}

/// The row is gone, by whatever. Unless it may have gone by this request itself, its identities must not be somebody
/// else's by now, whose rows are found by them.
async fn require_nobody_else(
    service: &Service,
    recorder: &Recorder,
    plan: &CompiledPlan,
    steps: &[Step],
    tuple: &Tuple,
) -> Result<(), Interrupt> {
    let root = &plan.root;
    let position = steps.iter().position(|step| step.is_root);
    let state = position.and_then(|position| recorder.request.steps.get(position));
    if state.is_some_and(|step| recorder.request.touched && step.status != StepStatus::Pending) {
        return Ok(());
    }
    let known =
        (0..root.columns.len()).filter_map(|position| Some((position, tuple.get(position)?.clone()?)));
    let found = connector(service, &root.connection)?
        .resolve(root, &known.collect::<Vec<_>>())
        .await
        .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
    if found == Resolution::NotFound {
        return Ok(());
    }
    Err(Interrupt::trouble(
        RunCode::SubjectAmbiguous,
        "the person's row is gone, and another one has an identity of it: their rows cannot be told apart; nothing more \
         was touched",
        Some(&root.connection),
        None,
    ))
}

/// The person's row as it is now, beside what was kept of it.
struct Row<'a> {
    plan: &'a CompiledPlan,
    vault: &'a Vault,
    kept: &'a Tuple,
    live: Tuple,
    /// What this request itself has written.
    overwritten: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn new(
        plan: &'a CompiledPlan,
        vault: &'a Vault,
        (kept, live): (&'a Tuple, Tuple),
        steps: &'a [Step],
        recorder: &Recorder,
    ) -> Self {
        let mut row = Self { plan, vault, kept, live, overwritten: Vec::new() };
        let position = steps.iter().position(|step| step.is_root).filter(|_| recorder.request.touched);
        let begun = |position: &usize| {
            recorder.request.steps.get(*position).is_some_and(|step| step.status != StepStatus::Pending)
        };
        let action = position.filter(begun).and_then(|position| steps.get(position)).map(|step| &step.action);
        let own: Vec<&str> = match action {
            Some(Action::Mask(mask)) => mask.assignments.iter().map(|one| one.column.name.as_str()).collect(),
            Some(Action::Rectify(rectification)) => rectification.names(),
            _ => Vec::new(),
        };
        if row.differences().any(|(name, _)| own.contains(&name)) {
            row.overwritten = own;
        }
        row
    }

    /// The columns whose value is another by now, and that value.
    fn differences(&self) -> impl Iterator<Item = (&'a str, Option<&Key>)> {
        let values = self.kept.iter().zip(&self.live);
        let columns = self.plan.root.columns.iter().map(|column| column.name.as_str()).zip(values);
        columns.filter(|(_, (kept, live))| kept != live).map(|(name, (_, live))| (name, live.as_ref()))
    }

    fn has_other_identities(&self) -> bool {
        let root = &self.plan.root;
        let found = subject_refs(self.plan, self.vault, &self.live);
        let is_overwritten = |name: &str| {
            let identity = root.identities.iter().find(|identity| identity.name == name);
            let column = identity.and_then(|identity| root.columns.get(identity.column));
            column.is_some_and(|column| self.overwritten.contains(&column.name.as_str()))
        };
        let known = subject_refs(self.plan, self.vault, self.kept);
        known.iter().any(|known| !is_overwritten(&known.0) && !found.contains(known))
    }

    /// Rows may be found by other values than at the start. What the request has written may have changed others along,
    /// that are computed from it; and NULL leads to no rows.
    fn leads_elsewhere(&self, is_untouched: bool) -> bool {
        self.overwritten.is_empty() && self.differences().any(|(_, live)| is_untouched || live.is_some())
    }

    fn changed(&self, detail: &str) -> Interrupt {
        Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&self.plan.root.connection), None)
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
        if !state.is_under_way() || (step.is_keep() && !state.is_ending()) {
            continue;
        }
        if step.is_recorded() {
            recorded::settle(run, recorder, position).await?;
            continue;
        }
        let of = if step.may_withhold() { CountOf::Matched } else { CountOf::Remaining };
        let fresh = match step.resource() {
            Some(_) => calls::count_what_is_left(run, recorder, position, step).await?,
            None if state.is_ending() => keeps::count_left(run, recorder, position).await?,
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
            points::reached(Point::BatchRecovered);
        }
    }
    Ok(())
}

/// Reads the keys again that can be read, since rows may have come during the pause, and those that lead to them will be
/// gone soon. Steps that were done before are done again: see [`keys::collect`].
pub async fn collect_more(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    let readable: Vec<usize> =
        (0..run.plan.key_sets.len()).filter(|set| keys::is_readable(run, recorder, *set)).collect();
    keys::collect(run, recorder, &readable).await?;
    Ok(())
}
