//! Consecutive steps of one connection. Where everything that is left of a person fits one batch they run in one
//! target transaction and are recorded in one store transaction; otherwise step by step, batch by batch.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Run, batches, recorder::Recorder, trouble::Interrupt, verify};
use crate::{
    connectors::{CountOf, ErrorKind, Keys, Tx, Work},
    domain::{
        audit::{EventName, NewEvent},
        compiled::Step,
        request::{Request, StepState, StepStatus},
    },
    points::{self, Point},
    service::Service,
};

/// More rows than this are never deleted in one transaction.
const SMALL: i64 = 1_000;

/// How often a deadlock or serialization failure repeats the transaction before it counts as a lock timeout.
pub(super) const REPEATS: usize = 10;

/// Runs of steps that share a connection, in order.
pub fn groups(steps: &[Step]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        match groups.last_mut() {
            Some(group)
                if steps.get(group.start).is_some_and(|first| first.connection == step.connection) =>
            {
                group.end = position + 1;
            }
            _ => groups.push(position..position + 1),
        }
    }
    groups
}

/// Carries out what is left of a group and leaves every step of it verified, or due to be counted by a later one.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder, group: Range<usize>) -> Result<(), Interrupt> {
    let open = |recorder: &Recorder| {
        recorder.request.steps.get(group.clone()).is_some_and(|steps| !all_verified(steps))
    };
    if !open(recorder) {
        return Ok(());
    }
    let counts = |step: &StepState| step.rows_matched.unwrap_or(i64::MAX) - step.rows_affected;
    let left: Vec<i64> =
        recorder.request.steps.get(group.clone()).unwrap_or_default().iter().map(counts).collect();
    if is_small(&run.steps, run.service, &group, &left)
        && is_still_small(run, &group).await?
        && together(run, recorder, group.clone()).await?
    {
        return Ok(());
    }
    for position in group {
        batches::carry_out(run, recorder, position).await?;
    }
    Ok(())
}

fn all_verified(steps: &[StepState]) -> bool {
    steps.iter().all(StepState::is_verified)
}

fn is_small(steps: &[Step], service: &Service, group: &Range<usize>, left: &[i64]) -> bool {
    let limit = SMALL.min(i64::from(service.pacing.max_rows));
    let steps = steps.get(group.clone()).unwrap_or_default();
    left.iter().try_fold(0_i64, |sum, rows| sum.checked_add(*rows)).is_some_and(|sum| sum <= limit)
        && !steps.iter().any(|step| step.is_recorded() || step.uses_key_sets() || step.resource().is_some())
}

/// A person may have got any number of rows while the request was paused, and one transaction would take them all.
async fn is_still_small(run: &Run<'_>, group: &Range<usize>) -> Result<bool, Interrupt> {
    if !run.resumed {
        return Ok(true);
    }
    let counts = verify::counts_together(run, &group.clone().collect::<Vec<_>>()).await?;
    let left: Vec<i64> = counts.into_iter().map(|count| i64::try_from(count).unwrap_or(i64::MAX)).collect();
    Ok(is_small(&run.steps, run.service, group, &left))
}

/// What must be in the store before the first target commit: the steps that it may contain.
pub fn announcement(
    steps: &[Step],
    counts: &[u64],
    service: &Service,
) -> impl FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + 'static {
    let first = groups(steps).into_iter().next().unwrap_or_default();
    let left: Vec<i64> = counts
        .get(first.clone())
        .unwrap_or_default()
        .iter()
        .map(|count| i64::try_from(*count).unwrap_or(i64::MAX))
        .collect();
    let announced = if is_small(steps, service, &first, &left) { first } else { 0..0 };
    move |request, actor, now| announced.flat_map(|position| started(request, position, actor, now)).collect()
}

/// Marks a step as begun; from here on a target commit may contain it.
pub fn started(request: &mut Request, position: usize, actor: &str, now: DateTime<Utc>) -> Option<NewEvent> {
    request.touched = true;
    let step = request.steps.get_mut(position).filter(|step| step.status == StepStatus::Pending)?;
    step.status = StepStatus::InProgress;
    step.started_at = Some(now);
    Some(request.step_event(position, EventName::StepStarted, actor, json!({})))
}

/// What one step did inside the shared transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    affected: u64,
    withheld: u64,
}

