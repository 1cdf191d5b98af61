//! The end of a `keep`: rows whose time is over are deleted, those that hang on others before those. In an erasure as
//! the last of its steps, for rows whose time was over already; and in one that was completed and is taken up again.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Run, batches, keys, recorder::Recorder, resolve::COUNT_LIMIT, resume, session_limits, trouble::Interrupt,
    verify,
};
use crate::{
    connectors::CountOf,
    domain::{
        compiled::{KeepUntil, Step, TableName, TimeKind, Wanted},
        request::{Ends, Kept, RunCode},
    },
    service::Service,
};

/// Where the times of rows are: a connection and a table.
type Place = (String, TableName);
type Span = Option<(DateTime<Utc>, DateTime<Utc>)>;

/// Carries on with an erasure that was completed: only what is over is touched, whoever the person has become since.
pub async fn go_on(service: &Arc<Service>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    recorder.check()?;
    let plan = service.plans.pinned(service, &recorder.request.plan, &recorder.request.plan_version).await?;
    service.plans.require_keeps_fit(service, &plan).await?;
    let data_key = keys::data_key(service, recorder.request.id).await?;
    let steps = plan.erasure.clone();
    let known = resume::same_person(service, recorder, &plan, &steps, &data_key).await?;
    let root = known.ok_or_else(|| {
        Interrupt::trouble(RunCode::Internal, "the person of a completed erasure is not known", None, None)
    })?;
    recorder.plan = Some(plan.clone());
    let limits = session_limits(service);
    let run = Run { service, plan, steps, data_key, root: Arc::new(root), limits, resumed: true };
    resume::book_recovered(&run, recorder).await?;
    carry_out(&run, recorder).await?;
    recorder.complete(true).await
}

/// Deletes what is over, and notes when the rest will be.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    let positions = in_order(&run.steps);
    if positions.is_empty() {
        return Ok(());
    }
    measure(run, recorder, &positions).await?;
    let newest = newest(&run.steps, recorder);
    let now = run.service.store.now().await?;
    let over = changed(run, |step, until| {
        let known = newest.get(&place(step, until))?;
        step.when_over(until.period.before(now)?.min(*known))
    });
    for position in &positions {
        delete(run, &over, recorder, *position, now).await?;
    }
    look(run, recorder, &positions).await
}

/// The rows of a step that were there when the person was erased, afresh.
pub async fn count_left(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<u64, Interrupt> {
    let left = verify::count(&ours(run, recorder), recorder, position, CountOf::Matched).await?;
    let holds_times =
        |until: &KeepUntil, step: &Step| until.column.nullable && until.table == step.rows.table;
    let step = run.steps.get(position);
    if !step.is_some_and(|step| step.until().is_some_and(|until| holds_times(until, step))) {
        return Ok(left);
    }
    let without = changed(run, |step, _| step.without_time(Wanted::Null));
    Ok(left + verify::count(&without, recorder, position, CountOf::Matched).await?)
}

/// The run over the rows that were there when the person was erased.
fn ours<'a>(run: &Run<'a>, recorder: &Recorder) -> Run<'a> {
    let newest = newest(&run.steps, recorder);
    changed(run, |step, until| step.older_than(*newest.get(&place(step, until))?))
}

/// The first time that is later than those of all rows that were there when the person was erased, by the place of the
/// times, as far as it is known.
fn newest(steps: &[Step], recorder: &Recorder) -> BTreeMap<Place, DateTime<Utc>> {
    let mut newest: BTreeMap<Place, DateTime<Utc>> = BTreeMap::new();
    for (_, until, step, kept) in own(steps, recorder) {
        if let Some(known) = kept.newest {
            let slot = newest.entry(place(step, until)).or_insert(known);
            *slot = (*slot).max(known);
        }
    }
    newest
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

fn place(step: &Step, until: &KeepUntil) -> Place {
    (step.connection.clone(), until.table.clone())
}

/// The run with other steps where rows are kept for a time; a step that `change` has nothing for finds no row.
fn changed<'a>(run: &Run<'a>, change: impl Fn(&Step, &KeepUntil) -> Option<Step>) -> Run<'a> {
    let nothing = |step: &Step| {
        let mut nothing = step.clone();
        nothing.rows.any_of.clear();
        nothing
    };
    let steps = run.steps.iter().map(|step| match step.until() {
        Some(until) => change(step, until).unwrap_or_else(|| nothing(step)),
        None => step.clone(),
    });
    Run {
        service: run.service,
        plan: run.plan.clone(),
        steps: steps.collect(),
        data_key: run.data_key.clone(),
        root: run.root.clone(),
        limits: run.limits,
        resumed: run.resumed,
    }
}

