//! The apalis `Backend`: the request row is the job. A claim takes a lease on the row, the engine renews it, and
//! whatever ends the attempt is written to the row; there is no second table to fall out of step with.
//!
//! apalis brings the worker, its concurrency and its shutdown. The ready-made SQL backends are not used: DESIGN.md
//! §3 says what was measured about them.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    error::WorkerError,
    task::{Task, builder::TaskBuilder, data::Data},
    worker::{builder::WorkerBuilder, context::WorkerContext},
};
use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::layer::util::Identity;
use uuid::Uuid;

use crate::{
    points::{self, Point},
    service::{
        Service,
        execute::{execute, give_back::give_back, trouble::jitter},
    },
    store::{Claimed, Claims, StoreError},
};

/// How often an idle worker looks for work that another process accepted.
const POLL: Duration = Duration::from_millis(250);
/// The longest rest while the store does not answer.
const STORE_BACKOFF: Duration = Duration::from_secs(2);

/// A claimed request, the monotonic time before the claim was sent, and its place among those that run here.
#[derive(Debug, Clone)]
pub struct Job {
    claimed: Claimed,
    claimed_at: Instant,
    _place: Arc<OwnedSemaphorePermit>,
}

type Claim = Pin<Box<dyn Future<Output = Vec<Job>> + Send>>;

/// Claims requests, as many at a time as this worker has room for.
pub struct RequestQueue {
    shared: Shared,
    claim: Option<Claim>,
    /// Claimed, and handed over one by one; for each of them there is room.
    claimed: VecDeque<Job>,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RequestQueue {
    fn new(shared: Shared) -> Self {
        Self { shared, claim: None, claimed: VecDeque::new(), closing: None }
    }

    /// Waits until there is something to claim; nothing once the worker stops. Errors of the store are waited out
    /// here, never handed to apalis: they would end the worker.
    fn next(&self) -> Claim {
        let shared = self.shared.clone();
        Box::pin(async move {
            let mut failures = 0;
            while !*shared.stop.borrow() {
                shared.give_back_lost().await;
                // Asked before looking, so that a submission between look and wait is not missed.
                let woken = shared.service.wake.notified();
                tokio::pin!(woken);
                woken.as_mut().enable();
                match shared.claim().await {
                    Ok(jobs) if jobs.is_empty() => {
                        failures = 0;
                        shared.wait(POLL.mul_f64(0.5 + jitter()), woken).await;
                    }
                    Ok(jobs) => return jobs,
                    Err(error) => {
                        tracing::warn!(%error, "the store does not answer");
                        let rest = POLL.saturating_mul(2_u32.saturating_pow(failures)).min(STORE_BACKOFF);
                        failures = (failures + 1).min(8);
                        shared.wait(rest.mul_f64(0.5 + jitter() / 2.0), std::future::pending()).await;
                    }
                }
            }
            Vec::new()
        })
    }
}

impl Backend for RequestQueue {
    type Task = Task<Job>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        loop {
            if let Some(job) = self.claimed.pop_front() {
                return Poll::Ready(Some(Ok(TaskBuilder::new(job).build())));
            }
            let mut claim = self.claim.take().unwrap_or_else(|| self.next());
            match claim.as_mut().poll(cx) {
                Poll::Ready(jobs) if jobs.is_empty() => return Poll::Ready(None),
                Poll::Ready(jobs) => self.claimed.extend(jobs),
                Poll::Pending => {
                    self.claim = Some(claim);
                    return Poll::Pending;
                }
            }
        }
    }

    /// What is claimed when the worker stops and was not handed over is given back, a claim that is under way too.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        let closing = self.closing.get_or_insert_with(|| {
            let (shared, claim, claimed) =
                (self.shared.clone(), self.claim.take(), std::mem::take(&mut self.claimed));
            Box::pin(async move {
                let late = match claim {
                    Some(claim) => claim.await,
                    None => Vec::new(),
                };
                // A worker that stops gives back what it is told to carry out.
                join_all(claimed.into_iter().chain(late).map(|job| shared.execute(job))).await;
            })
        });
        closing.as_mut().poll(cx).map(Ok)
    }
}

