//! Replays: after a restore, everybody whom the ledger knows to have been erased is erased again, each by an ordinary
//! request of their own. The run makes the requests, waits for them, and ends `completed` only when each of them has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Service, actions,
    error::ServiceError,
    execute::trouble::Interrupt,
    intake::{Accepted, CLOCK_SKEW, Submission, accept},
    ledger,
    readings::Reader,
    registry::Availability,
    runs::{self, Asked, Keeper},
};
use crate::{
    domain::{
        compiled::CompiledPlan,
        replay::{Fate, Item, NotSubmitted, Progress},
        request::{Kind, Refusal, Replay, RunCode, Status, WithReason},
        run::{Params, Run, Task},
        vault::DataKey,
    },
    store::{Inserted, StoreError},
};

mod preview;

pub use preview::{PlanEntries, Preview, preview};

/// Entries that are read at a time.
const PAGE: i64 = 100;
/// Requests of one run that may be open at once, so that people's own do not wait behind all of them.
const WINDOW: i64 = 500;
/// How often is looked again while requests end, and at most while none does.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_CAP: Duration = Duration::from_secs(60);

/// Asks for a run over the erasures that were completed from `since` on; `None`: all that the ledger holds.
///
/// # Errors
/// When that lies in the future, or another replay is not over.
pub async fn begin(
    service: &Service,
    since: Option<DateTime<Utc>>,
    asked: Asked,
) -> Result<(Run, bool), ServiceError> {
    require_past(service, since)?;
    runs::begin_with(service, Task::Replay, Params::Replay { since }, asked).await
}

fn require_past(service: &Service, since: Option<DateTime<Utc>>) -> Result<(), ServiceError> {
    match since.is_some_and(|since| since > service.clock.now() + CLOCK_SKEW) {
        true => Err(ServiceError::SinceInFuture),
        false => Ok(()),
    }
}