/// All steps in one target transaction, which the caller knows to be small. `false`: rows remained; nothing was
/// committed, and the long way has to be gone.
async fn together(run: &Run<'_>, recorder: &mut Recorder, group: Range<usize>) -> Result<bool, Interrupt> {
    for earlier in group.clone().flat_map(|position| verify::due_before(&run.steps, position)) {
        let unverified = recorder.request.steps.get(earlier).is_some_and(|step| !step.is_verified());
        if earlier < group.start && unverified {
            verify::verify(run, recorder, earlier).await?;
        }
    }
    // An attempt that touched nothing has taken its announcement back.
    let announced = recorder.request.touched
        && recorder
            .request
            .steps
            .get(group.clone())
            .is_some_and(|steps| steps.iter().all(|step| step.status != StepStatus::Pending));
    if !announced {
        let group = group.clone();
        recorder
            .record(move |request, actor, now| {
                request.touched = true;
                group.filter_map(|position| started(request, position, actor, now)).collect()
            })
            .await?;
        points::reached(Point::StepAnnounced);
    }
    recorder.check()?;
    let Some(connection) = run.steps.get(group.start).map(|step| step.connection.clone()) else {
        return Ok(true);
    };
    for repeat in 0..=REPEATS {
        match attempt(run, recorder, group.clone(), &connection).await {
            Ok(Some(effects)) => return record(run, recorder, group, effects).await.map(|()| true),
            Ok(None) => return Ok(false),
            Err(Failure::Target(error)) if error.kind == ErrorKind::Conflict && repeat < REPEATS => {
                recorder.check()?;
            }
            Err(Failure::Target(error)) => return Err(Interrupt::at(&error, &connection, None)),
            Err(Failure::Interrupt(interrupt)) => return Err(interrupt),
        }
    }
    Ok(false)
}

/// Why a target transaction did not come to its end: one kind of it is repeated.
pub enum Failure {
    Target(crate::connectors::ConnectorError),
    Interrupt(Interrupt),
}

impl From<crate::connectors::ConnectorError> for Failure {
    fn from(error: crate::connectors::ConnectorError) -> Self {
        Self::Target(error)
    }
}

