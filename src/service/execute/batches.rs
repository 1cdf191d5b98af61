//! One step at a time, one bounded transaction after the other. The record of batch n is written while batch n+1
//! runs, never more than one behind.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use super::{
    Run, calls,
    group::{Failure, booked, started},
    keys,
    pace::{Pace, REPEATS, step_aside},
    recorded,
    recorder::Recorder,
    trouble::Interrupt,
    verify,
};
use crate::{
    connectors::{Cursor, ErrorKind, NO_LIMIT, Work},
    domain::{
        compiled::{Action, Rows, Step},
        key::Tuple,
    },
    points::{self, Point},
};

/// Carries out one step: counts what it cuts, works in batches, and counts itself unless a later step does that
/// right before it cuts the path.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    if recorder.request.steps.get(position).is_some_and(|state| state.is_verified()) {
        return Ok(());
    }
    let with_root = step.is_root && !step.is_keep() && !step.is_recorded();
    for due in verify::due_before(&run.steps, position) {
        let last_count_is_with_root = with_root && !run.steps.get(due).is_some_and(is_counted_alone);
        // The first step that cuts a path counts it; after that a count would go through rows that are gone.
        let unverified = recorder.request.steps.get(due).is_some_and(|state| !state.is_verified());
        if unverified && !last_count_is_with_root {
            verify::verify(run, recorder, due).await?;
        }
    }
    recorder.defer(move |request, actor, now| started(request, position, actor, now).into_iter().collect());
    if with_root {
        root(run, recorder, position).await?;
    } else if !step.is_keep() {
        walk(run, recorder, position).await?;
    }
    if verify::is_verified_at_once(&run.steps, position) {
        verify::verify(run, recorder, position).await?;
    }
    recorder.flush().await
}

/// Kept rows and recorded masks are counted outside the root's transaction.
fn is_counted_alone(step: &Step) -> bool {
    step.is_keep() || step.is_recorded()
}

/// Works on every row that a step still finds.
pub async fn walk(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    if let Some(resource) = step.resource() {
        return calls::walk(run, recorder, position, step, resource).await;
    }
    if let Some(openers) = &step.openers {
        walk_rows(run, recorder, position, openers, true).await?;
    }
    walk_rows(run, recorder, position, &step.rows, false).await
}

async fn walk_rows(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    rows: &Rows,
    opener: bool,
) -> Result<(), Interrupt> {
    for alternative in 0..rows.any_of.len() {
        for (pass, bound) in keys::passes(run, recorder, rows, alternative).await?.into_iter().enumerate() {
            let keys = keys::bind(run, recorder, rows, alternative, &bound).await?;
            let log = run
                .steps
                .get(position)
                .and_then(|step| recorded::Log::new(step, position, alternative, pass));
            Walk { position, alternative, opener, log }.run(run, recorder, rows, &keys).await?;
        }
    }
    Ok(())
}

/// Masks just the rows that a count has found: a walk in key order would pass by those that lie behind it, and start
/// over on those that are masked.
pub async fn walk_found(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    left: &[recorded::Left],
) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let set = run.plan.key_sets.len();
    let rows = recorded::narrowed(&step.rows, set);
    for left in left {
        let mut keys = keys::bind(run, recorder, &step.rows, left.alternative, &left.pass).await?;
        for chunk in left.chunks() {
            keys.whole.insert(set, chunk);
            let log = Some(recorded::Log::of_found(position));
            Walk { position, alternative: left.alternative, opener: false, log }
                .run(run, recorder, &rows, &keys)
                .await?;
        }
    }
    Ok(())
}

/// Works on every row that a step still finds among those of a chunk of keys, bound as the key set of that number.
pub async fn walk_chunk(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    (set, chunk): (usize, Arc<Vec<Tuple>>),
) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    for alternative in 0..step.rows.any_of.len() {
        for pass in keys::passes(run, recorder, &step.rows, alternative).await? {
            let mut keys = keys::bind(run, recorder, &step.rows, alternative, &pass).await?;
            keys.whole.insert(set, chunk.clone());
            Walk { position, alternative, opener: false, log: None }
                .run(run, recorder, &step.rows, &keys)
                .await?;
        }
    }
    Ok(())
}

/// A walk over one alternative with one binding of its keys.
struct Walk {
    position: usize,
    alternative: usize,
    /// Of a mask whose new values are computed.
    log: Option<recorded::Log>,
    /// Rows that only have a column set to NULL so that a parent can go; they count for no step.
    opener: bool,
}

impl Walk {
    async fn run(
        &self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        rows: &Rows,
        keys: &crate::connectors::Keys,
    ) -> Result<(), Interrupt> {
        let Some(step) = run.steps.get(self.position) else { return Ok(()) };
        let mut cursor = Cursor::default();
        if let Some(log) = &self.log {
            cursor.after = log.resume(run, recorder).await?;
        }
        let root = (step.is_root && !self.opener).then_some(&run.plan.root);
        let work = Work { rows, action: &step.action, alternative: self.alternative, keys, root };
        let mut pace = Pace::new(run.service.pacing, &run.effort);
        let connector = run.connector(&step.connection)?;
        recorder.flush().await?;
        points::reached(Point::StepAnnounced);
        let mut unrecorded = 0;
        loop {
            let begun = Instant::now();
            let (ran, noted) = tokio::join!(
                pace.batch(connector, run.limits, step, &work, &mut cursor),
                self.note(recorder, unrecorded)
            );
            noted?;
            let (tx, batch) = ran?;
            recorder.check()?;
            if batch.affected > 0 {
                if let Some(log) = &self.log {
                    log.announce(run, recorder, &batch.recorded).await?;
                    points::reached(Point::MaskAnnounced);
                }
                recorder.before_commit()?;
            }
            points::reached(Point::BatchCommitting);
            tx.commit().await.map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
            points::reached(Point::BatchCommitted);
            unrecorded = batch.affected;
            run.service.metrics.batches.inc();
            run.service.metrics.rows_affected.inc_by(batch.affected);
            let pause = pace.took(begun.elapsed());
            if batch.done {
                return self.note(recorder, unrecorded).await;
            }
            recorder.rest(pause).await;
        }
    }