/// A page of what a run has to do, in the order of the ledger.
///
/// # Errors
/// `NotFound` when there is no such replay.
pub async fn items(
    service: &Service,
    run: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Item>, ServiceError> {
    if runs::read(service, run).await?.task != Task::Replay {
        return Err(ServiceError::NotFound);
    }
    Ok(service.store.replay_items(run, after, limit).await?)
}

/// One attempt: makes the requests that are missing, then ends the run or looks again later.
pub(super) async fn carry_out(keeper: &mut Keeper) -> Result<(), Interrupt> {
    keeper.check()?;
    match Progress::read(&keeper.run.report) {
        None => list(keeper).await?,
        // It had ended, and somebody retried it.
        Some(progress) if progress.is_settled() && progress.failed > 0 => take_up_again(keeper).await?,
        Some(_) => {}
    }
    submit(keeper).await?;
    settle(keeper).await
}

/// Fixes what is to be done: an entry whose time is over before its turn comes is counted, not forgotten.
async fn list(keeper: &mut Keeper) -> Result<(), Interrupt> {
    let since = match keeper.run.params {
        Params::Replay { since } => since,
        _ => None,
    };
    let mut tx = keeper.service.store.begin().await?;
    let entries = tx.list_replay(keeper.run.id, since).await?;
    let progress = Progress { entries: i64::try_from(entries).unwrap_or(i64::MAX), ..Progress::default() };
    keeper
        .record_in(tx, move |run, _, _| {
            run.progressed();
            run.report = progress.report();
            Vec::new()
        })
        .await
}

async fn progress(keeper: &Keeper) -> Result<Progress, StoreError> {
    let entries = Progress::read(&keeper.run.report).unwrap_or_default().entries;
    keeper.service.store.replay_progress(keeper.run.id, entries).await
}

/// Makes requests for the entries that have none, as many as may be open at once.
async fn submit(keeper: &mut Keeper) -> Result<(), Interrupt> {
    let service = keeper.service.clone();
    let keys = ledger::keys(&service).await?;
    loop {
        let known = progress(keeper).await?;
        if known.waiting - known.waiting_for_people >= WINDOW {
            return Ok(());
        }
        let page = service.store.replay_pending(keeper.run.id, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for item in page {
            keeper.check()?;
            submit_one(&service, &keeper.run, &keys, &item).await?;
        }
        service.wake.notify_one();
        let report = progress(keeper).await?.report();
        keeper
            .record(move |run, _, _| {
                run.progressed();
                run.report = report;
                Vec::new()
            })
            .await?;
    }
}

async fn submit_one(
    service: &Service,
    run: &Run,
    keys: &BTreeMap<String, DataKey>,
    item: &Item,
) -> Result<(), Interrupt> {
    match accepted(service, run, keys, item).await? {
        Ok(accepted) => insert(service, accepted, item).await,
        Err(why) => settle_one(service, item, Fate::NotSubmitted(why)).await,
    }
}

/// The request that erases again, or why there can be none.
async fn accepted(
    service: &Service,
    run: &Run,
    keys: &BTreeMap<String, DataKey>,
    item: &Item,
) -> Result<Result<Accepted, NotSubmitted>, Interrupt> {
    let Some(entry) = service.store.ledger_entry(item.entry).await? else {
        return Ok(Err(NotSubmitted::Expired));
    };
    let Some(kept) = ledger::open(keys, &entry) else { return Ok(Err(NotSubmitted::Unreadable)) };
    let Some(plan) = plan(service, &item.plan).await? else { return Ok(Err(NotSubmitted::UnknownPlan)) };
    let submission = Submission {
        kind: Kind::Erasure,
        plan: item.plan.clone(),
        subject: kept.identities,
        external_id: None,
        reason: None,
        submitted_at: None,
        identity_check: None,
        export: None,
        changes: None,
        idempotency: None,
    };
    let replay = Replay { of: item.erasure, run: run.id, found: kept.found };
    match accept(service, &run.created_by, &plan, &submission, Some(replay)) {
        Ok(accepted) => Ok(Ok(accepted)),
        Err(ServiceError::Subject(_)) => Ok(Err(NotSubmitted::UnfitIdentities)),
        Err(error) => Err(Interrupt::trouble(RunCode::Internal, error.to_string(), None, None)),
    }
}

/// The plan as new requests pin it. A process that offers none itself goes by what was registered last.
async fn plan(service: &Service, name: &str) -> Result<Option<Arc<CompiledPlan>>, Interrupt> {
    match service.plans.current(name) {
        Some(Availability::Registered(offered)) => Ok(Some(offered.compiled)),
        Some(Availability::NeverCompiled) => {
            let detail = format!("plan `{name}` could not be compiled yet: one of its connections is down");
            Err(Interrupt::trouble(RunCode::ConnectionUnavailable, detail, None, None))
        }
        None if service.plans.names().is_empty() => service.plans.last(service, name).await,
        None => Ok(None),
    }
}

/// The request and what it stands for, in one transaction: a crash leaves both or neither. Where the person has an open
/// erasure already, that one is waited for.
async fn insert(service: &Service, accepted: Accepted, item: &Item) -> Result<(), Interrupt> {
    let Accepted { mut request, refs, places, secrets, created, .. } = accepted;
    let mut tx = service.store.begin().await?;
    let inserted = tx.insert_request(&mut request, vec![created], &secrets, None, &refs, &places).await?;
    match inserted {
        Inserted::Ok => {
            // Another worker has the run, and has made the request: this one is taken back with the transaction.
            if !tx.put_fate(item, Fate::Submitted(request.id, None)).await? {
                tx.rollback().await?;
                return Err(Interrupt::LeaseLost);
            }
            Ok(tx.commit().await?)
        }
        Inserted::Duplicate(open) => {
            tx.rollback().await?;
            settle_one(service, item, Fate::Submitted(open, None)).await
        }
        Inserted::IdempotencyConflict => {
            tx.rollback().await?;
            Err(Interrupt::trouble(RunCode::Internal, "a key that was not given is taken", None, None))
        }
    }
}

async fn settle_one(service: &Service, item: &Item, fate: Fate) -> Result<(), Interrupt> {
    let mut tx = service.store.begin().await?;
    let is_own = tx.put_fate(item, fate).await?;
    tx.commit().await?;
    if is_own { Ok(()) } else { Err(Interrupt::LeaseLost) }
}

/// Goes on with what had failed: a failed request is retried, since it may hold keys that nothing else finds; where it
/// was cancelled or denied, or there was none, another one is made.
async fn take_up_again(keeper: &mut Keeper) -> Result<(), Interrupt> {
    let service = keeper.service.clone();
    let by = keeper.run.created_by.clone();
    let reader = Reader { sub: by, every_request: true, identities: false, own: false };
    let mut after = None;
    loop {
        let page = service.store.replay_items(keeper.run.id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.entry);
        for item in page.iter().filter(|item| item.fate.has_failed()) {
            keeper.check()?;
            match item.fate {
                Fate::Submitted(id, Some((Status::Failed, _))) => {
                    match actions::retry(&service, &reader, id, WithReason::None).await {
                        // The ledger still knows whom it was about.
                        Err(ServiceError::Refused(Refusal::IdentitiesDestroyed)) => {
                            settle_one(&service, item, Fate::Pending).await?;
                        }
                        // Somebody retried it already, or cancelled it: it is looked at again at the next end.
                        Ok(_) | Err(ServiceError::Refused(_)) => {}
                        Err(ServiceError::Duplicate(Some(open))) => {
                            settle_one(&service, item, Fate::Submitted(open, None)).await?;
                        }
                        Err(ServiceError::Store(error)) => return Err(error.into()),
                        Err(error) => {
                            return Err(Interrupt::trouble(RunCode::Internal, error.to_string(), None, None));
                        }
                    }
                }
                _ => settle_one(&service, item, Fate::Pending).await?,
            }
        }
    }
}

/// Ends the run, or gives it back for as long as its requests need.
async fn settle(keeper: &mut Keeper) -> Result<(), Interrupt> {
    let progress = progress(keeper).await?;
    let has_moved = Progress::read(&keeper.run.report) != Some(progress);
    if !progress.is_settled() {
        return keeper
            .record(move |run, _, now| {
                match has_moved {
                    true => run.progressed(),
                    false => run.waits += 1,
                }
                run.report = progress.report();
                run.given_back(now + pause(run.waits));
                Vec::new()
            })
            .await;
    }
    keeper
        .record(move |run, actor, now| {
            run.report = progress.report();
            let ends = progress.failed == 0;
            ends.then(|| run.complete(progress.outcome(), actor, now)).into_iter().collect()
        })
        .await?;
    if progress.failed == 0 {
        return Ok(());
    }
    let detail = format!(
        "{} of {} erasures were not done again: /v1/replays/{} says which and why; mend that and retry the run",
        progress.failed, progress.entries, keeper.run.id
    );
    Err(Interrupt::trouble(RunCode::ReplayIncomplete, detail, None, None))
}

fn pause(waits: i32) -> TimeDelta {
    let times = 2_u32.saturating_pow(u32::try_from(waits.clamp(0, 10)).unwrap_or_default());
    TimeDelta::from_std(LOOK.saturating_mul(times).min(LOOK_CAP)).unwrap_or_default()
}
