//! One run of a policy: what goes first goes first, batch by batch, until a fresh count finds nothing.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Counted, Held,
    archive::{self, Archived},
    fitted, interrupt, is_archive,
};
use crate::{
    connectors::{Cursor, Taken, Work},
    domain::{
        audit::EventName,
        compiled::Step,
        request::{Outcome, RunCode, StepState, StepStatus},
        retention::{CompiledPolicy, Matched, Moments, Policy},
        run::Params,
    },
    points::{self, Point},
    service::{
        execute::{
            COUNT_LIMIT, connector,
            pace::{Effort, Pace},
            session_limits,
            trouble::Interrupt,
        },
        runs::Keeper,
    },
};

/// How often rows that appear after the last batch are gone after.
const ROUNDS: usize = 3;

/// A policy as this run carries it out.
struct Going<'a> {
    policy: &'a Policy,
    compiled: CompiledPolicy,
    held: Held,
    steps: Vec<Step>,
}

impl Going<'_> {
    /// Holds that were placed, ended or widened meanwhile count from the next batch on.
    async fn refresh(&mut self, keeper: &Keeper) -> Result<(), Interrupt> {
        if keeper.service.store.held_now().await? != self.held.seen {
            self.held = Held::of(&keeper.service, self.policy, &self.compiled).await?;
            self.steps = self.compiled.steps(&self.held.kept);
        }
        Ok(())
    }
}

/// Carries out the policy of that name.
pub async fn carry_out(keeper: &mut Keeper, name: &str) -> Result<(), Interrupt> {
    keeper.check()?;
    let service = keeper.service.clone();
    let Params::Retention { policy_version, before } = keeper.run.params.clone() else {
        return Err(Interrupt::trouble(RunCode::Internal, "the run names no moment", None, None));
    };
    let Some(policy) = service.upkeep.policies.get(name) else {
        let detail = format!("the configuration has no retention policy `{name}` any more");
        return Err(Interrupt::trouble(RunCode::PolicyChanged, detail, None, None));
    };
    let moments = Moments { before, now: keeper.run.created_at };
    let compiled = fitted(&service, policy, moments).await.map_err(interrupt)?;
    if policy_version.is_some_and(|asked| asked != compiled.version) {
        let detail = "policy or schema are not what they were when this run was asked for: run it anew";
        return Err(Interrupt::trouble(RunCode::PolicyChanged, detail, None, None));
    }
    let held = Held::of(&service, policy, &compiled).await?;
    let steps = compiled.steps(&held.kept);
    let mut going = Going { policy, compiled, held, steps };
    let counted = count(keeper, &going).await?;
    match keeper.run.steps.is_empty() {
        true => {
            counted.require_few(policy).map_err(interrupt)?;
            start(keeper, &going, &counted).await?;
        }
        false => book_lost(keeper, &counted).await?,
    }
    let effort = Effort::default();
    for _ in 0..ROUNDS {
        for position in 0..going.steps.len() {
            walk(keeper, &mut going, &effort, position).await?;
        }
        going.refresh(keeper).await?;
        let left = count(keeper, &going).await?;
        if left.steps.iter().all(|step| step.matched == 0) {
            return finish(keeper, &going, &left).await;
        }
    }
    let detail = "rows are still there, or there again, after three rounds: something writes them meanwhile";
    Err(Interrupt::trouble(RunCode::RowsRemaining, detail, Some(&policy.connection.value), None))
}

async fn count(keeper: &Keeper, going: &Going<'_>) -> Result<Counted, Interrupt> {
    Counted::of(&keeper.service, going.policy, &going.compiled, &going.held, COUNT_LIMIT).await
}

/// What there is to do is on record before the first of it is done.
async fn start(keeper: &mut Keeper, going: &Going<'_>, counted: &Counted) -> Result<(), Interrupt> {
    let word = going.policy.action.value.as_str();
    let version = going.compiled.version.clone();
    let steps: Vec<StepState> = going
        .steps
        .iter()
        .zip(&counted.steps)
        .map(|(step, rows)| {
            let mut state = StepState::pending(&step.name, word);
            state.basis = Some(going.policy.basis.clone());
            state.rows_matched = i64::try_from(rows.matched + rows.withheld).ok();
            state.rows_withheld = i64::try_from(rows.withheld).unwrap_or(i64::MAX);
            state
        })
        .collect();
    keeper
        .record(move |run, actor, _| {
            run.steps = steps;
            if let Params::Retention { policy_version, .. } = &mut run.params {
                *policy_version = Some(version);
            }
            run.progressed();
            (0..run.steps.len())
                .map(|position| {
                    let counts = run.steps[position].counts();
                    run.step_event(position, EventName::StepStarted, actor, counts)
                })
                .collect()
        })
        .await?;
    points::reached(Point::RetentionStarted);
    Ok(())
}

/// Batches that were committed and that nobody could book any more: the process died in between.
async fn book_lost(keeper: &mut Keeper, counted: &Counted) -> Result<(), Interrupt> {
    // A row that a hold keeps by now is still there, whatever it was when the run began.
    let lost = |step: &StepState, there: &Matched| {
        let left = i64::try_from(there.matched + there.withheld).unwrap_or(i64::MAX);
        step.rows_matched.unwrap_or(0) - step.rows_affected - left
    };
    let found: Vec<(usize, u64)> = keeper
        .run
        .steps
        .iter()
        .zip(&counted.steps)
        .enumerate()
        .filter(|(_, (step, _))| step.status == StepStatus::InProgress)
        .filter_map(|(at, (step, left))| Some((at, u64::try_from(lost(step, left)).ok()?)))
        .filter(|(_, lost)| *lost > 0)
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    keeper
        .record(move |run, actor, _| {
            let mut events = Vec::new();
            for (position, affected) in found {
                if let Some(step) = run.steps.get_mut(position) {
                    step.book(affected);
                }
                let mut event =
                    run.step_event(position, EventName::StepBatch, actor, json!({ "affected": affected }));
                event.details = json!({ "attempt": run.attempt, "recovered": true });
                events.push(event);
            }
            events
        })
        .await?;
    points::reached(Point::RetentionRecovered);
    Ok(())
}