impl BackendConfig for RequestQueue {
    type Args = Job;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Runs claimed requests until `stop` turns true; batches that are running end first, their leases are released.
///
/// # Errors
/// When apalis cannot start the worker.
pub async fn run(service: Arc<Service>, name: &str, stop: watch::Receiver<bool>) -> Result<(), WorkerError> {
    let concurrency = service.pacing.concurrency;
    let mut stopped = stop.clone();
    let room = Arc::new(Semaphore::new(concurrency));
    let shared = Shared {
        service,
        worker: name.into(),
        stop,
        room,
        at_work: Arc::default(),
        is_in_doubt: Arc::default(),
    };
    WorkerBuilder::new(name)
        .backend(RequestQueue::new(shared.clone()))
        .concurrency(concurrency)
        .data(shared)
        .build(carry_out)
        .run_until(async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            Ok::<(), WorkerError>(())
        })
        .await
}

#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    worker: Arc<str>,
    stop: watch::Receiver<bool>,
    /// One place for each request that this worker may carry out at once.
    room: Arc<Semaphore>,
    /// Claims that have not come to their end: a request and its epoch.
    at_work: Arc<Mutex<HashSet<(Uuid, i64)>>>,
    /// A claim failed, and it is not known whether it was committed all the same.
    is_in_doubt: Arc<AtomicBool>,
}

impl Shared {
    /// Claims as many as there is room for; apalis asks only where there is room for one.
    async fn claim(&self) -> Result<Vec<Job>, StoreError> {
        let Service { store, pacing, metrics, clock, watchers, .. } = &*self.service;
        let first = self.room.clone().acquire_owned().await.into_iter();
        let mut places: Vec<_> =
            first.chain(std::iter::from_fn(|| self.room.clone().try_acquire_owned().ok())).collect();
        let claimed_at = Instant::now();
        let claims = store.claim(places.len(), &self.worker, pacing.lease, pacing.max_attempts).await;
        let Claims { taken, given_up } =
            claims.inspect_err(|_| self.is_in_doubt.store(true, Ordering::Relaxed))?;
        if !taken.is_empty() {
            points::reached(Point::RequestClaimed);
        }
        metrics.polled(clock.now());
        for request in &given_up {
            metrics.requests_failed.inc();
            watchers.changed(request);
        }
        let job = |(claimed, place)| Job { claimed, claimed_at, _place: Arc::new(place) };
        self.at_work().extend(taken.iter().map(|claimed| (claimed.lease.id, claimed.lease.epoch)));
        Ok(taken.into_iter().zip(places.drain(..)).map(job).collect())
    }

    async fn execute(&self, job: Job) {
        let claim = (job.claimed.lease.id, job.claimed.lease.epoch);
        execute(&self.service, &self.worker, job.claimed, job.claimed_at, self.stop.clone()).await;
        self.at_work().remove(&claim);
    }

    /// A claim that failed may have been committed all the same: nobody works under it, and nobody else may.
    async fn give_back_lost(&self) {
        if !self.is_in_doubt.load(Ordering::Relaxed) {
            return;
        }
        let given_back = async {
            for lease in self.service.store.unwritten_claims(&self.worker).await? {
                let is_lost = !self.at_work().contains(&(lease.id, lease.epoch));
                if is_lost {
                    give_back(&self.service, &lease).await?;
                }
            }
            Ok::<(), StoreError>(())
        };
        match given_back.await {
            Ok(()) => self.is_in_doubt.store(false, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "it is not known yet whether a claim was committed"),
        }
    }

    fn at_work(&self) -> MutexGuard<'_, HashSet<(Uuid, i64)>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rests until the time is over, something wakes the worker, or it stops.
    async fn wait(&self, rest: Duration, woken: impl Future<Output = ()>) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = woken => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// One request on a task of its own: requests use all cores, and a panic ends one attempt, not the worker.
async fn carry_out(job: Job, shared: Data<Shared>) {
    let id = job.claimed.request.id;
    let shared = (*shared).clone();
    let run = tokio::spawn(async move { shared.execute(job).await });
    if let Err(error) = run.await {
        tracing::error!(request = %id, panicked = error.is_panic(), "an attempt crashed; its lease will run out");
    }
}
