//! What all calls share.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch};

use super::{auth::Verifier, limit::Limiter, observe::HttpMetrics};
use crate::service::Service;

/// The state of the HTTP side.
pub struct Api {
    pub service: Arc<Service>,
    /// Where the service's own work runs.
    pub runtime: Handle,
    pub verifier: Verifier,
    pub limiter: Limiter,
    pub metrics: HttpMetrics,
    /// Of the browser pages that may call.
    pub origins: Vec<String>,
    /// Workers run in this process: it is ready only while they find the store.
    pub has_worker: bool,
    /// Turns true when the server stops: those who wait are answered at once.
    pub closing: watch::Receiver<bool>,
}

impl Api {
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        verifier: Verifier,
        origins: Vec<String>,
        has_worker: bool,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            metrics: HttpMetrics::new(&service),
            service,
            runtime: Handle::current(),
            verifier,
            limiter: Limiter::default(),
            origins,
            has_worker,
            closing,
        }
    }
}
