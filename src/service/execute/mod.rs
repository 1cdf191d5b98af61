//! Carries out one claimed request, step by step and batch by batch (DESIGN.md §5). The order of writes is what
//! makes it survive: (a) the resolved person, the counts and the sealed keys before the first target commit;
//! (b) the target commit; (c) what it did. Killed anywhere, the next claim goes on from there.

mod batches;
mod calls;
mod code;
mod corrected;
mod export;
pub mod give_back;
mod group;
mod keeps;
mod keys;
pub(super) mod lease;
mod ledger;
mod manual;
pub(super) mod pace;
mod recorded;
mod recorder;
mod rectify;
mod resolve;
mod resume;
pub mod trouble;
mod verify;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Service, packages};
use crate::{
    connectors::{Connector, Limits},
    domain::{
        compiled::{CompiledPlan, Step},
        key::Tuple,
        request::{Confidential, Kind, RunCode},
        vault::DataKey,
    },
    store::Claimed,
};
pub(super) use corrected::corrected_by;
pub(super) use keys::{data_key, root_tuple, uses_sets as uses_key_sets};
pub use lease::LeaseClock;
use pace::Effort;
use recorder::Recorder;
pub(super) use resolve::COUNT_LIMIT;
use trouble::Interrupt;

/// How often a lock conflict with another request of the same person looks again, at most.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// Carries out a claimed request until it ends, has to wait, or the worker stops. `worker` is its name in the audit log, `claimed_at`
/// the monotonic clock before the claim was sent; `stop` turns true when the worker shuts down.
pub async fn execute(
    service: &Arc<Service>,
    worker: &str,
    claimed: Claimed,
    claimed_at: Instant,
    stop: watch::Receiver<bool>,
) {
    let id = claimed.request.id;
    let claim = claimed.lease.clone();
    let lease = LeaseClock::new(claim.clone(), claimed_at, service.pacing.lease);
    let _renewal = lease::Renewal::start(service.clone(), lease.clone());
    let mut recorder = Recorder::new(service.clone(), worker, claimed, lease, stop.clone());
    let touched_before = recorder.request.touched;
    let result = run(service, &mut recorder).await;
    match result {
        Ok(()) => settle(service, &recorder).await,
        Err(interrupt) => {
            if matches!(interrupt, Interrupt::LeaseLost) {
                tracing::info!(request = %id, "its lease was lost: nothing more is done for it here");
            }
            if let Err(error) = recorder.end(interrupt, touched_before).await {
                tracing::warn!(request = %id, %error, "the end of an attempt was not recorded");
                give_back::after(&error, service, &claim, stop).await;
            }
            if recorder.request.kind == Kind::Export
                && recorder.request.status().is_end()
                && let Err(error) = packages::sweep_one(service, &recorder.request).await
            {
                tracing::warn!(request = %id, %error, "what was left of its package is removed later");
            }
        }
    }
}

/// What all parts of a run share and none changes.
struct Run<'a> {
    service: &'a Service,
    plan: Arc<CompiledPlan>,
    /// What this request asks for, in the order of execution.
    steps: Arc<[Step]>,
    data_key: DataKey,
    root: Arc<Tuple>,
    limits: Limits,
    /// The steps were counted by an earlier attempt, perhaps long ago.
    resumed: bool,
    /// Of this attempt.
    effort: Arc<Effort>,
}

async fn run(service: &Arc<Service>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if recorder.request.kind == Kind::Erasure {
        service.ledgers.current(service).await?;
    }
    if recorder.request.is_reopened() {
        return keeps::go_on(service, recorder).await;
    }
    // Nothing is left that this program could do.
    if manual::is_done(&recorder.request) {
        ledger::recall(service, recorder).await?;
        return recorder.complete(false).await;
    }
    if recorder.request.has_manual_steps_alone_left() {
        return recorder.complete(false).await;
    }
    recorder.check()?;
    let plan = service.plans.pinned(service, &recorder.request.plan, &recorder.request.plan_version).await?;
    let ready = prepare(service, recorder, &plan).await;
    // A schema that does not fit may never fit again: then what is recorded is all that can be known before a
    // cancellation.
    if ready.as_ref().err().is_none_or(|error| error.is(RunCode::SchemaChanged)) {
        recorder.plan = Some(plan);
    }
    if !recorder.request.status().is_end() {
        recorder.check()?;
    }
    let Some((run, confidential)) = ready? else { return Ok(()) };
    if recorder.request.has_manual_steps_alone_left() {
        // No table knows the person.
        return recorder.complete(false).await;
    }
    if recorder.request.kind == Kind::Export {
        return export::carry_out(&run, recorder, &confidential).await;
    }
    keeps::begin(&run, recorder).await?;
    code::carry_out(&run, recorder).await?;
    for group in group::groups(&run.steps) {
        match rectify::is_of_database(&run, &group) {
            true => rectify::carry_out(&run, recorder, group).await?,
            false => group::carry_out(&run, recorder, group).await?,
        }
    }
    finish(&run, recorder).await
}

