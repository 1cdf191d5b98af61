//! The use cases: what the API, the worker and the command line ask for. Everything that they share is one
//! [`Service`], built once by the program that wires the parts.

pub mod actions;
pub mod answering;
pub mod audit;
pub mod audit_export;
pub mod audit_readings;
pub mod audit_summary;
pub mod backups;
pub mod catalogue;
pub mod certificates;
pub mod code;
mod connectors;
pub mod consents;
pub mod decisions;
pub mod error;
pub mod evidence;
pub mod execute;
pub mod fixtures;
pub mod holds;
pub mod intake;
pub mod keeps;
pub mod ledger;
pub mod manual;
pub mod metrics;
pub mod packages;
pub mod preview;
pub mod pseudonyms;
pub mod readings;
pub mod recovery;
pub mod registry;
pub mod reminders;
pub mod replays;
pub mod retention;
pub mod runs;
pub mod sweeps;
pub mod watchers;
pub mod webhooks;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{
    domain::{clock::Clock, request::Kind, vault::Vault},
    store::Store,
};
use backups::Backups;
use code::CodeSteps;
pub use connectors::Connectors;
use evidence::Evidence;
use ledger::Ledgers;
use metrics::Metrics;
use packages::Packages;
use pseudonyms::Pseudonyms;
use registry::Registry;
use runs::Upkeep;
use watchers::Watchers;
use webhooks::Webhooks;

/// What every use case works with.
pub struct Service {
    pub store: Store,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub connectors: Arc<Connectors>,
    pub plans: Registry,
    pub pacing: Pacing,
    /// The kinds of request that wait for an approver.
    pub approval: Vec<Kind>,
    pub metrics: Arc<Metrics>,
    /// A request became claimable: workers of this process look at once instead of at their next poll.
    pub wake: Arc<Notify>,
    /// As `wake`, of a run.
    pub runs_wake: Arc<Notify>,
    /// Callers of this process who wait for a change of a request.
    pub watchers: Watchers,
    pub webhooks: Webhooks,
    pub packages: Packages,
    pub backups: Backups,
    /// Steps of erasures that the embedding program carries out.
    pub code: CodeSteps,
    pub upkeep: Upkeep,
    pub ledgers: Ledgers,
    pub pseudonyms: Pseudonyms,
    pub evidence: Evidence,
}

/// How hard the worker may lean on the databases, and how long it owns a request.
#[derive(Debug, Clone, Copy)]
pub struct Pacing {
    pub concurrency: usize,
    pub lease: Duration,
    pub max_attempts: i32,
    /// What one batch should take in the target database, its rests included.
    pub time_target: Duration,
    pub min_rows: u32,
    pub max_rows: u32,
    /// Rest between the statements of a batch and after it, as a part of the time that they take.
    pub pause: f64,
    /// The same of work that goes on for more than half a second, where `pause` is not 0, nor longer.
    pub long_pause: f64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            concurrency: 4,
            lease: Duration::from_secs(30),
            max_attempts: 8,
            time_target: Duration::from_millis(250),
            min_rows: 50,
            max_rows: 10_000,
            pause: 0.5,
            long_pause: 20.0,
        }
    }
}
