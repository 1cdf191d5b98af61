//! What the engine counts about itself. No label ever holds a person's data: plans, connections and codes only.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    pub batches: Counter,
    pub rows_affected: Counter,
    pub requests_completed: Counter,
    pub requests_failed: Counter,
    pub requests_paused: Counter,
    pub webhooks_delivered: Counter,
    pub webhooks_failed: Counter,
    pub checkpoints_signed: Counter,
    pub checkpoints_published: Counter,
    pub checkpoints_failed: Counter,
    last_poll: AtomicI64,
}

impl Metrics {
    /// A worker of this process has asked the store for work, successfully.
    pub fn polled(&self, at: DateTime<Utc>) {
        self.last_poll.store(at.timestamp_millis(), Ordering::Relaxed);
    }

    /// When a worker of this process last asked successfully; `None` before the first time.
    #[must_use]
    pub fn last_poll(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.last_poll.load(Ordering::Relaxed))
            .filter(|at| at.timestamp_millis() != 0)
    }
}
