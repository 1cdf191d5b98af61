//! The whole service in this process: store, plans, API and worker, started and stopped together.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::ValueEnum;
use futures::FutureExt;
use tokio::{sync::watch, task::JoinHandle};

use super::{Failure, fixtures, wiring};
use crate::{
    config::{self, Config},
    http::{self, Options, Running},
    service::{
        Service, code::CodeSteps, evidence, holds, keeps, ledger, packages, recovery, registry::Loaded,
        reminders, runs, sweeps, webhooks,
    },
    worker,
};

/// Everything has ended by then, or is left to its lease: orchestrators kill after 10 s or more.
const SHUTDOWN: Duration = Duration::from_secs(9);

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// API and worker.
    All,
    /// Answers calls; another process carries requests out.
    Api,
    /// Carries requests out; answers only /healthz, /readyz, /metrics and the docs.
    Worker,
}

/// A service that runs.
pub(super) struct Serving {
    pub service: Arc<Service>,
    pub address: SocketAddr,
    plans: Option<PathBuf>,
    fixtures: config::Fixtures,
    http: Running,
    worker: Option<JoinHandle<Result<(), String>>>,
    /// Reminders, webhooks, schedules and runs, and whatever has its time over: holds, keeps, packages, data of our own; the
    /// Merkle log and its checkpoints; what waits for a connection that is back.
    chores: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Migrates the store, registers the plans and starts what the role asks for.
    pub async fn start(config: &Config, role: Role, code: CodeSteps) -> Result<(Self, Loaded), Failure> {
        let service = Arc::new(wiring::service(config, code).await.map_err(Failure::new)?);
        service.store.migrate().await.map_err(Failure::new)?;
        // Before the plans, which are compiled against the tables that a fixture may make.
        let down = fixtures::at_start(&service, &config.fixtures).await?;
        // Workers run from the versions in the store; only the API offers plans.
        let plans = (role != Role::Worker).then(|| config.plans.clone());
        let mut loaded = match &plans {
            Some(folder) => service.plans.load(&service, folder).await.map_err(Failure::new)?,
            None => Loaded::default(),
        };
        loaded.down.extend(down);
        if loaded.is_refused() {
            return Err(Failure::from_faults(&loaded.faults));
        }
        let options = Options {
            listen: config.listen.to_string(),
            auth: (&config.auth).into(),
            origins: config.cors.origins.clone(),
            has_worker: role != Role::Api,
            has_api: role != Role::Worker,
        };
        let http = http::serve(service.clone(), options).await.map_err(Failure::new)?;
        let (stop, stopped) = watch::channel(false);
        let name = format!("worker:{}-{}", config::host_name(), std::process::id());
        let worker = (role != Role::Api).then(|| {
            let (service, name) = (service.clone(), name.clone());
            tokio::spawn(async move { worker::run(service, &name, stopped).await.map_err(|e| e.to_string()) })
        });
        let chores = (role != Role::Api).then(|| {
            let reminders = reminders::run(service.clone(), stop.subscribe());
            let webhooks = webhooks::run(service.clone(), stop.subscribe());
            let holds = holds::run(service.clone(), stop.subscribe());
            let keeps = keeps::run(service.clone(), stop.subscribe());
            let packages = packages::run(service.clone(), stop.subscribe());
            let ledger = ledger::run(service.clone(), stop.subscribe());
            let schedules = runs::schedules::run(service.clone(), stop.subscribe());
            let runs = runs::worker::run(service.clone(), name, stop.subscribe());
            let sweeps = sweeps::run(service.clone(), stop.subscribe());
            let evidence = evidence::run(service.clone(), stop.subscribe());
            let recovery = recovery::run(service.clone(), stop.subscribe());
            let all = async {
                tokio::join!(
                    reminders, webhooks, holds, keeps, packages, ledger, schedules, runs, sweeps, evidence,
                    recovery
                )
            };
            tokio::spawn(all.map(drop))
        });
        let fixtures = config.fixtures.clone();
        Ok((Self { service, address: http.address, plans, fixtures, http, worker, chores, stop }, loaded))
    }

    /// Loads fixtures that changed or whose connection was down, and reads the plan files again; a refused load leaves
    /// what was registered before.
    pub async fn reload(&self) -> Result<Loaded, Failure> {
        let down = fixtures::at_start(&self.service, &self.fixtures).await?;
        let mut loaded = match &self.plans {
            Some(folder) => self.service.plans.load(&self.service, folder).await.map_err(Failure::new)?,
            None => Loaded::default(),
        };
        loaded.down.extend(down);
        Ok(loaded)
    }

    /// Returns only when the worker ended without being asked to.
    pub async fn failed(&mut self) -> Failure {
        match &mut self.worker {
            Some(worker) => match worker.await {
                Ok(Err(error)) => Failure::new(format!("the worker ended: {error}")),
                _ => Failure::new("the worker ended"),
            },
            None => std::future::pending().await,
        }
    }

    /// Lets answers and batches under way end, gives leases back, and returns within 10 s.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        let end = async {
            let worker = async {
                match self.worker {
                    Some(worker) => worker.await.map_err(|error| error.to_string()).and_then(|end| end),
                    None => Ok(()),
                }
            };
            let (http, worker) = tokio::join!(self.http.stop(), worker);
            if let Some(chores) = self.chores {
                chores.await.map_err(|error| error.to_string())?;
            }
            http.map_err(|error| error.to_string()).and(worker)
        };
        match tokio::time::timeout(SHUTDOWN, end).await {
            Ok(end) => end.map_err(Failure::new),
            Err(_) => Err(Failure::new("a batch did not end in time; its lease runs out by itself")),
        }
    }
}

/// What a load found, in the log.
pub(super) fn report(loaded: &Loaded) {
    for fault in &loaded.faults {
        tracing::warn!("{}", super::one_line(fault));
    }
    for (connection, error) in &loaded.down {
        tracing::warn!(
            connection,
            %error,
            "is down: its plans are offered as they were compiled last, and looked at again when it is back"
        );
    }
}
