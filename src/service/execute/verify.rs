//! Fresh counts: before anything is touched, and as the proof afterwards. A count never goes through rows that
//! this request has removed: each step is counted before the first batch that cuts its path.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    Run, batches, calls, keys, recorded, recorder::Recorder, resolve::COUNT_LIMIT, trouble::Interrupt,
};
use crate::{
    connectors::{Count, CountOf, Keys},
    domain::{
        audit::EventName,
        compiled::{Action, Link, Mask, MaskProgress, Resource, ResourceAct, Source, Step},
        request::{RunCode, StepState, StepStatus},
    },
    points::{self, Point},
};

/// How often rows that a count still finds are worked on again before the attempt ends.
pub const ROUNDS: usize = 3;

impl Step {
    /// What the first count of this step takes: rows that a mask by predicate has already changed are not matched.
    pub(in crate::service) fn first_count(&self) -> CountOf {
        match &self.action {
            Action::Mask(Mask { progress: MaskProgress::Predicate, .. }) | Action::Rectify(_) => {
                CountOf::Remaining
            }
            _ => CountOf::Matched,
        }
    }

    /// Values outside the database decide what is left: counted row by row.
    pub(super) fn is_recorded(&self) -> bool {
        matches!(&self.action, Action::Mask(Mask { progress: MaskProgress::Recorded, .. }))
    }

    pub(super) fn is_keep(&self) -> bool {
        matches!(
            self.action,
            Action::Keep | Action::KeepUntil(_) | Action::Http(Resource { act: ResourceAct::Keep, .. })
        )
    }

    /// Rows may stay because others point to them.
    pub(super) fn may_withhold(&self) -> bool {
        self.is_keep() || matches!(self.action, Action::DeleteIfUnreferenced { .. })
    }

    pub(super) fn uses_key_sets(&self) -> bool {
        keys::uses_sets(&self.rows) || self.openers.as_ref().is_some_and(keys::uses_sets)
    }

    fn hangs_on_root(&self) -> bool {
        let through_root = |link: &Link| matches!(link.source, Source::Root(_));
        self.rows.any_of.iter().any(|alternative| alternative.links().iter().any(through_root))
    }
}

/// Earlier steps of the same connection that must be counted before `position` touches anything: those whose path
/// it cuts, and before the person's own row all that hangs directly on it.
pub fn due_before(steps: &[Step], position: usize) -> Vec<usize> {
    let Some(step) = steps.get(position) else { return Vec::new() };
    (0..position)
        .filter(|earlier| {
            steps.get(*earlier).is_some_and(|other| {
                other.connection == step.connection
                    && (step.cuts.contains(earlier) || (step.is_root && other.hangs_on_root()))
            })
        })
        .collect()
}

/// True when no later step counts this one before cutting its path.
pub fn is_verified_at_once(steps: &[Step], position: usize) -> bool {
    !(position + 1..steps.len()).any(|later| due_before(steps, later).contains(&position))
}

/// What each step matches before anything is touched, one round trip per connection where no key set is involved.
pub async fn first_counts(run: &Run<'_>, recorder: &Recorder) -> Result<Vec<u64>, Interrupt> {
    let steps = &run.steps;
    let mut counts = vec![0; steps.len()];
    let mut by_connection: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, step) in steps.iter().enumerate() {
        if step.uses_key_sets() || step.resource().is_some() {
            if let Some(slot) = counts.get_mut(position) {
                *slot = count(run, recorder, position, step.first_count()).await?;
            }
        } else {
            by_connection.entry(&step.connection).or_default().push(position);
        }
    }
    for positions in by_connection.into_values() {
        let found = counts_together(run, &positions).await?;
        for (position, found) in positions.into_iter().zip(found) {
            if let Some(slot) = counts.get_mut(position) {
                *slot = found;
            }
        }
    }
    Ok(counts)
}

/// What steps of one connection match, in one round trip. None of them may need key sets.
pub async fn counts_together(run: &Run<'_>, positions: &[usize]) -> Result<Vec<u64>, Interrupt> {
    let steps: Vec<&Step> = positions.iter().filter_map(|position| run.steps.get(*position)).collect();
    let Some(first) = steps.first() else { return Ok(Vec::new()) };
    let keys = run.keys();
    let wanted: Vec<Count<'_>> = steps.iter().map(|step| counting(step, step.first_count(), &keys)).collect();
    run.connector(&first.connection)?
        .count(&wanted, COUNT_LIMIT)
        .await
        .map_err(|error| Interrupt::at(&error, &first.connection, None))
}

pub fn counting<'a>(step: &'a Step, of: CountOf, keys: &'a Keys) -> Count<'a> {
    Count { rows: &step.rows, action: &step.action, keys, of }
}

/// A step with one of its alternatives, without the rows that earlier ones match.
pub fn alone(step: &Step, alternative: usize) -> Step {
    let mut alone = step.clone();
    alone.rows = keys::one_alternative(&step.rows, alternative);
    let mut earlier = step.rows.clone();
    earlier.any_of.truncate(alternative);
    if !earlier.any_of.is_empty() && !step.rows.reads_itself() {
        alone.rows.except.push(earlier);
    }
    alone
}