    /// DESIGN.md §5 (c) of one batch.
    async fn note(&self, recorder: &mut Recorder, affected: u64) -> Result<(), Interrupt> {
        if affected == 0 {
            return Ok(());
        }
        let (position, opener) = (self.position, self.opener);
        recorder
            .record(move |request, actor, _| {
                request.progressed();
                if opener {
                    let rows = json!({ "affected": affected });
                    let mut event = request.step_event(
                        position,
                        crate::domain::audit::EventName::StepBatch,
                        actor,
                        json!({ "opener": true, "attempt": request.attempt }),
                    );
                    event.rows = Some(rows);
                    return vec![event];
                }
                booked(request, position, affected, actor, json!({})).into_iter().collect()
            })
            .await?;
        points::reached(Point::BatchRecorded);
        Ok(())
    }
}

/// The person's own row, in one transaction with a last count of what hangs on it directly.
async fn root(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let due: Vec<usize> = verify::due_before(&run.steps, position)
        .into_iter()
        .filter(|due| !run.steps.get(*due).is_some_and(is_counted_alone))
        .collect();
    let (with_sets, countable): (Vec<usize>, Vec<usize>) =
        due.into_iter().partition(|due| run.steps.get(*due).is_some_and(Step::uses_key_sets));
    for position in with_sets {
        if recorder.request.steps.get(position).is_some_and(|state| !state.is_verified()) {
            verify::verify(run, recorder, position).await?;
        }
    }
    recorder.flush().await?;
    let mut left = position;
    for _ in 0..verify::ROUNDS {
        match root_repeated(run, recorder, step, &countable).await? {
            Root::Gone { affected, withheld } => {
                return record_root(run, recorder, position, affected, countable, withheld).await;
            }
            Root::Dirty(positions) => {
                for position in positions {
                    walk(run, recorder, position).await?;
                    left = position;
                }
            }
        }
    }
    Err(verify::still_there(run, left))
}

enum Root {
    /// Committed; with what stays of each step that was counted.
    Gone { affected: u64, withheld: Vec<u64> },
    /// Rolled back: these steps have rows again.
    Dirty(Vec<usize>),
}

/// One attempt, again after every deadlock or serialization failure.
async fn root_repeated(
    run: &Run<'_>,
    recorder: &mut Recorder,
    step: &Step,
    countable: &[usize],
) -> Result<Root, Interrupt> {
    let mut repeats = 0;
    loop {
        recorder.check()?;
        match root_attempt(run, recorder, step, countable).await {
            Ok(root) => return Ok(root),
            Err(Failure::Target(error)) if error.kind == ErrorKind::Conflict && repeats < REPEATS => {
                step_aside(repeats).await;
                repeats += 1;
            }
            Err(Failure::Target(error)) => {
                return Err(Interrupt::at(&error, &step.connection, Some(&step.name)));
            }
            Err(Failure::Interrupt(interrupt)) => return Err(interrupt),
        }
    }
}

async fn root_attempt(
    run: &Run<'_>,
    recorder: &mut Recorder,
    step: &Step,
    countable: &[usize],
) -> Result<Root, Failure> {
    let keys = run.keys();
    let mut tx = run.connector(&step.connection)?.begin(run.limits).await?;
    let mut dirty = Vec::new();
    let mut withheld = Vec::new();
    for position in countable {
        let Some(earlier) = run.steps.get(*position) else { continue };
        let mut wanted = vec![verify::counting(earlier, crate::connectors::CountOf::Remaining, &keys)];
        if matches!(earlier.action, Action::DeleteIfUnreferenced { .. }) {
            wanted.push(verify::counting(earlier, crate::connectors::CountOf::Matched, &keys));
        }
        let counts = tx.count(&wanted).await?;
        if counts.first().is_some_and(|remaining| *remaining > 0) {
            dirty.push(*position);
        }
        withheld.push(counts.get(1).copied().unwrap_or(0));
    }
    if !dirty.is_empty() {
        tx.rollback().await?;
        return Ok(Root::Dirty(dirty));
    }
    let work = Work {
        rows: &step.rows,
        action: &step.action,
        alternative: 0,
        keys: &keys,
        root: Some(&run.plan.root),
    };
    let batch = tx.batch(&work, &mut Cursor::default(), NO_LIMIT).await?;
    recorder.before_commit()?;
    points::reached(Point::RootCommitting);
    tx.commit().await?;
    points::reached(Point::RootCommitted);
    run.service.metrics.batches.inc();
    run.service.metrics.rows_affected.inc_by(batch.affected);
    Ok(Root::Gone { affected: batch.affected, withheld })
}

async fn record_root(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    affected: u64,
    counted: Vec<usize>,
    withheld: Vec<u64>,
) -> Result<(), Interrupt> {
    recorder
        .record(move |request, actor, _| {
            request.progressed();
            booked(request, position, affected, actor, json!({})).into_iter().collect()
        })
        .await?;
    points::reached(Point::RootRecorded);
    let counted: Vec<(usize, u64)> = counted
        .into_iter()
        .zip(withheld)
        .filter(|(position, _)| recorder.request.steps.get(*position).is_some_and(|step| !step.is_verified()))
        .collect();
    verify::record_verified(recorder, &counted, &run.steps).await
}
