//! Rectification (GDPR Art. 16): all changes of one connection in one target transaction, tried before anything is
//! written anywhere, and read back afterwards.
//!
//! A correction is told from a row that still needs it by the value itself, so that a request that was killed finds what
//! is left. A step whose rows a later one of the same transaction makes unfindable is counted right before that.

use std::{ops::Range, sync::Arc};

use serde_json::{Value, json};

use super::{
    Run,
    group::{self, Failure, booked, started},
    keys,
    recorder::Recorder,
    trouble::Interrupt,
    verify,
};
use crate::{
    connectors::{ConnectorError, CountOf, Cursor, ErrorKind, Keys, NO_LIMIT, Tx, Work},
    domain::{
        agreement::unknown_identities,
        compiled::{Action, Resource, ResourceAct, Step},
        key::Tuple,
        rectification::{Identities, lasting_refs, renamed_columns},
        request::{RunCode, StepState},
    },
    points::{self, Point},
};

impl Step {
    /// What the audit tells of a batch: the columns, never their values.
    pub(super) fn written_columns(&self) -> Value {
        match &self.action {
            Action::Rectify(rectification) => json!({ "columns": rectification.names() }),
            Action::Http(Resource { act: ResourceAct::Rectify { new, .. }, .. }) => {
                json!({ "fields": new.0.keys().collect::<Vec<_>>() })
            }
            _ => json!({}),
        }
    }
}

/// True for steps that correct a database; those at services go resource by resource.
pub fn is_of_database(run: &Run<'_>, group: &Range<usize>) -> bool {
    run.steps.get(group.start).is_some_and(|step| step.rectification().is_some())
}

/// One transaction takes them all, and keeps others from these rows meanwhile.
const MOST_ROWS: u64 = 100_000;

/// Refuses corrections of more rows than one transaction should hold.
pub fn require_few(run: &Run<'_>, counts: &[u64]) -> Result<(), Interrupt> {
    for group in group::groups(&run.steps) {
        let Some(step) = run.steps.get(group.start).filter(|step| step.rectification().is_some()) else {
            continue;
        };
        let rows: u64 = counts.get(group).unwrap_or_default().iter().sum();
        if rows > MOST_ROWS {
            let detail = format!(
                "it would change {rows} rows in one transaction, and {MOST_ROWS} are the most: nothing was touched; \
                 correct copies of the value by hand, and leave `cascade` out"
            );
            let code = RunCode::InvalidChanges;
            return Err(Interrupt::trouble(code, detail, Some(&step.connection), None));
        }
    }
    Ok(())
}

/// Asks every connection whether it takes the values, before the first of them is written to.
pub async fn try_all(run: &Run<'_>, recorder: &Recorder) -> Result<(), Interrupt> {
    for group in group::groups(&run.steps) {
        let first = run.steps.get(group.start).filter(|step| step.rectification().is_some());
        let Some(connection) = first.map(|step| step.connection.clone()) else { continue };
        let mut tx = run
            .connector(&connection)?
            .begin(run.limits)
            .await
            .map_err(|error| Interrupt::at(&error, &connection, None))?;
        for position in group {
            let Some(step) = run.steps.get(position) else { continue };
            let keys = keys::bind_all(run, recorder, &step.rows).await?;
            let tried = tx.trial(&work(run, step, &keys)).await;
            tried.map_err(|error| Interrupt::at(&error, &connection, Some(&step.name)))?;
        }
        tx.rollback().await.map_err(|error| Interrupt::at(&error, &connection, None))?;
    }
    Ok(())
}

fn work<'a>(run: &'a Run<'_>, step: &'a Step, keys: &'a Keys) -> Work<'a> {
    let root = step.is_root.then_some(&run.plan.root);
    Work { rows: &step.rows, action: &step.action, alternative: 0, keys, root }
}

