//! From a configuration to a [`Service`]: the one place where the parts are wired.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use tokio::sync::Notify;

use crate::{
    config::{self, BackupKind, Config, Connection, ConnectionKind, EvidencePlace, ExportStore},
    connectors::{
        backups::{Backup, Place, Restore, RestoreInto, Source},
        http::HttpService,
        objects::{Bucket, Objects},
        sql::SqlConnector,
        web::WebClient,
    },
    domain::{
        backup::{Expected, Identity},
        checkpoint::{Signer, SigningKey},
        clock::Clock,
        vault::Vault,
        webhook,
    },
    service::{
        Connectors, Pacing, Service,
        backups::Backups,
        code::CodeSteps,
        evidence::{
            Evidence,
            publish::{Place as SinkPlace, Sink},
        },
        ledger::Ledgers,
        metrics::Metrics,
        packages::Packages,
        pseudonyms::Pseudonyms,
        registry::Registry,
        runs::Upkeep,
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
    #[error("exports.store: {0}")]
    Exports(String),
    #[error("retention.archive: {0}")]
    Archive(String),
    #[error("evidence.sinks: {0}")]
    Evidence(String),
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
        packages: packages(&config.exports)?,
        backups: backups(config),
        code,
        runs_wake: Arc::new(Notify::new()),
        upkeep: upkeep(config)?,
        ledgers: Ledgers::default(),
        pseudonyms: Pseudonyms::default(),
        evidence: evidence(&config.evidence)?,
    })
}

/// The connections of a configuration, by name; none is connected to yet.
///
/// # Errors
/// When a URL is wrong.
pub(super) fn connectors(config: &Config) -> Result<Connectors, StartError> {
    let sessions = config.worker.concurrency + SPARE_SESSIONS;
    let client = web_client(config)?;
    let mut connectors = Connectors::default();
    for (name, connection) in &config.connections {
        connect(&mut connectors, name, connection, sessions, &client)
            .map_err(|fault| StartError::Connection { name: name.clone(), fault })?;
    }
    Ok(connectors)
}

/// Adds one connection; databases with that many sessions.
///
/// # Errors
/// What is wrong with it.
pub(super) fn connect(
    connectors: &mut Connectors,
    name: &str,
    connection: &Connection,
    sessions: usize,
    client: &WebClient,
) -> Result<(), String> {
    let url = connection.url.expose();
    match &connection.kind {
        ConnectionKind::Database => {
            connectors.insert(name.to_owned(), Arc::new(SqlConnector::new(url, sessions)?));
        }
        ConnectionKind::Service { headers, probe } => {
            let headers: Vec<(String, String)> =
                headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
            let service = HttpService::new(client.clone(), url, &headers, probe.clone())?;
            connectors.insert_service(name.to_owned(), Arc::new(service));
        }
    }
    Ok(())
}

/// The one way to other people's servers.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn web_client(config: &Config) -> Result<WebClient, StartError> {
    WebClient::new(config.private_hosts.clone()).map_err(StartError::Outbound)
}

fn webhooks(config: &Config) -> Result<Webhooks, StartError> {
    let mut endpoints = BTreeMap::new();
    for (name, webhook) in &config.webhooks {
        // The configuration has checked it.
        if let Some(key) = webhook::SigningKey::parse(webhook.secret.expose()) {
            endpoints.insert(name.clone(), Endpoint { url: webhook.url.clone(), key });
        }
    }
    Ok(Webhooks { endpoints, client: web_client(config)? })
}

fn upkeep(config: &Config) -> Result<Upkeep, StartError> {
    let retention = &config.retention;
    let archives = retention.archive.as_ref().map(objects).transpose().map_err(StartError::Archive)?;
    Ok(Upkeep {
        policies: retention.policies.clone(),
        schedules: config.schedules.clone(),
        approval: config.approval_of_runs.clone(),
        archives,
        periods: retention.periods,
        ledger: Some(retention.ledger),
    })
}

fn evidence(config: &config::Evidence) -> Result<Evidence, StartError> {
    // The configuration has checked them.
    let keys: Vec<_> = config.keys.iter().filter_map(|key| SigningKey::parse(key.expose()).ok()).collect();
    let sinks = config.sinks.iter().map(|sink| {
        let place = match &sink.place {
            EvidencePlace::File(path) => SinkPlace::File(path.clone()),
            EvidencePlace::Store(store) => SinkPlace::Objects(objects(store).map_err(StartError::Evidence)?),
            EvidencePlace::Webhook(name) => SinkPlace::Webhook(name.clone()),
        };
        Ok(Sink { name: sink.name.clone(), place })
    });
    Ok(Evidence {
        signer: (!keys.is_empty()).then(|| Signer { origin: config.origin.clone(), keys }),
        sinks: sinks.collect::<Result<_, StartError>>()?,
    })
}

fn packages(exports: &config::Exports) -> Result<Packages, StartError> {
    let objects = objects(&exports.store).map_err(StartError::Exports)?;
    Ok(Packages { objects, expires_after: exports.expires_after })
}

fn objects(store: &ExportStore) -> Result<Objects, String> {
    match place(store) {
        Place::Folder(folder) => Objects::folder(&folder),
        Place::Bucket(bucket) => Objects::bucket(bucket),
    }
}

fn place(store: &ExportStore) -> Place {
    match store {
        ExportStore::Folder(folder) => Place::Folder(folder.clone()),
        ExportStore::Bucket { name, prefix, region, endpoint, credentials } => Place::Bucket(Bucket {
            name: name.clone(),
            prefix: prefix.clone(),
            region: region.clone(),
            endpoint: endpoint.clone(),
            credentials: credentials.as_ref().map(|(id, secret)| (id.clone(), secret.expose().to_owned())),
        }),
    }
}

fn backups(config: &Config) -> Backups {
    let configured = config.backups.iter().map(|(name, configured)| {
        let source = match &configured.kind {
            BackupKind::File(pattern) => Source::Files(pattern.clone()),
            BackupKind::ObjectStore { store, prefix } => {
                Source::Objects { place: place(store), prefix: prefix.clone() }
            }
            BackupKind::Command { argv, folder } => {
                Source::Command { argv: argv.clone(), folder: folder.clone() }
            }
        };
        let backup = Backup {
            source,
            expected: Expected {
                max_age: configured.max_age.and_then(|age| TimeDelta::from_std(age).ok()),
                min_size: configured.min_size,
                retention_days: configured.retention_days,
            },
            has_checksum: configured.has_checksum,
            // The configuration has checked it.
            identity: configured.identity.as_ref().and_then(|key| Identity::parse(key.expose())),
            restore: configured.restore.as_ref().map(|restore| Restore {
                into: match &restore.into {
                    config::RestoreInto::Sqlite => RestoreInto::Sqlite,
                    config::RestoreInto::Postgres(url) => {
                        RestoreInto::Postgres { url: url.expose().to_owned() }
                    }
                },
                tables: restore.tables.clone(),
            }),
            timeout: configured.timeout,
        };
        (name.clone(), backup)
    });
    Backups { by_name: configured.collect() }
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
        long_pause: worker.batch.long_pause,
    }
}
