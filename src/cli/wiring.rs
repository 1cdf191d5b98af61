//! From a configuration to a [`Service`]: the one place where the parts are wired.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;

use crate::{
    config::{self, Config},
    connectors::{Connector, sql::SqlConnector, web::WebClient},
    domain::{clock::Clock, vault::Vault, webhook::SigningKey},
    service::{
        Connectors, Pacing, Service,
        code::CodeSteps,
        metrics::Metrics,
        registry::Registry,
        watchers::Watchers,
        webhooks::{Endpoint, Webhooks},
    },
    store::{Store, StoreError},
};

/// Sessions that one connection may use beside those of running requests: previews, catalogs, counts.
const SPARE_SESSIONS: usize = 2;

/// Why a service cannot be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The fault in a connection's URL, without its password.
    #[error("connection `{name}`: {fault}")]
    Connection { name: String, fault: String },
    #[error("calls to others cannot be made: {0}")]
    Outbound(String),
}

/// Opens the store and prepares the connections; nothing is migrated, no plan is loaded, no target is asked.
///
/// # Errors
/// When the store cannot be opened or a connection's URL is wrong.
pub(super) async fn service(config: &Config, code: CodeSteps) -> Result<Service, StartError> {
    let clock = Clock;
    Ok(Service {
        store: Store::open(config.store.expose(), clock)
            .await?
            .announcing_to(config.webhooks.keys().cloned()),
        vault: Arc::new(Vault::new(config.secrets.pseudonym_key.expose())),
        clock,
        connectors: Arc::new(connectors(config)?),
        plans: Registry::default(),
        pacing: pacing(&config.worker),
        approval: config.approval.clone(),
        metrics: Arc::new(Metrics::default()),
        wake: Arc::new(Notify::new()),
        watchers: Watchers::default(),
        webhooks: webhooks(config)?,
        code,
    })
}

/// The databases of a configuration, by name; none is connected to yet.
///
/// # Errors
/// When a URL is wrong.
pub(super) fn connectors(config: &Config) -> Result<Connectors, StartError> {
    let sessions = config.worker.concurrency + SPARE_SESSIONS;
    let mut connectors: Connectors = BTreeMap::new();
    for (name, connection) in &config.connections {
        let connector = SqlConnector::new(connection.url.expose(), sessions)
            .map_err(|fault| StartError::Connection { name: name.clone(), fault })?;
        let connector: Arc<dyn Connector> = Arc::new(connector);
        connectors.insert(name.clone(), connector);
    }
    Ok(connectors)
}

fn webhooks(config: &Config) -> Result<Webhooks, StartError> {
    let mut endpoints = BTreeMap::new();
    for (name, webhook) in &config.webhooks {
        // The configuration has checked it.
        if let Some(key) = SigningKey::parse(webhook.secret.expose()) {
            endpoints.insert(name.clone(), Endpoint { url: webhook.url.clone(), key });
        }
    }
    let client = WebClient::new(config.private_hosts.clone()).map_err(StartError::Outbound)?;
    Ok(Webhooks { endpoints, client })
}

fn pacing(worker: &config::Worker) -> Pacing {
    Pacing {
        concurrency: worker.concurrency,
        lease: worker.lease,
        max_attempts: worker.max_attempts,
        time_target: worker.batch.time_target,
        min_rows: worker.batch.min_rows,
        max_rows: worker.batch.max_rows,
        pause: worker.batch.pause,
    }
}