/// Carries out the steps of one connection and leaves each of them verified.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder, group: Range<usize>) -> Result<(), Interrupt> {
    let steps = recorder.request.steps.get(group.clone()).unwrap_or_default();
    if steps.iter().all(StepState::is_verified) {
        return Ok(());
    }
    let Some(connection) = run.steps.get(group.start).map(|step| step.connection.clone()) else {
        return Ok(());
    };
    let announced = group.clone();
    recorder
        .record(move |request, actor, now| {
            announced.filter_map(|position| started(request, position, actor, now)).collect()
        })
        .await?;
    let all_keys = bind(run, recorder, &group).await?;
    let affected = repeated(run, recorder, &group, &connection, &all_keys, Ending::Commit).await?;
    book(run, recorder, group.clone(), affected).await?;
    read_back(run, recorder, group).await
}

/// What each step's rows are found by.
async fn bind(run: &Run<'_>, recorder: &Recorder, group: &Range<usize>) -> Result<Vec<Keys>, Interrupt> {
    let mut all_keys = Vec::new();
    for step in run.steps.get(group.clone()).unwrap_or_default() {
        all_keys.push(keys::bind_all(run, recorder, &step.rows).await?);
    }
    Ok(all_keys)
}

/// What becomes of the target transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Commit,
    Rollback,
}

/// Writes everything in every database and takes it back, where more than one takes part: what a constraint or a
/// trigger refuses in one is known before another has changed.
pub async fn rehearse(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    let groups = group::groups(&run.steps);
    if groups.len() < 2 {
        return Ok(());
    }
    for group in groups {
        let first = run.steps.get(group.start).filter(|step| step.rectification().is_some());
        let Some(connection) = first.map(|step| step.connection.clone()) else { continue };
        let all_keys = bind(run, recorder, &group).await?;
        repeated(run, recorder, &group, &connection, &all_keys, Ending::Rollback).await?;
    }
    Ok(())
}

/// An identity changes only when nobody is left who was submitted before and would look for the old one, and where its own
/// plan knows that it is one.
pub async fn require_turn(run: &Run<'_>, recorder: &Recorder) -> Result<(), Interrupt> {
    require_known(run).await?;
    if !identities(run).are_changed() {
        return Ok(());
    }
    let refs = lasting_refs(&run.plan, &run.service.vault, &run.steps, &run.root);
    let Some(other) = run.service.store.open_before(recorder.request.id, &refs).await? else { return Ok(()) };
    Err(Interrupt::trouble(
        RunCode::SubjectBusy,
        format!(
            "request {other} of this person was submitted before, is still open, and may look for the identity that this \
             one would change: it goes first; nothing was touched"
        ),
        None,
        None,
    ))
}

/// Loaded together such plans are refused; a request may pin one of an earlier load, or of another process.
async fn require_known(run: &Run<'_>) -> Result<(), Interrupt> {
    for other in run.service.plans.at_work(run.service).await? {
        for step in run.steps.iter() {
            if let Some(column) = unknown_identities(&run.plan, step, &other).first() {
                let detail = format!(
                    "plan `{}` knows persons by `{}.{column}`, which plan `{}` would correct without telling it: nothing \
                     was touched; make it an identity of this plan too, or correct it with that plan",
                    other.name, step.name, run.plan.name
                );
                let code = RunCode::InvalidChanges;
                return Err(Interrupt::trouble(code, detail, Some(&step.connection), Some(&step.name)));
            }
        }
    }
    Ok(())
}

pub fn identities(run: &Run<'_>) -> Identities {
    Identities::of(&run.plan, &run.service.vault, &run.steps, &run.root)
}

fn has_root(run: &Run<'_>, group: &Range<usize>) -> bool {
    run.steps.get(group.clone()).unwrap_or_default().iter().any(|step| step.is_root)
}

async fn repeated(
    run: &Run<'_>,
    recorder: &mut Recorder,
    group: &Range<usize>,
    connection: &str,
    all_keys: &[Keys],
    ending: Ending,
) -> Result<Vec<u64>, Interrupt> {
    let mut repeats = 0;
    loop {
        recorder.check()?;
        match attempt(run, recorder, group, connection, all_keys, ending).await {
            Ok(affected) => return Ok(affected),
            Err(Failure::Target(error)) if error.kind == ErrorKind::Conflict && repeats < group::REPEATS => {
                repeats += 1
            }
            Err(Failure::Target(error)) => return Err(Interrupt::at(&error, connection, None)),
            Err(Failure::Interrupt(interrupt)) => return Err(interrupt),
        }
    }
}

