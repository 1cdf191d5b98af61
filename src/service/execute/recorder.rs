//! The worker's writes to the store. Each is one transaction: the request row under its lock, the events, the
//! new counts; and each names the epoch of the claim, so that a worker that lost its lease writes nothing.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::watch;

use super::{
    lease::LeaseClock,
    ledger::{self, Known},
    trouble::{Interrupt, backoff},
};
use crate::{
    domain::{
        audit::{EventName, NewEvent},
        compiled::CompiledPlan,
        key::Tuple,
        pseudonym::PeriodKeys,
        rectification::Identities,
        request::{Disposition, Kind, Places, Request, RunCode, Status},
    },
    points::{self, Point},
    service::Service,
    store::{Claimed, StoreError, Taken, Tx},
};

/// The first pause or retry; doubled each time.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(300);

type Change = Box<dyn FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + Sync>;

/// The request under work, and the one way to write about it.
pub struct Recorder {
    pub request: Request,
    service: Arc<Service>,
    actor: String,
    lease: LeaseClock,
    stop: watch::Receiver<bool>,
    deferred: Vec<Change>,
    /// Once it is known, and what earlier attempts did is booked.
    pub plan: Option<Arc<CompiledPlan>>,
    /// A target commit was sent by this attempt.
    committed: bool,
    /// Of an erasure, once the person is resolved.
    known: Option<Known>,
}

impl Recorder {
    pub fn new(
        service: Arc<Service>,
        worker: &str,
        claimed: Claimed,
        lease: LeaseClock,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let actor = worker.to_owned();
        let Claimed { request, .. } = claimed;
        Self {
            request,
            service,
            actor,
            lease,
            stop,
            deferred: Vec::new(),
            plan: None,
            committed: false,
            known: None,
        }
    }

    /// Keeps in mind who is erased, for the ledger.
    pub fn knows(&mut self, plan: &CompiledPlan, person: &Tuple, found: bool) {
        if self.request.kind == Kind::Erasure {
            self.known = Some(Known::new(plan, person, found));
        }
    }

    /// The connections that the request's steps name.
    pub fn connections(&self) -> std::collections::BTreeSet<&str> {
        self.request.steps.iter().filter_map(|step| step.name.split('.').next()).collect()
    }

    /// Between two batches: does anything ask for the end?
    pub fn check(&self) -> Result<(), Interrupt> {
        if self.lease.is_lost() {
            return Err(Interrupt::LeaseLost);
        }
        if let Some(by) = self.request.cancelled_by()
            && self.may_be_cancelled()
        {
            return Err(Interrupt::Cancelled(by));
        }
        // A cancellation ends the request without touching more, but for what may only be finished.
        if let Some(hold) = self.request.hold
            && (self.request.cancelled_by().is_none() || self.plan.is_some())
        {
            return Err(Interrupt::Held(hold));
        }
        if *self.stop.borrow() {
            return Err(Interrupt::Stopping);
        }
        Ok(())
    }

    /// As [`check`](Self::check), where what was done has to be booked before a hold or a cancellation is heeded.
    pub fn check_running(&self) -> Result<(), Interrupt> {
        if self.lease.is_lost() {
            return Err(Interrupt::LeaseLost);
        }
        match *self.stop.borrow() {
            true => Err(Interrupt::Stopping),
            false => Ok(()),
        }
    }

    /// Past the point where the rest could only be found through the sealed keys, which an end destroys, a
    /// cancellation comes too late and the request is finished. Until it is known how far the request got, only one
    /// that has touched nothing is before that point.
    fn may_be_cancelled(&self) -> bool {
        match &self.plan {
            Some(plan) => {
                !self.request.touched || !plan.rest_needs_sealed_keys(self.request.kind, &self.request.steps)
            }
            None => !self.request.touched,
        }
    }

    /// Must be asked right before every target commit.
    pub fn before_commit(&mut self) -> Result<(), Interrupt> {
        if !self.lease.may_commit() {
            return Err(Interrupt::LeaseLost);
        }
        self.committed = true;
        Ok(())
    }

    /// Rests for `pause`, or until the worker is asked to stop.
    pub async fn rest(&mut self, pause: Duration) {
        if !pause.is_zero() {
            let mut stop = self.stop.clone();
            let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
        }
    }

    /// Leaves a change for the next transaction: an announcement that must be there before the next target commit
    /// rides along with the record of the last one.
    pub fn defer(
        &mut self,
        change: impl FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + Sync + 'static,
    ) {
        self.deferred.push(Box::new(change));
    }

