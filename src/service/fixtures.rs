//! Fixtures: files with tables and rows for development and tests, loaded into the connections. Each is loaded once per
//! content, by one process; a row is put or changed by its key, so that loading it twice is loading it once.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use super::Service;
use crate::{
    connectors::{Connector, ConnectorError, ErrorKind, Fixture, FixtureError},
    domain::{
        document::{Fault, Severity},
        fixture::bind,
    },
    store::{FixtureClaim, FixtureLease, LoadedFixture, StoreError},
};
use folder::{Content, Source};

mod folder;

/// How often is looked whether another process has loaded a file.
const LOOK: Duration = Duration::from_millis(200);
/// How often a load is repeated that met a lock or a deadlock.
const REPEATS: u32 = 3;
const ACTOR: &str = "system";

/// What became of the files.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were come to.
    pub files: Vec<FileReport>,
    /// Why a connection's remaining files were not loaded.
    pub faults: Vec<Fault>,
    /// Connections that could not be asked.
    pub down: BTreeMap<String, ConnectorError>,
}

/// One file that is loaded, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    pub file: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This very content was loaded before, or by another process meanwhile.
    Known,
    /// SQL, which does not say how many rows it changed.
    Script,
    Rows {
        all: u64,
        /// Those that were not there like that.
        changed: u64,
    },
}

/// Loads what changed of a folder and of its overlay for the environment. A fault ends the load of its connection;
/// nothing is loaded when a file cannot be read.
///
/// # Errors
/// When the store does not answer.
pub async fn load(service: &Service, folder: &Path, environment: Option<&str>) -> Result<Report, StoreError> {
    match folder::read(&service.connectors, folder, environment) {
        Ok(sources) => load_all(service, &sources).await,
        Err(faults) => Ok(Report { faults, ..Report::default() }),
    }
}

/// As [`load`], files that were loaded before as well: for a database that was made anew.
///
/// # Errors
/// When the store does not answer.
pub async fn load_again(
    service: &Service,
    folder: &Path,
    environment: Option<&str>,
) -> Result<Report, StoreError> {
    let sources = match folder::read(&service.connectors, folder, environment) {
        Ok(sources) => sources,
        Err(faults) => return Ok(Report { faults, ..Report::default() }),
    };
    for source in &sources {
        service.store.forget_fixture(source.identity()).await?;
    }
    load_all(service, &sources).await
}

async fn load_all(service: &Service, sources: &[Source]) -> Result<Report, StoreError> {
    let mut report = Report::default();
    for connection in sources.chunk_by(|one, other| one.connection == other.connection) {
        for source in connection {
            match load_once(service, source).await? {
                Ok(outcome) => report.files.push(FileReport { file: source.file.clone(), outcome }),
                Err(Trouble::Faults(faults)) => {
                    report.faults.extend(faults);
                    break;
                }
                Err(Trouble::Down(error)) => {
                    report.down.insert(source.connection.clone(), error);
                    break;
                }
            }
        }
    }
    Ok(report)
}

enum Trouble {
    Faults(Vec<Fault>),
    Down(ConnectorError),
}

/// Loads a file unless that is done, or waits for the process that does.
async fn load_once(service: &Service, source: &Source) -> Result<Result<Outcome, Trouble>, StoreError> {
    let file = source.identity();
    loop {
        let asked = Instant::now();
        let lease = match service.store.claim_fixture(file, &source.hash, service.pacing.lease).await? {
            FixtureClaim::Done => return Ok(Ok(Outcome::Known)),
            FixtureClaim::Busy => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            FixtureClaim::Taken(lease) => lease,
        };
        // Losing the lease drops the load, which takes back what it did.
        let loaded = tokio::select! {
            loaded = carry_out(service, source) => loaded,
            () = lost(service, lease, asked) => continue,
        };
        let outcome = match loaded {
            Ok(outcome) => outcome,
            Err(trouble) => {
                service.store.give_back_fixture(lease).await?;
                return Ok(Err(trouble));
            }
        };
        let rows = match outcome {
            Outcome::Rows { all, changed } => Some((all, changed)),
            Outcome::Known | Outcome::Script => None,
        };
        let record = LoadedFixture { hash: &source.hash, rows };
        if service.store.fixture_loaded(lease, file, record, ACTOR).await? {
            tracing::info!(file = source.file, "fixtures were loaded");
            return Ok(Ok(outcome));
        }
    }
}