/// One transaction: tried again, since rows may have changed meanwhile, then written. What a step leaves behind it is
/// counted before a later one cuts its path.
async fn attempt(
    run: &Run<'_>,
    recorder: &mut Recorder,
    group: &Range<usize>,
    connection: &str,
    all_keys: &[Keys],
    ending: Ending,
) -> Result<Vec<u64>, Failure> {
    let steps: Vec<(usize, &Step, &Keys)> = group
        .clone()
        .zip(all_keys)
        .filter_map(|(position, keys)| Some((position, run.steps.get(position)?, keys)))
        .collect();
    let refused = |error: ConnectorError, step: Option<&Step>| {
        let step = step.map(|step| step.name.as_str());
        match error.kind {
            ErrorKind::Conflict => Failure::Target(error),
            // No other row stands in the way: it is the value itself, and waiting does not help.
            ErrorKind::CheckViolation | ErrorKind::UnfitValue => {
                let refused = ConnectorError { kind: ErrorKind::InvalidValue, ..error };
                Failure::Interrupt(Interrupt::at(&refused, connection, step))
            }
            _ => Failure::Interrupt(Interrupt::at(&error, connection, step)),
        }
    };
    let at_step = |error: ConnectorError, step: &Step| refused(error, Some(step));
    let mut tx = run.connector(connection)?.begin(run.limits).await?;
    for (_, step, keys) in &steps {
        tx.trial(&work(run, step, keys)).await.map_err(|error| at_step(error, step))?;
    }
    let mut affected = Vec::new();
    let mut uncounted: Vec<usize> = Vec::new();
    for (position, step, keys) in &steps {
        let due: Vec<usize> = step.cuts.iter().copied().filter(|cut| uncounted.contains(cut)).collect();
        for (due, step, keys) in steps.iter().filter(|(position, ..)| due.contains(position)) {
            let left = count(&mut tx, step, CountOf::Remaining, keys).await;
            if left.map_err(|error| at_step(error, step))? > 0 {
                return Err(not_held(run, *due).into());
            }
        }
        uncounted.retain(|position| !due.contains(position));
        let done = write(run, &mut tx, step, keys).await.map_err(|error| at_step(error, step))?;
        affected.push(done.ok_or_else(|| not_held(run, *position))?);
        uncounted.push(*position);
    }
    for (position, step, keys) in steps.iter().filter(|(position, ..)| uncounted.contains(position)) {
        let left = count(&mut tx, step, CountOf::Remaining, keys).await;
        if left.map_err(|error| at_step(error, step))? > 0 {
            return Err(not_held(run, *position).into());
        }
    }
    tx.check_constraints().await.map_err(|error| refused(error, None))?;
    if ending == Ending::Rollback {
        tx.rollback().await?;
        return Ok(affected);
    }
    recorder.before_commit()?;
    points::reached(Point::RectificationCommitting);
    tx.commit().await?;
    points::reached(Point::RectificationCommitted);
    Ok(affected)
}

async fn count(tx: &mut Box<dyn Tx>, step: &Step, of: CountOf, keys: &Keys) -> Result<u64, ConnectorError> {
    let counted = tx.count(&[verify::counting(step, of, keys)]).await?;
    Ok(counted.first().copied().unwrap_or(0))
}