/// One step, alternative by alternative over all chunks of its key sets; each row counts once.
pub async fn count(
    run: &Run<'_>,
    recorder: &Recorder,
    position: usize,
    of: CountOf,
) -> Result<u64, Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(0) };
    if step.resource().is_some() {
        return calls::count(run, recorder, position, step).await;
    }
    let connector = run.connector(&step.connection)?;
    let fault = |error| Interrupt::at(&error, &step.connection, Some(&step.name));
    if !step.uses_key_sets() {
        let keys = run.keys();
        let found = connector.count(&[counting(step, of, &keys)], COUNT_LIMIT).await.map_err(fault)?;
        return Ok(found.first().copied().unwrap_or(0));
    }
    let mut total = 0;
    let alternatives = if step.rows.reads_itself() { 1 } else { step.rows.any_of.len() };
    for alternative in 0..alternatives {
        let alone = alone(step, alternative);
        for pass in keys::passes(run, recorder, &alone.rows, 0).await? {
            let keys = keys::bind(run, recorder, &alone.rows, 0, &pass).await?;
            let found = connector.count(&[counting(&alone, of, &keys)], COUNT_LIMIT).await.map_err(fault)?;
            total += found.first().copied().unwrap_or(0);
        }
    }
    Ok(total)
}

/// Counts a step afresh; what is found is worked on again, three rounds at most. Ends with the step verified.
pub async fn verify(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    for _ in 0..ROUNDS {
        top_up(run, recorder, step).await?;
        if is_clean(run, recorder, position).await? {
            points::reached(Point::StepVerifying);
            let withheld =
                if step.may_withhold() { count(run, recorder, position, CountOf::Matched).await? } else { 0 };
            return record_verified(recorder, &[(position, withheld)], &run.steps).await;
        }
    }
    Err(still_there(run, position))
}

/// One round: true when a fresh count finds nothing, else what it found has been worked on.
async fn is_clean(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<bool, Interrupt> {
    let Some(step) = run.steps.get(position).filter(|step| !step.is_keep()) else { return Ok(true) };
    if step.is_recorded() {
        let left = recorded::left(run, recorder, position).await?;
        batches::walk_found(run, recorder, position, &left).await?;
        return Ok(left.is_empty());
    }
    let remaining = count(run, recorder, position, CountOf::Remaining).await?;
    if remaining > 0 {
        batches::walk(run, recorder, position).await?;
    }
    Ok(remaining == 0)
}

pub fn still_there(run: &Run<'_>, position: usize) -> Interrupt {
    let step = run.steps.get(position);
    Interrupt::trouble(
        RunCode::RowsRemaining,
        "rows of this person were still found after three rounds: something keeps writing them, or keeps them from \
         going, as a trigger may",
        step.map(|step| step.connection.as_str()),
        step.map(|step| step.name.as_str()),
    )
}

/// Keys of rows that appeared since the manifest was read, as long as their source can still be read.
async fn top_up(run: &Run<'_>, recorder: &mut Recorder, step: &Step) -> Result<(), Interrupt> {
    let mut sets: Vec<usize> = step.rows.any_of.iter().flat_map(keys::sets_of).collect();
    sets.retain(|set| keys::is_readable(run, recorder, *set));
    keys::collect(run, recorder, &sets).await?;
    Ok(())
}

/// One transaction for what a fresh count proved: positions and the rows that stay.
pub async fn record_verified(
    recorder: &mut Recorder,
    steps: &[(usize, u64)],
    all: &[Step],
) -> Result<(), Interrupt> {
    let states = &recorder.request.steps;
    let steps: Vec<(usize, u64, bool)> = steps
        .iter()
        .map(|(position, withheld)| {
            let is_keep = all.get(*position).is_some_and(Step::is_keep);
            (*position, staying(all, states, *position, *withheld), is_keep)
        })
        .collect();
    recorder
        .record(move |request, actor, now| {
            request.progressed();
            steps
                .iter()
                .flat_map(|(position, withheld, keep)| {
                    verified(request, *position, *withheld, *keep, actor, now)
                })
                .collect()
        })
        .await?;
    points::reached(Point::StepVerified);
    Ok(())
}

/// What stays of a step by a fresh count. Where the request itself has cut the path to kept rows, in a commit whose record
/// was lost, that count finds none of them any more: those stay that there were before.
pub fn staying(all: &[Step], states: &[StepState], position: usize, counted: u64) -> u64 {
    let is_keep = all.get(position).is_some_and(Step::is_keep);
    let is_cut =
        all.iter().zip(states).any(|(step, state)| step.cuts.contains(&position) && state.rows_affected > 0);
    let before = states.get(position).and_then(|state| u64::try_from(state.rows_matched?).ok());
    match before {
        Some(before) if is_keep && is_cut => counted.max(before),
        _ => counted,
    }
}

/// Marks a step as verified, with the events that say so.
pub fn verified(
    request: &mut crate::domain::request::Request,
    position: usize,
    withheld: u64,
    keep: bool,
    actor: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> Vec<crate::domain::audit::NewEvent> {
    let Some(step) = request.steps.get_mut(position) else { return Vec::new() };
    step.started_at.get_or_insert(now);
    step.verified(i64::try_from(withheld).unwrap_or(i64::MAX), now);
    let kept = keep && withheld > 0;
    if kept {
        step.status = StepStatus::Withheld;
    }
    let event = if kept { EventName::StepWithheld } else { EventName::StepCompleted };
    let batches = step.batches;
    vec![
        request.step_event(position, event, actor, json!({ "batches": batches })),
        request.step_event(position, EventName::StepVerified, actor, json!({})),
    ]
}

/// The last gate before `completed`.
pub async fn all_verified(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    for position in 0..run.steps.len() {
        if !recorder.request.steps.get(position).is_some_and(|step| step.is_verified()) {
            verify(run, recorder, position).await?;
        }
    }
    Ok(())
}
