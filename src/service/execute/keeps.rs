//! The end of a `keep`: rows whose time is over are deleted, those that hang on others before those. In an erasure as
//! the last of its steps, for rows whose time was over already; and in one that was completed and is taken up again.
//!
//! Which rows are kept is fixed by the erasure: their keys are sealed beside the manifest and outlive it. Nobody asked for
//! anything that has come since; and what has moved away since is told instead of being forgotten.

mod chunks;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use self::chunks::{chunk, collect_one, count, parts, set, span, with_step};
use super::{Run, batches, keys, recorder::Recorder, session_limits, trouble::Interrupt, verify};
use crate::{
    connectors::CountOf,
    domain::{
        compiled::{KeepUntil, Step, TimeKind},
        rectification::refs_at_work,
        request::{Ends, NEVER, RunCode},
    },
    points::{self, Point},
    service::Service,
};

/// Carries on with an erasure that was completed: only what is over is touched, whoever the person has become since.
pub async fn go_on(service: &Arc<Service>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    recorder.check()?;
    let plan = service.plans.pinned(service, &recorder.request.plan, &recorder.request.plan_version).await?;
    service.plans.require_keeps_fit(service, &plan).await?;
    let data_key = keys::data_key(service, recorder.request.id).await?;
    let steps = plan.erasure.clone();
    let root = keys::root_tuple(service, recorder.request.id, &data_key).await?;
    recorder.take_locks(&refs_at_work(&plan, &service.vault, &steps, &root)).await?;
    recorder.plan = Some(plan.clone());
    let limits = session_limits(service);
    let run = Run {
        service,
        plan,
        steps,
        data_key,
        root: Arc::new(root),
        limits,
        resumed: true,
        effort: Arc::default(),
    };
    super::resume::book_recovered(&run, recorder).await?;
    carry_out(&run, recorder).await?;
    recorder.complete(true).await
}

/// Before anything is touched: seals which rows are kept, while everything by which they are found is there.
pub async fn begin(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if in_order(&run.steps).is_empty() || !recorder.request.has_keeps_to_look_at() {
        return Ok(());
    }
    require_times(run, recorder).await?;
    collect(run, recorder).await
}

/// Deletes what is over, and notes when the rest will be.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    let positions = in_order(&run.steps);
    if positions.is_empty() {
        return Ok(());
    }
    if recorder.request.has_keeps_to_look_at() {
        // Rows may have come while the rest was erased.
        collect(run, recorder).await?;
    }
    let now = run.service.store.now().await?;
    for position in &positions {
        delete(run, recorder, *position, now).await?;
    }
    look(run, recorder, &positions).await
}

/// How many of the rows that were kept are there.
pub async fn count_left(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<u64, Interrupt> {
    count(run, recorder, position, |step, set| Some(step.by_key(set))).await
}

/// Positions of the steps that keep rows for a time: what hangs on rows of others before those.
fn in_order(steps: &[Step]) -> Vec<usize> {
    let mut positions: Vec<(usize, usize)> = steps
        .iter()
        .enumerate()
        .filter_map(|(position, step)| {
            let until = step.until()?;
            Some((step.rows.distance_to(&until.table).unwrap_or(0), position))
        })
        .collect();
    positions.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    positions.into_iter().map(|(_, position)| position).collect()
}

/// Nobody could ever say of a row without a readable time when its keep is over: that stops an erasure before it begins.
async fn require_times(run: &Run<'_>, recorder: &Recorder) -> Result<(), Interrupt> {
    for position in in_order(&run.steps) {
        let Some(step) = run.steps.get(position) else { continue };
        let Some(without) = step.without_time() else { continue };
        let rows =
            verify::count(&with_step(run, position, without), recorder, position, CountOf::Matched).await?;
        if rows > 0 {
            let column = step.until().map_or("", |until| until.column.name.as_str());
            let detail = format!(
                "{rows} rows hold something in `{column}` that is no time, so that nobody knows how long they are to be \
                 kept: correct them and retry the request"
            );
            return Err(trouble(step, detail));
        }
    }
    Ok(())
}

fn trouble(step: &Step, detail: String) -> Interrupt {
    Interrupt::trouble(RunCode::StepFailed, detail, Some(&step.connection), Some(&step.name))
}

/// Seals the keys of kept rows that are not sealed yet.
async fn collect(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    for position in in_order(&run.steps) {
        collect_one(run, recorder, position).await?;
    }
    Ok(())
}

/// Deletes the rows of one step that are over.
async fn delete(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    now: DateTime<Utc>,
) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let Some(before) = step.until().and_then(|until| until.period.before(now)) else { return Ok(()) };
    recorder.check()?;
    let due = count(run, recorder, position, |step, set| step.when_over(set, before)).await?;
    let is_ending = recorder.request.steps.get(position).is_some_and(|state| state.is_ending());
    if due > 0 || is_ending {
        let there = count_left(run, recorder, position).await?;
        let counts = (number(there), number(there.saturating_sub(due)));
        recorder
            .record(move |request, actor, _| {
                request.begin_end_of_keep(position, counts, before, actor).into_iter().collect()
            })
            .await?;
        points::reached(Point::KeepBegun);
        walk(run, recorder, position, before).await?;
    }
    require_found(run, recorder, position, before).await
}