    /// Writes what was deferred.
    pub async fn flush(&mut self) -> Result<(), Interrupt> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        self.record(|_, _, _| Vec::new()).await
    }

    /// One store transaction: what was deferred, then `change`, with its events.
    pub async fn record(
        &mut self,
        change: impl FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + 'static,
    ) -> Result<(), Interrupt> {
        let tx = self.service.store.begin().await?;
        self.record_in(tx, change).await
    }

    /// As [`record`](Self::record), in a transaction that holds more.
    pub async fn record_in(
        &mut self,
        mut tx: Tx,
        change: impl FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + 'static,
    ) -> Result<(), Interrupt> {
        let now = self.service.clock.now();
        // While the lease holds nobody else changes the request but to ask for its cancellation, which the row keeps
        // and the write tells: what is known here is what it is, and needs not be read again.
        let mut request = self.request.clone();
        let mut events = Vec::new();
        for deferred in std::mem::take(&mut self.deferred) {
            events.extend(deferred(&mut request, &self.actor, now));
        }
        events.extend(change(&mut request, &self.actor, now));
        let is_completed = request.kind == Kind::Erasure && request.status() == Status::Completed;
        // Consents lie in the store, which was not restored.
        if is_completed && !request.is_reopened() && request.answering.replay.is_none() {
            let destroyed = tx.pseudonymise_consents(request.id).await?;
            if destroyed > 0 {
                points::reached(Point::ConsentsPseudonymised);
                let details = json!({ "consents": destroyed });
                let event = request.event(EventName::ConsentPseudonymised, &self.actor, details);
                // The end stays the last word.
                events.insert(events.len().saturating_sub(1), event);
            }
        }
        // Before the ledger, which knows of no lease.
        let saved = tx.write(&mut request, events).await?;
        // The end of a keep leaves the entry as it is: the person may have come back before a backup that is younger than
        // their erasure. Nor is what they have agreed to since any of its business.
        if is_completed && !request.is_reopened() {
            ledger::enter(&mut tx, &self.service, self.known.as_ref(), &request).await?;
        }
        tx.commit().await?;
        request.asked_to_cancel(saved.cancelled_by);
        // One that has ended meanwhile is found out when the attempt ends for it.
        request.hold = saved.hold.or(request.hold);
        self.service.watchers.changed(&request);
        self.request = request;
        Ok(())
    }

    /// Under which the request's person is shown, and held.
    pub async fn keys(&self) -> Result<Arc<PeriodKeys>, StoreError> {
        let at = self.request.created_at;
        match self.request.kind {
            // Holds of any month may follow it.
            Kind::Rectification => self.service.pseudonyms.all_with(&self.service, at).await,
            _ => self.service.pseudonyms.of(&self.service, at).await,
        }
    }

    /// As [`record`](Self::record), with the person that was found: refs, sealed keys, and places among the open requests.
    /// Holds follow the identities that will change.
    pub async fn record_person(
        &mut self,
        refs: &[(String, String)],
        changing: Option<&Identities>,
        sealed: &[(String, Vec<u8>)],
        places: &Places,
        change: impl FnOnce(&mut Request, &str, DateTime<Utc>) -> Vec<NewEvent> + Send + 'static,
    ) -> Result<(), Interrupt> {
        let keys = self.keys().await?;
        let mut tx = self.service.store.begin().await?;
        let taken = tx.take_person(&self.request, refs, &keys, sealed, places).await?;
        let mut tx = all_of(tx, taken).await?;
        if let Some(identities) = changing {
            tx.widen_holds(&identities.before, &identities.gained(), &keys).await?;
            tx.widen_holds(&identities.copies_before, &identities.copies_after, &keys).await?;
        }
        self.record_in(tx, change).await
    }

    /// Takes the person's locks again for a request that goes on: one that had failed gave them back, and another
    /// request of this person may run by now.
    pub async fn take_locks(&mut self, refs: &[(String, String)]) -> Result<(), Interrupt> {
        let mut tx = self.service.store.begin().await?;
        let (all, hold) = tx.take_locks(&self.request, refs).await?;
        let taken = match hold {
            _ if !all => Taken::Busy,
            // What was done may have to be booked before a cancellation can end the request: see `check`.
            Some(hold) if self.request.cancelled_by().is_none() => Taken::Held(hold),
            _ => Taken::All,
        };
        let tx = all_of(tx, taken).await?;
        self.request.hold = hold.or(self.request.hold);
        self.record_in(tx, |_, _, _| Vec::new()).await
    }

    /// The end of all work that is this program's: every step is verified, or waits for a person.
    pub async fn complete(&mut self, found: bool) -> Result<(), Interrupt> {
        if self.request.has_manual_steps_alone_left() {
            return super::manual::let_go(&self.service.clone(), self).await;
        }
        let mut tx = self.service.store.begin().await?;
        if self.request.kind == Kind::Export {
            // People have had their time; the person has the whole of theirs to take the package.
            tx.renew_package(self.request.id, self.service.packages.expiry(self.service.clock.now())).await?;
        }
        points::reached(Point::RequestCompleting);
        self.record_in(tx, move |request, actor, now| vec![request.complete(found, actor, now)]).await?;
        points::reached(Point::RequestCompleted);
        self.service.metrics.requests_completed.inc();
        Ok(())
    }

    /// Records why the attempt ended. `touched_before`: an earlier attempt may have changed a target.
    pub async fn end(&mut self, interrupt: Interrupt, touched_before: bool) -> Result<(), StoreError> {
        let untouched = !touched_before && !self.committed;
        let run_at = self.next_run(&interrupt);
        let max_attempts = self.service.pacing.max_attempts;
        // Who waits for another one of the person must not keep that one from a part of its locks.
        let gives_way = interrupt.is(RunCode::SubjectBusy)
            || self.request.is_reopened()
            || matches!(interrupt, Interrupt::Busy) && !self.request.resolved;
        let change: Change = match interrupt {
            Interrupt::LeaseLost => return Ok(()),
            Interrupt::Store(error) => return Err(error),
            Interrupt::Held(hold) => return self.end_held(hold, untouched).await,
            Interrupt::Stopping => Box::new(move |request, _, now| {
                request.given_back(now);
                Vec::new()
            }),
            Interrupt::Busy => Box::new(move |request, _, now| {
                request.given_back(now + run_at);
                Vec::new()
            }),
            Interrupt::Cancelled(by) => Box::new(move |request, _, now| vec![request.cancelled(&by, now)]),
            Interrupt::Trouble(error) | Interrupt::Later(error, _) => {
                tracing::info!(
                    request = %self.request.id,
                    code = error.code.as_str(),
                    detail = %error.detail,
                    "attempt ended"
                );
                Box::new(move |request, actor, now| {
                    request.troubled(error, actor, now, now + run_at, max_attempts)
                })
            }
        };
        let mut tx = self.service.store.begin().await?;
        if gives_way {
            tx.give_back_locks(self.request.id).await?;
        }
        let written = self
            .record_in(tx, move |request, actor, now| {
                if untouched {
                    request.touched = false;
                }
                change(request, actor, now)
            })
            .await;
        match written {
            Err(Interrupt::Store(error)) => Err(error),
            Err(_) => Ok(()),
            Ok(()) => {
                points::reached(Point::AttemptEnded);
                self.count_end();
                Ok(())
            }
        }
    }

    /// Stops for a hold, or gives the claim back when that has ended meanwhile.
    async fn end_held(&mut self, hold: uuid::Uuid, untouched: bool) -> Result<(), StoreError> {
        let mut tx = self.service.store.begin().await?;
        let is_held = tx.is_held_by(hold).await?;
        if is_held {
            tx.give_back_locks(self.request.id).await?;
        }
        let written = self
            .record_in(tx, move |request, actor, now| {
                if untouched {
                    request.touched = false;
                }
                if is_held {
                    return vec![request.held(hold, actor)];
                }
                request.given_back(now);
                Vec::new()
            })
            .await;
        points::reached(Point::HoldHeeded);
        match written {
            Err(Interrupt::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// What became of the request; one that ran out of attempts has failed like one that fails at once.
    fn count_end(&self) {
        match self.request.status() {
            Status::Failed => self.service.metrics.requests_failed.inc(),
            Status::Paused => self.service.metrics.requests_paused.inc(),
            _ => 0,
        };
    }

    fn next_run(&self, interrupt: &Interrupt) -> chrono::TimeDelta {
        let delay = match interrupt {
            Interrupt::Busy => backoff(super::BUSY_RETRY, 0, super::BUSY_RETRY),
            // Longer each time all the same: others must get their turn.
            Interrupt::Later(_, wait) => (*wait).max(backoff(BACKOFF_BASE, self.request.waits, BACKOFF_CAP)),
            Interrupt::Trouble(error) => {
                let times = match error.code.disposition() {
                    Disposition::Wait => self.request.waits,
                    _ => self.request.failures,
                };
                backoff(BACKOFF_BASE, times, BACKOFF_CAP)
            }
            _ => Duration::ZERO,
        };
        chrono::TimeDelta::from_std(delay).unwrap_or_default()
    }
}

/// The transaction, when a person's locks were all taken in it.
async fn all_of(tx: Tx, taken: Taken) -> Result<Tx, Interrupt> {
    let interrupt = match taken {
        Taken::All => return Ok(tx),
        Taken::Busy => Interrupt::Busy,
        Taken::Held(hold) => Interrupt::Held(hold),
    };
    tx.rollback().await?;
    Err(interrupt)
}
