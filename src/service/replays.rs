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
        request::{Kind, NEVER, Refusal, Replay, RunCode, RunError, Status, WithReason},
        run::{Params, Run, Task},
        vault::DataKey,
    },
    points::{self, Point},
    store::{Given, Inserted, StoreError},
};

mod preview;

pub use preview::{PlanEntries, Preview, preview};

/// Entries that are read at a time.
const PAGE: i64 = 100;
/// Requests of one run that may be open at once, so that people's own do not wait behind all of them.
const WINDOW: i64 = 500;
/// How far the clocks of workers may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(5);
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
    // Before the list: what ends in between is listed by the next attempt.
    let under_way = progress(keeper).await?.under_way;
    list(keeper).await?;
    // It had ended, and somebody retried it.
    if Progress::read(&keeper.run.report).is_some_and(|known| known.is_settled() && known.failed > 0) {
        take_up_again(keeper).await?;
    }
    let behind = submit(keeper).await?;
    settle(keeper, under_way, behind).await
}

/// From when on erasures are done again.
fn scope(run: &Run) -> Option<DateTime<Utc>> {
    match run.params {
        Params::Replay { since } => since.map(with_skew),
        _ => None,
    }
}

/// A time of people's clocks, on a worker's: earlier, since erasing once more does no harm.
fn with_skew(since: DateTime<Utc>) -> DateTime<Utc> {
    since.checked_sub_signed(SKEW).unwrap_or(since)
}

/// Fixes what is to be done, so that an entry whose time is over before its turn comes is counted, not forgotten. Later
/// attempts add the erasures that were under way then and have completed since.
async fn list(keeper: &mut Keeper) -> Result<(), Interrupt> {
    let is_first = Progress::read(&keeper.run.report).is_none();
    let from = if is_first { scope(&keeper.run) } else { Some(with_skew(keeper.run.created_at)) };
    let mut tx = keeper.service.store.begin().await?;
    let new = tx.list_replay(&keeper.run, from).await?;
    if !is_first {
        return Ok(tx.commit().await?);
    }
    let progress = Progress { entries: i64::try_from(new).unwrap_or(i64::MAX), ..Progress::default() };
    keeper
        .record_in(tx, move |run, _, _| {
            run.progressed();
            run.report = progress.report();
            Vec::new()
        })
        .await?;
    points::reached(Point::ReplayListed);
    Ok(())
}

async fn progress(keeper: &Keeper) -> Result<Progress, StoreError> {
    keeper.service.store.replay_progress(&keeper.run, scope(&keeper.run)).await
}

/// Entries whose person has an open request, which may be another person's too and so never stands for theirs.
#[derive(Default)]
struct Behind {
    all: i64,
    for_people: i64,
}

/// Makes requests for the entries that have none, as many as may be open at once.
async fn submit(keeper: &mut Keeper) -> Result<Behind, Interrupt> {
    let service = keeper.service.clone();
    let keys = ledger::keys(&service).await?;
    let mut behind = Behind::default();
    let mut after = None;
    loop {
        let known = progress(keeper).await?;
        if known.waiting - known.waiting_for_people >= WINDOW {
            return Ok(behind);
        }
        let page = service.store.replay_pending(keeper.run.id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(behind) };
        after = Some(last.entry);
        let mut has_moved = false;
        for item in page {
            keeper.check()?;
            match submit_one(&service, &keeper.run, &keys, &item).await? {
                None => has_moved = true,
                Some(open) => {
                    behind.all += 1;
                    behind.for_people += i64::from(is_left_to_people(&service, open).await?);
                }
            }
        }
        if !has_moved {
            continue;
        }
        service.wake.notify_one();
        let known = progress(keeper).await?;
        keeper
            .record(move |run, _, _| {
                run.progressed();
                // Only the end says that all is settled: a crash before it is no retry.
                if !known.is_settled() {
                    run.report = known.report();
                }
                Vec::new()
            })
            .await?;
        points::reached(Point::ReplayRecorded);
    }
}