/// Works on every row that a step still finds.
async fn walk(
    keeper: &mut Keeper,
    going: &mut Going<'_>,
    effort: &Effort,
    position: usize,
) -> Result<(), Interrupt> {
    let service = keeper.service.clone();
    let limits = session_limits(&service);
    let connector = connector(&service, &going.policy.connection.value)?;
    let alternatives = going.steps.get(position).map_or(0, |step| step.rows.any_of.len());
    let mut pace = Pace::new(service.pacing, effort);
    for alternative in 0..alternatives {
        let mut cursor = Cursor::default();
        loop {
            keeper.check()?;
            going.refresh(keeper).await?;
            let Some(step) = going.steps.get(position) else { return Ok(()) };
            let keys = &going.held.keys;
            let work = Work { rows: &step.rows, action: &step.action, alternative, keys, root: None };
            begin(keeper, position).await?;
            let begun = Instant::now();
            let (tx, batch, archived) = match is_archive(going.policy) {
                true => {
                    let most = archive::MOST_ROWS;
                    let (tx, taken) = pace.take(connector, limits, step, &work, &mut cursor, most).await?;
                    let archived = put_away(keeper, &step.name, &taken).await?;
                    points::reached(Point::RetentionArchived);
                    (tx, taken.batch, archived)
                }
                false => {
                    let (tx, batch) = pace.batch(connector, limits, step, &work, &mut cursor).await?;
                    (tx, batch, None)
                }
            };
            keeper.before_commit()?;
            points::reached(Point::RetentionCommitting);
            tx.commit().await.map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
            points::reached(Point::RetentionCommitted);
            book(keeper, position, batch.affected, archived).await?;
            points::reached(Point::RetentionRecorded);
            service.metrics.batches.inc();
            service.metrics.rows_affected.inc_by(batch.affected);
            let rest = pace.took(begun.elapsed());
            if batch.done {
                break;
            }
            keeper.rest(rest).await;
        }
    }
    Ok(())
}

/// Writes rows to the object store before they go.
async fn put_away(keeper: &Keeper, table: &str, taken: &Taken) -> Result<Option<Archived>, Interrupt> {
    if taken.rows.is_empty() {
        return Ok(None);
    }
    let service = &keeper.service;
    let Some(archives) = &service.upkeep.archives else {
        let detail = "the configuration names no retention.archive";
        return Err(Interrupt::trouble(RunCode::PolicyChanged, detail, None, None));
    };
    let folder = format!("{}/{}", keeper.run.task.to_string().replace(':', "/"), keeper.run.id);
    archive::write(archives, &folder, table, service.clock.new_id(), taken).await.map(Some)
}

/// That a batch may be committed from here on is known before one is.
async fn begin(keeper: &mut Keeper, position: usize) -> Result<(), Interrupt> {
    let is_begun = |step: &StepState| step.status == StepStatus::InProgress;
    if keeper.run.steps.get(position).is_none_or(is_begun) {
        return Ok(());
    }
    keeper
        .record(move |run, _, now| {
            if let Some(step) = run.steps.get_mut(position) {
                step.status = StepStatus::InProgress;
                step.started_at.get_or_insert(now);
            }
            Vec::new()
        })
        .await
}

async fn book(
    keeper: &mut Keeper,
    position: usize,
    affected: u64,
    archived: Option<Archived>,
) -> Result<(), Interrupt> {
    if affected == 0 {
        return Ok(());
    }
    keeper
        .record(move |run, actor, _| {
            run.progressed();
            if let Some(step) = run.steps.get_mut(position) {
                step.book(affected);
            }
            let mut event =
                run.step_event(position, EventName::StepBatch, actor, json!({ "affected": affected }));
            if let (Some(archived), Some(details)) = (archived, event.details.as_object_mut()) {
                details.insert("object".to_owned(), json!(archived.object));
                details.insert("sha256".to_owned(), json!(archived.sha256));
            }
            vec![event]
        })
        .await
}

/// Fresh counts found nothing but what stays.
async fn finish(keeper: &mut Keeper, going: &Going<'_>, left: &Counted) -> Result<(), Interrupt> {
    let withheld: Vec<i64> =
        left.steps.iter().map(|rows| i64::try_from(rows.withheld).unwrap_or(i64::MAX)).collect();
    let stays = withheld.iter().any(|rows| *rows > 0) || left.unreadable > 0;
    let outcome = if stays { Outcome::DoneWithExceptions } else { Outcome::Done };
    let unreadable = left.unreadable;
    keeper
        .record(move |run, actor, now: DateTime<Utc>| {
            let mut events = Vec::new();
            for (position, withheld) in withheld.into_iter().enumerate() {
                if let Some(step) = run.steps.get_mut(position) {
                    step.verified(withheld, now);
                    let counts = step.counts();
                    events.push(run.step_event(position, EventName::StepVerified, actor, counts));
                }
            }
            if let Some(report) = run.report.as_object_mut() {
                report.insert("unreadable".to_owned(), json!(unreadable));
            }
            events.push(run.complete(outcome, actor, now));
            events
        })
        .await?;
    points::reached(Point::RetentionCompleted);
    if let Err(error) = connector(&keeper.service, &going.policy.connection.value)?.settle().await {
        tracing::debug!(connection = %going.policy.connection.value, %error, "not settled");
    }
    Ok(())
}