/// Finds out which rows are there, where nobody has yet.
async fn measure(run: &Run<'_>, recorder: &mut Recorder, positions: &[usize]) -> Result<(), Interrupt> {
    let mut found = Vec::new();
    let unknown: Vec<usize> = own(&run.steps, recorder)
        .filter(|(_, _, _, kept)| !kept.measured && kept.newest.is_none())
        .map(|(position, ..)| position)
        .collect();
    for position in unknown.into_iter().filter(|position| positions.contains(position)) {
        recorder.check()?;
        let Some(until) = run.steps.get(position).and_then(Step::until) else { continue };
        if let Some((_, newest)) = span(run, recorder, position).await? {
            found.push((position, newest + margin(until.time)));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    recorder
        .record(move |request, _, _| {
            for (position, newest) in found {
                let state = request.steps.get_mut(position);
                if let Some(kept) = state.and_then(|state| state.kept.as_mut()) {
                    kept.newest = Some(newest);
                }
            }
            Vec::new()
        })
        .await
}

/// The steps whose rows hold their times themselves, and what is known of them.
fn own<'s>(
    steps: &'s [Step],
    recorder: &'s Recorder,
) -> impl Iterator<Item = (usize, &'s KeepUntil, &'s Step, &'s Kept)> + 's {
    steps.iter().zip(&recorder.request.steps).enumerate().filter_map(|(position, (step, state))| {
        let until = step.until().filter(|until| until.table == step.rows.table)?;
        Some((position, until, step, state.kept.as_ref()?))
    })
}

/// Times are compared with `<`, and read less finely than they may be written.
fn margin(time: TimeKind) -> TimeDelta {
    match time {
        TimeKind::Date => TimeDelta::days(1),
        TimeKind::Instant | TimeKind::Local | TimeKind::Any => TimeDelta::seconds(1),
    }
}

/// Nobody could ever say of a row without a readable time when its keep is over: that stops an erasure before it begins.
pub async fn require_times(run: &Run<'_>, recorder: &Recorder) -> Result<(), Interrupt> {
    let without = changed(run, |step, _| step.without_time(Wanted::Unreadable));
    for (position, _, step, kept) in own(&run.steps, recorder) {
        if !kept.measured {
            let rows = verify::count(&without, recorder, position, CountOf::Matched).await?;
            require_none(rows, step)?;
        }
    }
    Ok(())
}

fn require_none(rows: u64, step: &Step) -> Result<(), Interrupt> {
    if rows == 0 {
        return Ok(());
    }
    let column = step.until().map_or("", |until| until.column.name.as_str());
    let detail = format!(
        "{rows} rows hold something in `{column}` that is no time, so that nobody knows how long they are to be kept: \
         correct them and retry the request"
    );
    Err(Interrupt::trouble(RunCode::StepFailed, detail, Some(&step.connection), Some(&step.name)))
}

/// The oldest and the newest time of the rows of a step.
async fn span(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<Span, Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(None) };
    let Some(until) = step.until() else { return Ok(None) };
    let connector = run.connector(&step.connection)?;
    let mut whole: Span = None;
    let alternatives = if step.rows.reads_itself() { 1 } else { step.rows.any_of.len() };
    for alternative in 0..alternatives {
        let rows = keys::one_alternative(&step.rows, alternative);
        for pass in keys::passes(run, recorder, &rows, 0).await? {
            let keys = keys::bind(run, recorder, &rows, 0, &pass).await?;
            let found = connector
                .span(&rows, &keys, &until.column, until.time, COUNT_LIMIT)
                .await
                .map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
            whole = match (whole, found) {
                (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
                (one, other) => one.or(other),
            };
        }
    }
    Ok(whole)
}

/// Deletes the rows of one step that are over.
async fn delete(
    run: &Run<'_>,
    over: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    now: DateTime<Utc>,
) -> Result<(), Interrupt> {
    let Some(until) = run.steps.get(position).and_then(Step::until) else { return Ok(()) };
    recorder.check()?;
    let due = verify::count(over, recorder, position, CountOf::Remaining).await?;
    let is_ending = recorder.request.steps.get(position).is_some_and(|state| state.is_ending());
    if due == 0 && !is_ending {
        return Ok(());
    }
    let there = count_left(run, recorder, position).await?;
    let before = until.period.before(now).unwrap_or(now);
    let counts = (number(there), number(there.saturating_sub(due)));
    recorder
        .record(move |request, actor, _| {
            request.begin_end_of_keep(position, counts, before, actor).into_iter().collect()
        })
        .await?;
    for _ in 0..verify::ROUNDS {
        batches::walk(over, recorder, position).await?;
        if verify::count(over, recorder, position, CountOf::Remaining).await? == 0 {
            return Ok(());
        }
    }
    Err(verify::still_there(run, position))
}

/// Counts what stays, and notes when that will be over.
async fn look(run: &Run<'_>, recorder: &mut Recorder, positions: &[usize]) -> Result<(), Interrupt> {
    let ours = ours(run, recorder);
    let places: Vec<(usize, &KeepUntil, Place)> = own(&run.steps, recorder)
        .map(|(position, until, step, _)| (position, until, place(step, until)))
        .collect();
    let mut ends: BTreeMap<Place, Ends> = BTreeMap::new();
    for (position, until, place) in places {
        if let Some((oldest, newest)) = span(&ours, recorder, position).await? {
            let (first, last) = (until.period.after(oldest), until.period.after(newest));
            let slot = ends.entry(place).or_default();
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
        let ends = ends.get(&place(step, until)).copied().filter(|_| staying > 0).unwrap_or_default();
        seen.push((*position, number(staying), ends));
    }
    recorder
        .record(move |request, actor, now| {
            request.progressed();
            let looked =
                |(position, staying, ends)| request.keep_looked_at(position, staying, ends, actor, now);
            seen.into_iter().flat_map(looked).collect()
        })
        .await
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
