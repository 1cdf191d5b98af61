//! One attempt at a run: its lease, its row, and every write of either.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::{
    domain::{audit::NewEvent, request::Disposition, run::Run},
    service::{
        Service,
        execute::{
            LeaseClock,
            trouble::{Interrupt, backoff},
        },
    },
    store::{StoreError, Tx},
};

const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(300);

pub struct Keeper {
    pub service: Arc<Service>,
    pub run: Run,
    lease: LeaseClock,
    actor: String,
    stop: watch::Receiver<bool>,
}

impl Keeper {
    pub fn new(
        service: Arc<Service>,
        run: Run,
        lease: LeaseClock,
        actor: &str,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { service, run, lease, actor: actor.to_owned(), stop }
    }

    /// Between two batches: does anything ask for the end?
    pub fn check(&self) -> Result<(), Interrupt> {
        if self.lease.is_lost() {
            return Err(Interrupt::LeaseLost);
        }
        if let Some(by) = self.run.cancelled_by() {
            return Err(Interrupt::Cancelled(by.to_owned()));
        }
        match *self.stop.borrow() {
            true => Err(Interrupt::Stopping),
            false => Ok(()),
        }
    }

    /// Must be asked right before every commit outside the store.
    pub fn before_commit(&self) -> Result<(), Interrupt> {
        match self.lease.may_commit() {
            true => Ok(()),
            false => Err(Interrupt::LeaseLost),
        }
    }

    /// Rests for `pause`, or until the worker is asked to stop.
    pub async fn rest(&self, pause: Duration) {
        if !pause.is_zero() {
            let mut stop = self.stop.clone();
            let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
        }
    }

    /// One store transaction with the change and its events.
    pub async fn record(
        &mut self,
        change: impl FnOnce(&mut Run, &str, DateTime<Utc>) -> Vec<NewEvent>,
    ) -> Result<(), Interrupt> {
        let tx = self.service.store.begin().await?;
        self.record_in(tx, change).await
    }

    /// As [`record`](Self::record), in a transaction that holds more.
    pub async fn record_in(
        &mut self,
        mut tx: Tx,
        change: impl FnOnce(&mut Run, &str, DateTime<Utc>) -> Vec<NewEvent>,
    ) -> Result<(), Interrupt> {
        let now = self.service.clock.now();
        let mut run = self.run.clone();
        let events = change(&mut run, &self.actor, now);
        let asked = tx.write_run(&mut run, events).await?;
        tx.commit().await?;
        if let crate::domain::request::State::InProgress { cancelled_by, .. } = &mut run.state {
            *cancelled_by = asked;
        }
        self.run = run;
        Ok(())
    }

    /// Records why the attempt ended.
    pub async fn end(&mut self, interrupt: Interrupt) -> Result<(), StoreError> {
        let max_attempts = self.service.pacing.max_attempts;
        let wait = self.wait(&interrupt);
        let written = match interrupt {
            Interrupt::LeaseLost => return Ok(()),
            Interrupt::Store(error) => return Err(error),
            Interrupt::Stopping => {
                self.record(|run, _, now| {
                    run.given_back(now);
                    Vec::new()
                })
                .await
            }
            Interrupt::Cancelled(by) => self.record(|run, _, now| vec![run.cancelled(&by, now)]).await,
            // Nobody's request, nobody's hold.
            Interrupt::Held(_) | Interrupt::Busy => {
                self.record(|run, _, now| {
                    run.given_back(now + wait);
                    Vec::new()
                })
                .await
            }
            Interrupt::Trouble(error) | Interrupt::Later(error, _) => {
                tracing::info!(run = %self.run.id, code = error.code.as_str(), detail = %error.detail, "attempt ended");
                self.record(|run, actor, now| run.troubled(error, actor, now, now + wait, max_attempts)).await
            }
        };
        match written {
            Err(Interrupt::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn wait(&self, interrupt: &Interrupt) -> chrono::TimeDelta {
        let delay = match interrupt {
            Interrupt::Busy => BACKOFF_BASE * 2,
            Interrupt::Later(_, wait) => *wait,
            Interrupt::Trouble(error) => {
                let times = match error.code.disposition() {
                    Disposition::Wait => self.run.waits,
                    Disposition::Retry | Disposition::Fail => self.run.failures,
                };
                backoff(BACKOFF_BASE, times, BACKOFF_CAP)
            }
            _ => Duration::ZERO,
        };
        chrono::TimeDelta::from_std(delay).unwrap_or_default()
    }
}