impl From<Interrupt> for Failure {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

async fn attempt(
    run: &Run<'_>,
    recorder: &mut Recorder,
    group: Range<usize>,
    connection: &str,
) -> Result<Option<Vec<Effect>>, Failure> {
    let keys = run.keys();
    let mut tx = run.connector(connection)?.begin(run.limits).await?;
    let mut effects = vec![Effect::default(); group.len()];
    let mut uncounted: Vec<usize> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    for position in group.clone() {
        let Some(step) = run.steps.get(position) else { continue };
        let due: Vec<usize> = step.cuts.iter().copied().filter(|cut| uncounted.contains(cut)).collect();
        if !due.is_empty() {
            apply(run, &mut tx, &keys, &std::mem::take(&mut waiting), group.start, &mut effects).await?;
        }
        if !count_all(run, &mut tx, &keys, &due, group.start, &mut effects).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        uncounted.retain(|position| !due.contains(position));
        waiting.push(position);
        uncounted.push(position);
    }
    apply(run, &mut tx, &keys, &waiting, group.start, &mut effects).await?;
    let earlier = earlier_due(run, &group);
    if !count_all(run, &mut tx, &keys, &uncounted, group.start, &mut effects).await?
        || !count_all(run, &mut tx, &keys, &earlier, group.start, &mut effects).await?
    {
        tx.rollback().await?;
        return Ok(None);
    }
    recorder.before_commit()?;
    points::reached(Point::GroupCommitting);
    tx.commit().await?;
    points::reached(Point::GroupCommitted);
    Ok(Some(effects))
}

/// Steps of earlier groups of this connection whose last count is due before this group's person row goes.
fn earlier_due(run: &Run<'_>, group: &Range<usize>) -> Vec<usize> {
    let mut due: Vec<usize> = group
        .clone()
        .filter(|position| run.steps.get(*position).is_some_and(|step| step.is_root))
        .flat_map(|position| verify::due_before(&run.steps, position))
        .filter(|earlier| *earlier < group.start)
        .filter(|earlier| run.steps.get(*earlier).is_some_and(|step| !step.is_recorded() && !step.is_keep()))
        .collect();
    due.dedup();
    due
}

/// Carries steps out, openers first, and notes what each did.
async fn apply(
    run: &Run<'_>,
    tx: &mut Box<dyn Tx>,
    keys: &Keys,
    positions: &[usize],
    start: usize,
    effects: &mut [Effect],
) -> Result<(), crate::connectors::ConnectorError> {
    let mut works = Vec::new();
    let mut meaning = Vec::new();
    for position in positions {
        let Some(step) = run.steps.get(*position).filter(|step| !step.is_keep()) else { continue };
        if let Some(openers) = &step.openers {
            works.push(Work { rows: openers, action: &step.action, alternative: 0, keys, root: None });
            meaning.push(None);
        }
        let root = step.is_root.then_some(&run.plan.root);
        works.push(Work { rows: &step.rows, action: &step.action, alternative: 0, keys, root });
        meaning.push(position.checked_sub(start));
    }
    for (batch, index) in tx.batches(&works).await?.into_iter().zip(meaning) {
        if let Some(effect) = index.and_then(|index| effects.get_mut(index)) {
            effect.affected = batch.affected;
        }
    }
    Ok(())
}

/// Counts steps inside the transaction; false when anything remains. Withheld rows are noted on the way.
async fn count_all(
    run: &Run<'_>,
    tx: &mut Box<dyn Tx>,
    keys: &Keys,
    positions: &[usize],
    start: usize,
    effects: &mut [Effect],
) -> Result<bool, crate::connectors::ConnectorError> {
    let mut wanted = Vec::new();
    let mut meaning: Vec<(usize, CountOf)> = Vec::new();
    for position in positions {
        let Some(step) = run.steps.get(*position) else { continue };
        if !step.is_keep() {
            wanted.push(verify::counting(step, CountOf::Remaining, keys));
            meaning.push((*position, CountOf::Remaining));
        }
        if step.may_withhold() {
            wanted.push(verify::counting(step, CountOf::Matched, keys));
            meaning.push((*position, CountOf::Matched));
        }
    }
    if wanted.is_empty() {
        return Ok(true);
    }
    let counts = tx.count(&wanted).await?;
    for ((position, of), count) in meaning.into_iter().zip(counts) {
        match of {
            CountOf::Remaining if count > 0 => return Ok(false),
            CountOf::Remaining => {}
            CountOf::Matched => {
                if let Some(effect) = position.checked_sub(start).and_then(|index| effects.get_mut(index)) {
                    effect.withheld = count;
                }
            }
        }
    }
    Ok(true)
}

/// One store transaction for the whole group, and for the end of the request where this was the last one.
async fn record(
    run: &Run<'_>,
    recorder: &mut Recorder,
    group: Range<usize>,
    effects: Vec<Effect>,
) -> Result<(), Interrupt> {
    let total: u64 = effects.iter().map(|effect| effect.affected).sum();
    let keeps: Vec<bool> =
        run.steps.get(group.clone()).unwrap_or_default().iter().map(Step::is_keep).collect();
    let withheld = group.clone().zip(&effects).map(|(position, effect)| {
        verify::staying(&run.steps, &recorder.request.steps, position, effect.withheld)
    });
    let effects: Vec<Effect> =
        withheld.zip(&effects).map(|(withheld, effect)| Effect { withheld, ..*effect }).collect();
    let found = run.found();
    recorder
        .record(move |request, actor, now| {
            request.progressed();
            let mut events = Vec::new();
            for ((position, effect), keep) in group.zip(effects).zip(keeps) {
                events.extend(booked(request, position, effect.affected, actor, json!({})));
                events.extend(verify::verified(request, position, effect.withheld, keep, actor, now));
            }
            if all_verified(&request.steps) && !request.has_keeps_to_look_at() {
                events.push(request.complete(found, actor, now));
            }
            events
        })
        .await?;
    points::reached(Point::GroupRecorded);
    run.service.metrics.batches.inc();
    run.service.metrics.rows_affected.inc_by(total);
    if recorder.request.status().is_end() {
        run.service.metrics.requests_completed.inc();
    }
    Ok(())
}

/// Books one batch of a step, with its event; nothing for a batch that found no row.
pub fn booked(
    request: &mut Request,
    position: usize,
    affected: u64,
    actor: &str,
    extra: serde_json::Value,
) -> Option<NewEvent> {
    if affected == 0 {
        return None;
    }
    let attempt = request.attempt;
    let step = request.steps.get_mut(position)?;
    step.book(affected);
    let mut details = json!({ "batch": step.batches, "attempt": attempt });
    if let (Some(details), serde_json::Value::Object(extra)) = (details.as_object_mut(), extra) {
        details.extend(extra);
    }
    let rows = json!({ "matched": step.rows_matched, "affected": affected });
    let mut event = request.step_event(position, EventName::StepBatch, actor, details);
    event.rows = Some(rows);
    Some(event)
}