/// The rows that were changed; `None` where not all of them hold what was written. A copy of the person's value is
/// found no more by the old one, and must be by the new one.
async fn write(
    run: &Run<'_>,
    tx: &mut Box<dyn Tx>,
    step: &Step,
    keys: &Keys,
) -> Result<Option<u64>, ConnectorError> {
    let new = run.plan.root.corrected(&run.root, &run.steps);
    let mut renamed = renamed_columns(&run.plan, &run.steps, step, &run.root).peekable();
    let is_renamed = renamed.peek().is_some();
    // In another case alone: where that does not count, the new value finds the same rows as the old one.
    let compared = |tuple: &Tuple, at: usize| tuple.get(at).cloned().flatten().map(|key| key.compared(true));
    let is_respelt = renamed.all(|(_, at)| compared(&run.root, at) == compared(&new, at));
    let renewed = is_renamed.then(|| Keys { root: Arc::new(new), ..keys.clone() });
    let before = match &renewed {
        Some(renewed) if !is_respelt => count(tx, step, CountOf::Matched, renewed).await?,
        _ => 0,
    };
    let affected = tx.batch(&work(run, step, keys), &mut Cursor::default(), NO_LIMIT).await?.affected;
    if let Some(renewed) = &renewed
        && count(tx, step, CountOf::Matched, renewed).await? < before + affected
    {
        return Ok(None);
    }
    Ok(Some(affected))
}

fn not_held(run: &Run<'_>, position: usize) -> Interrupt {
    let step = run.steps.get(position);
    Interrupt::trouble(
        RunCode::RowsRemaining,
        "rows of this person do not hold the new values after they were written: something changes them, as a trigger \
         may",
        step.map(|step| step.connection.as_str()),
        step.map(|step| step.name.as_str()),
    )
}

/// DESIGN.md §5 (c).
async fn book(
    run: &Run<'_>,
    recorder: &mut Recorder,
    group: Range<usize>,
    affected: Vec<u64>,
) -> Result<(), Interrupt> {
    let total: u64 = affected.iter().sum();
    if total == 0 {
        return Ok(());
    }
    let columns: Vec<Value> =
        run.steps.get(group.clone()).unwrap_or_default().iter().map(Step::written_columns).collect();
    recorder
        .record(move |request, actor, _| {
            request.progressed();
            let done = group.zip(affected).zip(columns);
            done.filter_map(|((position, affected), columns)| {
                booked(request, position, affected, actor, columns)
            })
            .collect()
        })
        .await?;
    points::reached(Point::RectificationRecorded);
    run.service.metrics.batches.inc();
    run.service.metrics.rows_affected.inc_by(total);
    Ok(())
}

/// Fresh counts of what is committed, in a session of their own, then the record of what they proved. With the person's
/// row its new pseudonyms become known.
async fn read_back(run: &Run<'_>, recorder: &mut Recorder, group: Range<usize>) -> Result<(), Interrupt> {
    for position in group.clone() {
        if verify::count(run, recorder, position, CountOf::Remaining).await? > 0 {
            return Err(not_held(run, position));
        }
    }
    let keys = recorder.keys().await?;
    let mut tx = run.service.store.begin().await?;
    if has_root(run, &group) && run.found() {
        // Nobody has the old ones any more, and somebody else may get them.
        let identities = identities(run);
        let staying: Vec<_> =
            identities.before.iter().filter(|old| identities.after.contains(old)).cloned().collect();
        // One that was placed meanwhile knows the row as it was.
        tx.widen_holds(&identities.before, &identities.gained(), &keys).await?;
        tx.narrow_holds(&identities.given_up(), &staying).await?;
        tx.move_consents(&identities, &keys).await?;
    }
    let columns: Vec<Value> =
        run.steps.get(group.clone()).unwrap_or_default().iter().map(Step::written_columns).collect();
    recorder
        .record_in(tx, move |request, actor, now| {
            request.progressed();
            let mut events = Vec::new();
            for (position, columns) in group.zip(columns) {
                if request.steps.get(position).is_some_and(StepState::is_verified) {
                    continue;
                }
                let mut told = verify::verified(request, position, 0, false, actor, now);
                for details in told.iter_mut().filter_map(|event| event.details.as_object_mut()) {
                    details.extend(columns.as_object().cloned().unwrap_or_default());
                }
                events.extend(told);
            }
            events
        })
        .await?;
    points::reached(Point::RectificationVerified);
    Ok(())
}