/// Up to where the work begins or goes on: the person is known and what earlier attempts did is booked; `None` when
/// there is nothing to do, and the request is completed.
async fn prepare<'a>(
    service: &'a Arc<Service>,
    recorder: &mut Recorder,
    plan: &Arc<CompiledPlan>,
) -> Result<Option<(Run<'a>, Confidential)>, Interrupt> {
    service.plans.require_fit(service, plan).await?;
    let (data_key, confidential) = keys::confidential(service, recorder.request.id).await?;
    let steps = confidential.steps(plan, recorder.request.kind).map_err(|_| {
        Interrupt::trouble(RunCode::SchemaChanged, "the changes no longer fit their columns", None, None)
    })?;
    let known = match recorder.request.resolved {
        true => resume::same_person(service, recorder, plan, &steps, &data_key).await?,
        false => None,
    };
    let fresh = known.is_none();
    let root = match known {
        Some(root) => {
            let found = ledger::was_found(plan, &root, &confidential);
            recorder.knows(plan, &root, found);
            root
        }
        None => match resolve::resolve(service, recorder, plan, &steps, &data_key, &confidential).await? {
            Some(root) => root,
            None => return Ok(None),
        },
    };
    let limits = session_limits(service);
    let run = Run {
        service,
        plan: plan.clone(),
        steps,
        data_key,
        root: Arc::new(root),
        limits,
        resumed: !fresh,
        effort: Arc::default(),
    };
    if !fresh {
        resume::book_recovered(&run, recorder).await?;
        if recorder.request.kind == Kind::Erasure {
            resume::collect_more(&run, recorder).await?;
        }
    }
    Ok(Some((run, confidential)))
}

/// Lets the targets drop what they still hold of deleted rows; the request is over whatever comes of it.
async fn settle(service: &Service, recorder: &Recorder) {
    if !recorder.request.touched {
        return;
    }
    for name in recorder.connections() {
        if let Some(connector) = service.connectors.get(name)
            && let Err(error) = connector.settle().await
        {
            tracing::debug!(connection = name, %error, "not settled");
        }
    }
}

/// Ends the request unless the last group's record has done so already.
async fn finish(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if recorder.request.status().is_end() {
        return Ok(());
    }
    verify::all_verified(run, recorder).await?;
    keeps::carry_out(run, recorder).await?;
    recorder.complete(run.found()).await
}

impl Run<'_> {
    fn connector(&self, name: &str) -> Result<&Arc<dyn Connector>, Interrupt> {
        connector(self.service, name)
    }

    /// The person's row was there at resolution (its key columns were read).
    fn found(&self) -> bool {
        self.plan.root.key.iter().all(|position| self.root.get(*position).is_some_and(Option::is_some))
    }

    /// The values of the root tuple and this request's mask key; chunks of key sets are added per pass.
    fn keys(&self) -> crate::connectors::Keys {
        crate::connectors::Keys {
            root: self.root.clone(),
            mask_key: Some(Arc::new(self.data_key.mask_key())),
            ..Default::default()
        }
    }
}

pub(super) fn connector<'a>(service: &'a Service, name: &str) -> Result<&'a Arc<dyn Connector>, Interrupt> {
    service.connectors.get(name).ok_or_else(|| not_configured(name))
}

fn not_configured(name: &str) -> Interrupt {
    Interrupt::trouble(
        RunCode::ConnectionUnavailable,
        format!("the configuration has no connection `{name}` any more: add it again"),
        Some(name),
        None,
    )
}

/// Time limits of target sessions: a statement must end before a third of the lease has passed, so that no
/// commit is started on a lease that is about to run out (DESIGN.md §3).
pub(super) fn session_limits(service: &Service) -> Limits {
    let third = service.pacing.lease / 3;
    Limits { lock_timeout: (third / 2).min(Duration::from_secs(5)), statement_timeout: third.mul_f64(0.9) }
}
