//! Claims runs and carries them out, a few at a time, until the program stops.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use uuid::Uuid;

use super::Keeper;
use crate::{
    domain::{
        request::{Outcome, RunCode},
        run::{Run, Task},
    },
    points::{self, Point},
    service::{
        Service, backups,
        error::ServiceError,
        execute::{
            LeaseClock, give_back,
            lease::Renewal,
            trouble::{Interrupt, jitter},
        },
        replays, retention,
    },
    store::{ClaimedRun, StoreError},
};

/// How often an idle worker looks for runs that another process accepted.
const POLL: Duration = Duration::from_secs(1);
/// Runs that one process carries out at once: a backup that is being restored must not keep a policy back.
const AT_ONCE: usize = 3;

/// A run and the epoch under which it was claimed.
type Claim = (Uuid, i64);

/// Carries out runs until `stop` turns true; batches under way end first. `worker` is its name in the audit log.
pub async fn run(service: Arc<Service>, worker: String, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    // Those that have not come to their end.
    let mut at_work: HashSet<Claim> = HashSet::new();
    // A claim failed, and it is not known whether it was committed all the same.
    let mut is_in_doubt = false;
    while !*stop.borrow() {
        while let Some(ended) = running.try_join_next() {
            forget(&mut at_work, ended);
        }
        if is_in_doubt {
            is_in_doubt = !gave_back_lost(&service, &worker, &at_work).await;
        }
        let woken = service.runs_wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if running.len() < AT_ONCE {
            match claim(&service, None, &worker).await {
                Ok(Some((claimed, at))) => {
                    let (service, worker, stop) = (service.clone(), worker.clone(), stop.clone());
                    let claim = (claimed.run.id, claimed.lease.epoch);
                    at_work.insert(claim);
                    running.spawn(async move {
                        carry_out(&service, &worker, claimed, at, stop).await;
                        claim
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    is_in_doubt = true;
                    tracing::warn!(%error, "runs could not be claimed");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(POLL.mul_f64(0.5 + jitter())) => {}
            () = woken => {}
            Some(ended) = running.join_next() => forget(&mut at_work, ended),
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// A claim whose attempt panicked never ends here: its lease runs out.
fn forget(at_work: &mut HashSet<Claim>, ended: Result<Claim, JoinError>) {
    if let Ok(claim) = ended {
        at_work.remove(&claim);
    }
}

/// A claim that failed may have been committed all the same: nobody works under it, and nobody else may. False where the
/// store does not say.
async fn gave_back_lost(service: &Service, worker: &str, at_work: &HashSet<Claim>) -> bool {
    let given_back = async {
        for lease in service.store.unwritten_run_claims(worker).await? {
            if !at_work.contains(&(lease.id, lease.epoch)) {
                give_back::give_back(service, &lease).await?;
            }
        }
        Ok::<(), StoreError>(())
    };
    match given_back.await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "it is not known yet whether a run's claim was committed");
            false
        }
    }
}

async fn claim(
    service: &Service,
    id: Option<Uuid>,
    worker: &str,
) -> Result<Option<(ClaimedRun, Instant)>, StoreError> {
    let at = Instant::now();
    let pacing = service.pacing;
    let claimed = service.store.claim_run(id, worker, pacing.lease, pacing.max_attempts).await?;
    if claimed.is_some() {
        points::reached(Point::RunClaimed);
    }
    Ok(claimed.map(|claimed| (claimed, at)))
}

/// Carries out one run in this process, for as long as it can go on: the run as it is then.
///
/// # Errors
/// When the store does not answer.
pub async fn run_one(
    service: &Arc<Service>,
    id: Uuid,
    worker: &str,
    stop: watch::Receiver<bool>,
) -> Result<Run, ServiceError> {
    if let Some((claimed, at)) = claim(service, Some(id), worker).await? {
        carry_out(service, worker, claimed, at, stop).await;
    }
    super::read(service, id).await
}

/// Verifies a backup; one that is not ok is a run that failed, whatever hour it is looked at.
async fn verify(keeper: &mut Keeper, name: &str) -> Result<(), Interrupt> {
    keeper.check()?;
    let service = keeper.service.clone();
    let report = match backups::verify_as(&service, name, &keeper.run.created_by).await {
        Ok(report) => report,
        Err(ServiceError::BackupUnderWay) => return Err(Interrupt::Busy),
        Err(ServiceError::Store(error)) => return Err(error.into()),
        Err(ServiceError::NotFound) => {
            let detail = format!("the configuration has no backup `{name}` any more");
            return Err(Interrupt::trouble(RunCode::BackupNotOk, detail, None, None));
        }
        Err(error) => return Err(internal(error.to_string())),
    };
    if !report.ok {
        let detail = format!("the backup is not ok: {}", report.reason_words().join(", "));
        return Err(Interrupt::trouble(RunCode::BackupNotOk, detail, None, None));
    }
    keeper
        .record(move |run, actor, now| {
            run.report = json!({ "ok": true, "size": report.size, "tables": report.tables });
            vec![run.complete(Outcome::Done, actor, now)]
        })
        .await
}

fn internal(detail: impl Into<String>) -> Interrupt {
    Interrupt::trouble(RunCode::Internal, detail, None, None)
}

async fn carry_out(
    service: &Arc<Service>,
    worker: &str,
    claimed: ClaimedRun,
    claimed_at: Instant,
    stop: watch::Receiver<bool>,
) {
    let id = claimed.run.id;
    let claim = claimed.lease.clone();
    let lease = LeaseClock::new(claimed.lease, claimed_at, service.pacing.lease);
    let _renewal = Renewal::start(service.clone(), lease.clone());
    let mut keeper = Keeper::new(service.clone(), claimed.run, lease, worker, stop.clone());
    let done = match keeper.run.task.clone() {
        Task::Retention(name) => retention::carry_out(&mut keeper, &name).await,
        Task::Backup(name) => verify(&mut keeper, &name).await,
        Task::Replay => replays::carry_out(&mut keeper).await,
    };
    if let Err(interrupt) = done
        && let Err(error) = keeper.end(interrupt).await
    {
        tracing::warn!(run = %id, %error, "the end of an attempt was not recorded");
        give_back::after(&error, service, &claim, stop).await;
    }
}