async fn is_left_to_people(service: &Service, request: Uuid) -> Result<bool, StoreError> {
    let request = service.store.request(request).await?;
    Ok(request.is_some_and(|request| {
        matches!(request.status(), Status::Pending | Status::OnHold) || request.run_at >= NEVER
    }))
}

/// The open request of the person that is in the way, if there is one.
async fn submit_one(
    service: &Service,
    run: &Run,
    keys: &BTreeMap<String, DataKey>,
    item: &Item,
) -> Result<Option<Uuid>, Interrupt> {
    match accepted(service, run, keys, item).await? {
        Ok(accepted) => insert(service, accepted, item).await,
        Err(why) => settle_one(service, item, Fate::NotSubmitted(why)).await.map(|()| None),
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
    if !kept.is_of(&plan.root) {
        return Ok(Err(NotSubmitted::UnfitIdentities));
    }
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
    match accept(service, &run.created_by, &plan, &submission, Some((replay, kept.others))) {
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
/// erasure already, that one is waited for: its tables may have been done before the restore.
async fn insert(service: &Service, accepted: Accepted, item: &Item) -> Result<Option<Uuid>, Interrupt> {
    let Accepted { mut request, refs, places, secrets, created, .. } = accepted;
    let keys = service.pseudonyms.of(service, request.created_at).await?;
    let given = Given { refs: &refs, places: &places, keys: &keys };
    let mut tx = service.store.begin().await?;
    let inserted = tx.insert_request(&mut request, vec![created], &secrets, None, given).await?;
    match inserted {
        Inserted::Ok => {
            // Another worker has the run, and has made the request: this one is taken back with the transaction.
            if !tx.put_fate(item, Fate::Submitted(request.id, None)).await? {
                tx.rollback().await?;
                return Err(Interrupt::LeaseLost);
            }
            tx.commit().await?;
            points::reached(Point::ReplaySubmitted);
            Ok(None)
        }
        Inserted::Duplicate(open) => {
            tx.rollback().await?;
            Ok(Some(open))
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
                        // The ledger still knows whom it was about, but not what could be found only through rows
                        // that the request has erased.
                        Err(
                            ServiceError::Refused(Refusal::IdentitiesDestroyed) | ServiceError::Duplicate(_),
                        ) => {
                            let request = service.store.request(id).await?;
                            if request.is_none_or(|request| !request.touched) {
                                settle_one(&service, item, Fate::Pending).await?;
                            }
                        }
                        // Somebody retried it already, or cancelled it: it is looked at again at the next end.
                        Ok(_) | Err(ServiceError::Refused(_)) => {}
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
async fn settle(keeper: &mut Keeper, under_way: i64, behind: Behind) -> Result<(), Interrupt> {
    let mut progress = progress(keeper).await?;
    progress.under_way = progress.under_way.max(under_way);
    progress.behind_others = behind.all;
    progress.waiting_for_people += behind.for_people;
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
    let max_attempts = keeper.service.pacing.max_attempts;
    // The report and the end in one: a settled report is that of a run that somebody may retry.
    keeper
        .record(move |run, actor, now| {
            run.report = progress.report();
            match incomplete(run, progress) {
                None => vec![run.complete(progress.outcome(), actor, now)],
                Some(error) => run.troubled(error, actor, now, now, max_attempts),
            }
        })
        .await?;
    points::reached(Point::ReplaySettled);
    Ok(())
}

/// Why a run that is settled has failed.
fn incomplete(run: &Run, progress: Progress) -> Option<RunError> {
    let detail = format!(
        "{} of {} erasures were not done again: /v1/replays/{} says which and why; mend that and retry the run",
        progress.failed, progress.entries, run.id
    );
    let code = RunCode::ReplayIncomplete;
    (progress.failed > 0).then_some(RunError { code, detail, connection: None, step: None, cause: None })
}

fn pause(waits: i32) -> TimeDelta {
    let times = 2_u32.saturating_pow(u32::try_from(waits.clamp(0, 10)).unwrap_or_default());
    TimeDelta::from_std(LOOK.saturating_mul(times).min(LOOK_CAP)).unwrap_or_default()
}
