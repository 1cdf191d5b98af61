//! The whole service inside another program.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::{
    Failure, load,
    serving::{Role, Serving, report},
};
use crate::{
    config::Config,
    service::{
        Service,
        code::{CodeSteps, ErasureStep},
    },
};

/// A service that is yet to start: its configuration, and the steps that the program adds.
pub struct Embedded {
    config: Config,
    code: CodeSteps,
}

/// A service that runs on the program's tokio runtime, with API and worker.
pub struct Started(Serving);

impl Embedded {
    /// Reads a configuration file, as `rightful serve` does.
    ///
    /// # Errors
    /// Its first fault.
    pub fn configured(path: &Path) -> Result<Self, Failure> {
        Ok(Self { config: load(path)?, code: CodeSteps::default() })
    }

    /// Adds a step in code, for the plans that name it.
    #[must_use]
    pub fn with_step(self, step: impl ErasureStep + 'static) -> Self {
        Self { code: self.code.with(step), ..self }
    }

    /// Migrates the store, registers the plans, and serves.
    ///
    /// # Errors
    /// When the store cannot be opened, a plan is refused, or the address is taken.
    pub async fn start(self) -> Result<Started, Failure> {
        let (serving, loaded) = Serving::start(&self.config, Role::All, self.code).await?;
        report(&loaded);
        Ok(Started(serving))
    }
}

impl Started {
    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// For the use cases of [`crate::service`], without HTTP.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.0.service
    }

    /// Reads the plan files again; what was registered before stays when one is refused.
    ///
    /// # Errors
    /// The first fault of the plans, or when the store does not answer.
    pub async fn reload(&self) -> Result<(), Failure> {
        let loaded = self.0.reload().await?;
        report(&loaded);
        if loaded.is_refused() { Err(Failure::from_faults(&loaded.faults)) } else { Ok(()) }
    }

    /// Lets answers and batches under way end, gives leases back, and returns within 10 s.
    ///
    /// # Errors
    /// When something did not end in time, or had ended before with a fault of its own.
    pub async fn stop(self) -> Result<(), Failure> {
        self.0.stop().await
    }
}