async fn walk(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    before: DateTime<Utc>,
) -> Result<(), Interrupt> {
    let set = set(run);
    let Some(step) = run.steps.get(position).and_then(|step| step.when_over(set, before)) else {
        return Ok(());
    };
    let over = with_step(run, position, step);
    for _ in 0..verify::ROUNDS {
        for part in parts(run, recorder, position).await? {
            let chunk = chunk(run, recorder, &part).await?;
            batches::walk_chunk(&over, recorder, position, (set, chunk)).await?;
        }
        if count(run, recorder, position, |step, set| step.when_over(set, before)).await? == 0 {
            return Ok(());
        }
    }
    Err(verify::still_there(run, position))
}

/// What was kept and is not found as the person's any more is for people to look at: whose it is by now, and when it is
/// over, nobody else can tell.
async fn require_found(
    run: &Run<'_>,
    recorder: &Recorder,
    position: usize,
    before: DateTime<Utc>,
) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let there = count_left(run, recorder, position).await?;
    let found = count(run, recorder, position, |step, set| Some(step.found_of(set))).await?;
    if found >= there {
        return Ok(());
    }
    let holds_its_time = step.until().is_some_and(|until| until.table == step.rows.table);
    let over = match holds_its_time {
        true => count(run, recorder, position, |step, set| step.over_by_key(set, before)).await?,
        false => there - found,
    };
    if over == 0 {
        return Ok(());
    }
    let detail = format!(
        "{over} rows that were kept for the person are not found as theirs any more, so that they were not deleted: look \
         whose they are, delete them or lead them back, and retry the request"
    );
    Err(trouble(step, detail))
}

/// Counts what stays, and notes when that will be over.
async fn look(run: &Run<'_>, recorder: &mut Recorder, positions: &[usize]) -> Result<(), Interrupt> {
    let mut ends: BTreeMap<(String, String), Ends> = BTreeMap::new();
    for position in positions {
        let Some((step, until)) = run.steps.get(*position).and_then(|step| Some((step, step.until()?)))
        else {
            continue;
        };
        if let Some((oldest, newest)) = span(run, recorder, *position).await? {
            let (first, last) = (end(until, oldest), end(until, newest));
            let slot = ends.entry((step.connection.clone(), until.to_string())).or_default();
            *slot = (earlier(slot.0, first), slot.1.max(last));
        }
    }
    let mut seen = Vec::new();
    for position in positions {
        let Some((step, until)) = run.steps.get(*position).and_then(|step| Some((step, step.until()?)))
        else {
            continue;
        };
        let staying = count_left(run, recorder, *position).await?;
        let ends = ends.get(&(step.connection.clone(), until.to_string())).copied();
        seen.push((*position, number(staying), ends.filter(|_| staying > 0).unwrap_or_default()));
    }
    recorder
        .record(move |request, actor, now| {
            request.progressed();
            let looked =
                |(position, staying, ends)| request.keep_looked_at(position, staying, ends, actor, now);
            seen.into_iter().flat_map(looked).collect()
        })
        .await?;
    points::reached(Point::KeepLooked);
    Ok(())
}

/// When a row of that time is over; `None`: never, as of one that says the end of time.
fn end(until: &KeepUntil, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // A day is over when the next one begins.
    let whole = match until.time {
        TimeKind::Date => TimeDelta::days(1),
        TimeKind::Instant | TimeKind::Local | TimeKind::Any => TimeDelta::seconds(1),
    };
    until.period.after(time)?.checked_add_signed(whole).filter(|end| *end < NEVER)
}

fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn number(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