/// Renews a lease, and returns when it is lost, or when it may be because the store does not answer.
async fn lost(service: &Service, lease: FixtureLease, asked: Instant) {
    let duration = service.pacing.lease;
    let mut confirmed = asked;
    // A third of it is for what is under way, a commit say.
    let trusted = duration * 2 / 3;
    while confirmed.elapsed() < trusted {
        tokio::time::sleep(duration / 3).await;
        let asked = Instant::now();
        let left = trusted.saturating_sub(confirmed.elapsed());
        match tokio::time::timeout(left, service.store.renew_fixture(lease, duration)).await {
            Ok(Ok(true)) => confirmed = asked,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the lease on a fixture could not be renewed"),
        }
    }
}

async fn carry_out(service: &Service, source: &Source) -> Result<Outcome, Trouble> {
    let Some(connector) = service.connectors.get(&source.connection) else {
        return Err(trouble(source, &FixtureError::from(missing())));
    };
    let mut repeats = 0;
    loop {
        match load_into(&**connector, source).await {
            // SQL may be half done where the database ends a transaction by itself.
            Err(Failed::Database(failed))
                if repeats < REPEATS
                    && is_passing(failed.error.kind)
                    && matches!(source.content, Content::Tables(_)) =>
            {
                repeats += 1
            }
            Err(Failed::Database(failed)) if failed.error.kind == ErrorKind::Unavailable => {
                return Err(Trouble::Down(failed.error));
            }
            Err(Failed::Database(failed)) => return Err(trouble(source, &failed)),
            Err(Failed::Faults(faults)) => return Err(Trouble::Faults(faults)),
            Ok(outcome) => return Ok(outcome),
        }
    }
}

enum Failed {
    Faults(Vec<Fault>),
    Database(FixtureError),
}

impl From<FixtureError> for Failed {
    fn from(error: FixtureError) -> Self {
        Self::Database(error)
    }
}

async fn load_into(connector: &dyn Connector, source: &Source) -> Result<Outcome, Failed> {
    let tables = match &source.content {
        Content::Script(sql) => {
            connector.load(Fixture::Script(sql)).await?;
            return Ok(Outcome::Script);
        }
        Content::Tables(tables) => tables,
    };
    // Of this moment: the file before this one may have made the tables.
    let catalog = connector.catalog().await.map_err(FixtureError::from)?;
    let upserts = bind(&source.file, tables, &catalog).map_err(Failed::Faults)?;
    let all = upserts.iter().map(|table| table.rows.len() as u64).sum();
    let changed = connector.load(Fixture::Rows(&upserts)).await?;
    Ok(Outcome::Rows { all, changed })
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::LockTimeout)
}

fn missing() -> ConnectorError {
    ConnectorError { kind: ErrorKind::Internal, detail: "the connection is gone".to_owned() }
}

fn trouble(source: &Source, failed: &FixtureError) -> Trouble {
    let remedy = match (failed.error.kind, &source.content) {
        (ErrorKind::ConstraintViolation, Content::Tables(_)) => {
            "another row has the same value of a unique key, a column is missing, or the row points at one that is not there"
        }
        (ErrorKind::ConstraintViolation | ErrorKind::SchemaChanged, Content::Script(_)) => {
            "run it by hand to read what the database says; write it so that it can run twice (IF NOT EXISTS): a process \
             that was killed behind its commit runs it again"
        }
        (_, Content::Script(_)) => "run it by hand to read what the database says",
        (ErrorKind::SchemaChanged, Content::Tables(_)) => {
            "the connection's role needs SELECT, INSERT and UPDATE"
        }
        (_, Content::Tables(_)) => "",
    };
    Trouble::Faults(vec![Fault {
        file: source.file.clone(),
        line: failed.line,
        problem: failed.error.detail.clone(),
        remedy: remedy.to_owned(),
        severity: Severity::Error,
    }])
}
