//! The lease a worker holds on a request: its clock, and its renewal while the work goes on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{domain::request::Lease, service::Service};

/// A worker's own view of its lease, by its monotonic clock.
#[derive(Clone)]
pub struct LeaseClock {
    lease: Lease,
    length: Duration,
    shared: Arc<LeaseState>,
}

struct LeaseState {
    until: Mutex<Instant>,
    lost: AtomicBool,
}

impl LeaseClock {
    /// `asked_at`: before the claim was sent, so that this clock never runs behind the store's.
    #[must_use]
    pub fn new(lease: Lease, asked_at: Instant, length: Duration) -> Self {
        let until = Mutex::new(asked_at + length);
        Self { lease, length, shared: Arc::new(LeaseState { until, lost: AtomicBool::new(false) }) }
    }

    /// With less than a third left no target commit is started.
    pub(in crate::service) fn may_commit(&self) -> bool {
        let until = *self.shared.until.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_lost() && until.saturating_duration_since(Instant::now()) >= self.length / 3
    }

    pub(in crate::service) fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    fn renewed(&self, asked_at: Instant) {
        *self.shared.until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + self.length;
    }
}

/// Renews the lease for as long as it lives. It goes with the attempt also when that panics: a lease that nobody works
/// under must run out.
pub struct Renewal(tokio::task::JoinHandle<()>);

impl Renewal {
    pub fn start(service: Arc<Service>, clock: LeaseClock) -> Self {
        Self(tokio::spawn(renew(service, clock)))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// At every third of the lease's length, until the lease is lost.
async fn renew(service: Arc<Service>, clock: LeaseClock) {
    loop {
        tokio::time::sleep(clock.length / 3).await;
        let asked_at = Instant::now();
        match service.store.renew(&clock.lease, clock.length).await {
            Ok(true) => clock.renewed(asked_at),
            Ok(false) => {
                clock.shared.lost.store(true, Ordering::Release);
                return;
            }
            Err(error) => tracing::warn!(id = %clock.lease.id, %error, "lease not renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{clock::Clock, request::LeaseOf};

    #[test]
    fn no_commit_is_begun_in_the_last_third_of_a_lease_or_after() {
        let length = Duration::from_secs(30);
        let asked_before = |seconds| {
            let lease = Lease { of: LeaseOf::Request, id: Clock.new_id(), epoch: 1 };
            LeaseClock::new(lease, Instant::now() - Duration::from_secs(seconds), length)
        };
        for (seconds, may_commit) in [(0, true), (19, true), (20, false), (29, false), (40, false)] {
            assert_eq!(asked_before(seconds).may_commit(), may_commit, "{seconds} s after the claim");
        }
        let late = asked_before(25);
        late.renewed(Instant::now());
        assert!(late.may_commit(), "renewed");
        late.shared.lost.store(true, Ordering::Release);
        assert!(!late.may_commit(), "lost");
    }
}
