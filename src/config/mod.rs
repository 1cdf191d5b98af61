//! `rightful.yaml`: one struct per section, validated once, so that nothing past this module asks again whether a
//! value makes sense. It is also the only place that reads the environment. Secrets have no printable form.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::domain::{
    call::CallTemplate,
    document::Fault,
    period::Period,
    request::Kind,
    retention::Policy,
    run::{Task, TaskKind},
    schedule::{Schedule, Timing},
    sweep::Periods,
};

mod backups;
mod environment;
mod evidence;
mod exports;
mod fixtures;
mod interpolate;
mod outbound;
mod read;
mod retention;
mod schedules;
mod secret;
#[cfg(test)]
mod tests;
mod values;

pub use backups::{Backup, BackupKind, Restore, RestoreInto};
#[cfg(all(debug_assertions, unix))]
pub use environment::points;
pub use environment::{LogFormat, host_name, log_filter, log_format};
pub use fixtures::environment;
pub use secret::{MasterKey, Secret};
pub use values::{SHORTEST_HMAC_SECRET, duration};

/// Everything that a person decides about one installation.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    pub listen: SocketAddr,
    /// `sqlite:/absolute/path` or `postgres://…`; may hold a password.
    pub store: Secret,
    /// The folder of plan files, absolute.
    pub plans: PathBuf,
    pub auth: Auth,
    pub secrets: Secrets,
    pub connections: BTreeMap<String, Connection>,
    pub cors: Cors,
    /// The kinds of request that wait for an approver.
    pub approval: Vec<Kind>,
    /// The kinds of run that do.
    pub approval_of_runs: Vec<TaskKind>,
    /// Who is told of what becomes of requests, by name.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Hosts of webhooks and HTTP services that may lead to private addresses.
    pub private_hosts: Vec<String>,
    pub exports: Exports,
    pub retention: Retention,
    pub schedules: Vec<Schedule>,
    /// Backups that are verified, by name.
    pub backups: BTreeMap<String, Backup>,
    pub fixtures: Fixtures,
    pub evidence: Evidence,
    pub worker: Worker,
}

/// What is done with old rows, and how long the service keeps what is its own.
#[derive(Debug, Clone)]
pub struct Retention {
    pub policies: BTreeMap<String, Policy>,
    /// When policies run, where they say so themselves.
    pub timings: Vec<(Task, Timing)>,
    /// Where archived rows go.
    pub archive: Option<ExportStore>,
    pub periods: Periods,
    /// How long the ledger keeps a completed erasure: no longer than the oldest backup lives.
    pub ledger: Period,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            policies: BTreeMap::new(),
            timings: Vec::new(),
            archive: None,
            periods: Periods::default(),
            ledger: Period::YEAR,
        }
    }
}

/// Who issues the tokens that are accepted.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The `iss` that a token must name.
    pub issuer: String,
    /// The `aud` that a token must name.
    pub audience: String,
    /// Where the roles lie in the claims; a dotted path: `realm_access.roles`.
    pub roles_claim: String,
    pub keys: AuthKeys,
}

/// What signatures are checked with: exactly one kind, so that no token can choose its own.
#[derive(Debug, Clone)]
pub enum AuthKeys {
    /// Fetched over HTTPS (or from this machine).
    Jwks { url: String },
    /// RS256, ES256 or EdDSA, as the key's type says; PEM.
    PublicKey { pem: String },
    /// HS256; at least [`SHORTEST_HMAC_SECRET`] bytes.
    Hmac { secret: Secret },
}

#[derive(Debug, Clone)]
pub struct Secrets {
    /// The key under pseudonyms and sealed identities.
    pub pseudonym_key: MasterKey,
}

/// A system that holds personal data.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `postgres://`, `mysql://` or `sqlite:/absolute/path`, which may hold a password; or that of an HTTP service.
    pub url: Secret,
    pub kind: ConnectionKind,
    /// For faults that only show when it is used.
    pub line: usize,
}

#[derive(Debug, Clone)]
pub enum ConnectionKind {
    Database,
    /// An HTTP service.
    Service {
        /// Names and values that go with every call.
        headers: Vec<(String, Secret)>,
        /// Answers 2xx as long as address and credentials are right.
        probe: Option<CallTemplate>,
    },
}

/// Where the packages of exports lie, and for how long.
#[derive(Debug, Clone)]
pub struct Exports {
    pub store: ExportStore,
    pub expires_after: Duration,
}

#[derive(Debug, Clone)]
pub enum ExportStore {
    /// Absolute.
    Folder(PathBuf),
    /// A bucket of a service that speaks S3.
    Bucket {
        name: String,
        /// In front of every object's name; may be empty.
        prefix: String,
        region: String,
        /// Of a service other than Amazon's.
        endpoint: Option<String>,
        /// Key id and secret; without them those of the machine's role are used.
        credentials: Option<(String, Secret)>,
    },
}

/// Rows for development and tests, put into the connections at start.
#[derive(Debug, Clone, Default)]
pub struct Fixtures {
    /// Absolute; `None`: nothing is loaded at start.
    pub folder: Option<PathBuf>,
    /// Whose overlay is loaded behind the base.
    pub environment: Option<String>,
}

/// Who signs checkpoints of the audit log, and where they are published.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Of the log; the name of every key.
    pub origin: String,
    /// Signed-note keys. None: nothing is signed.
    pub keys: Vec<Secret>,
    pub sinks: Vec<EvidenceSink>,
}

#[derive(Debug, Clone)]
pub struct EvidenceSink {
    /// `file:PATH`, `store:PLACE` or `webhook:NAME`; no two are the same.
    pub name: String,
    pub place: EvidencePlace,
}

#[derive(Debug, Clone)]
pub enum EvidencePlace {
    /// Absolute.
    File(PathBuf),
    Store(ExportStore),
    /// The name of one of the webhooks.
    Webhook(String),
}

/// A receiver of news, after the Standard Webhooks specification.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: String,
    /// `whsec_` and base64.
    pub secret: Secret,
}

#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// `https://panel.example`: scheme, host, port; no wildcard.
    pub origins: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Worker {
    /// Requests carried out at the same time by one process.
    pub concurrency: usize,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// Failures, and crashes in a row, after which a request is `failed`.
    pub max_attempts: i32,
    pub batch: Batch,
}

#[derive(Debug, Clone)]
pub struct Batch {
    /// What one batch should take.
    pub time_target: Duration,
    pub min_rows: u32,
    pub max_rows: u32,
    /// Rest within and after each batch, as a part of the time worked; 0 for none.
    pub pause: f64,
    /// The same of work that goes on for more than half a second, where `pause` is not 0, nor longer.
    pub long_pause: f64,
}

impl Default for Worker {
    fn default() -> Self {
        Self { concurrency: 4, lease: Duration::from_secs(30), max_attempts: 8, batch: Batch::default() }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            time_target: Duration::from_millis(250),
            min_rows: 50,
            max_rows: 10_000,
            pause: 0.5,
            long_pause: 20.0,
        }
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
/// Every fault that was found, by line.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let mut reader = crate::domain::document::Reader::new(&file);
        reader.error_nowhere(
            format!("cannot be read: {}", error.kind()),
            "`rightful init` writes one, `--config FILE` names another",
        );
        reader.into_faults()
    })?;
    parse(path, &text, &environment::variable)
}

fn parse(path: &Path, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Fault>> {
    read::read(path, text, variable)
}
