//! The service's own tables, on SQLite (the default) or PostgreSQL: requests, what is sealed with them, plans,
//! and the audit log.
//!
//! Every query is written once as a diesel expression and carried out by the macro `on!` on whichever
//! connection it is given (see `conn`); the few real differences are an explicit `match` with the reason beside
//! it. Writes go through [`Tx`]: a change, its audit event and the job are one commit. Reads take a connection
//! of their own and see committed rows only.

mod audit_readings;
mod backups;
mod checkpoints;
mod claim;
mod conn;
mod consents;
mod counts;
mod error;
mod event_columns;
mod events;
mod fixtures;
mod group_commit;
mod holds;
mod keeps;
mod ledger;
mod log;
mod log_schema;
mod migrate;
mod outbox;
mod packages;
mod periods;
mod plans;
mod pool;
mod prepared;
mod reads;
mod replays;
mod rows;
mod runs;
mod schedules;
mod schema;
mod snapshot;
mod statements;
mod submission;
mod summary;
mod sweeps;
mod tx;
mod tx_keys;
mod tx_person;
mod verification;
mod waiting;

use std::{path::Path, sync::Arc, time::Duration};

pub use backups::LEASE as BACKUP_LEASE;
pub use checkpoints::{Checkpoint, Publication, Sink};
pub use claim::{Claimed, Claims};
pub use consents::{ConsentFilter, NewConsent, Recorded, WholeConsent};
pub use counts::Counts;
pub use error::StoreError;
pub use events::{EventFilter, EventOrder, EventPage};
pub use fixtures::{FixtureClaim, FixtureFile, FixtureLease, LoadedFixture};
pub use holds::WholeHold;
pub use ledger::LedgerCount;
pub use log::{LogState, Sequenced};
pub use outbox::Delivery;
pub use packages::{LinkUse, Package};
pub use plans::{NewPlan, PlanVersion};
pub use reads::{Page, RequestFilter, Sort, Whole};
pub use runs::{Begun, ClaimedRun, RunFilter};
pub use schedules::Firing;
pub use snapshot::{Head, Snapshot};
pub use submission::{Given, Inserted, NewSecrets};
pub use summary::SummaryFilter;
pub use sweeps::{Due, SweptRequest};
pub use tx::{Saved, Taken, Tx};
pub use verification::{EventBytes, LogEntry, Queued};

use crate::{domain::clock::Clock, drivers::sqlite::Place};
use conn::Target;
use group_commit::Writer;
use pool::{Held, Pool};

const SQLITE_READERS: usize = 4;
/// Apart from each other, so that long exports never keep a worker from recording its batch.
const POSTGRES_WRITERS: usize = 12;
const POSTGRES_READERS: usize = 8;
/// Long readings, as slow as whoever receives them: they take none of the others' connections.
const SNAPSHOTS: usize = 4;
/// How long a few short statements, and a reading of any number of rows, may keep a session of PostgreSQL before its
/// server counts as gone. What is as slow as its receiver has no limit.
const SHORT: Duration = Duration::from_secs(15);
const READING: Duration = Duration::from_secs(60);

/// A handle to the store; clones share its connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// The webhooks that changes are to be told to.
    endpoints: Arc<[String]>,
}

struct Inner {
    writers: Writers,
    lookups: Arc<Pool>,
    readers: Arc<Pool>,
    snapshots: Arc<Pool>,
    clock: Clock,
}

enum Writers {
    /// SQLite allows one writer at a time.
    One(Writer),
    Many(Arc<Pool>),
    /// The store was opened for reading.
    None,
}

impl Store {
    /// Opens the store at `sqlite:PATH` (created if missing) or `postgres://…`. Creates no table: see
    /// [`Store::migrate`].
    ///
    /// # Errors
    /// `Unavailable` when it cannot be reached, `Internal` when the URL is of another kind.
    pub async fn open(url: &str, clock: Clock) -> Result<Self, StoreError> {
        match Target::parse(url)? {
            Target::Postgres(url) => {
                let writers = Pool::new(Target::Postgres(url.clone()), POSTGRES_WRITERS);
                writers.get(Some(SHORT)).await?.give_back();
                let reader = Target::PostgresReader(url);
                let readers = Pool::new(reader.clone(), POSTGRES_READERS);
                Ok(Self::with_pools(Writers::Many(writers), readers.clone(), readers, reader, clock))
            }
            Target::Sqlite(path) => {
                // Goes first: it creates the file that the readers expect.
                let writer = Writer::open(Target::Sqlite(path.clone())).await?;
                let lookups = Pool::new(Target::SqliteReader(path.clone(), Place::Here), SQLITE_READERS);
                let reader = Target::SqliteReader(path, Place::Apart);
                let readers = Pool::new(reader.clone(), SQLITE_READERS);
                Ok(Self::with_pools(Writers::One(writer), lookups, readers, reader, clock))
            }
            reader => Ok(Self::read_only(reader, clock)),
        }
    }

    /// [`Store::open`] for one that is there: no file is created.
    ///
    /// # Errors
    /// As that; `Unavailable` also where there is no file.
    pub async fn open_existing(url: &str, clock: Clock) -> Result<Self, StoreError> {
        match Target::parse(url)? {
            Target::Sqlite(path) if !Path::new(&path).is_file() => {
                Err(StoreError::Unavailable("there is no file at the store's path".to_owned()))
            }
            _ => Self::open(url, clock).await,
        }
    }

    /// Opens a store, also a mere copy of a SQLite file, for reading alone: nothing is created or written.
    ///
    /// # Errors
    /// `Unavailable` when there is nothing to read at that place.
    pub async fn open_read_only(url: &str, clock: Clock) -> Result<Self, StoreError> {
        let reader = match Target::parse(url)? {
            Target::Sqlite(path) => Target::read_only(&path)?,
            Target::Postgres(url) => Target::PostgresReader(url),
            other => other,
        };
        let store = Self::read_only(reader, clock);
        store.reader().await?.give_back();
        Ok(store)
    }

    fn read_only(reader: Target, clock: Clock) -> Self {
        let readers = Pool::new(reader.clone(), 1);
        Self::with_pools(Writers::None, readers.clone(), readers, reader, clock)
    }

    fn with_pools(
        writers: Writers,
        lookups: Arc<Pool>,
        readers: Arc<Pool>,
        snapshots: Target,
        clock: Clock,
    ) -> Self {
        let snapshots = Pool::new(snapshots, SNAPSHOTS);
        let inner = Arc::new(Inner { writers, lookups, readers, snapshots, clock });
        Self { inner, endpoints: Arc::default() }
    }

    /// Tells the webhooks of these names of every change of a status from here on.
    #[must_use]
    pub fn announcing_to(self, endpoints: impl IntoIterator<Item = String>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), ..self }
    }

    /// For a few rows by their key: on SQLite a reading as short as that is done at once, by its caller.
    async fn lookup(&self) -> Result<Held, StoreError> {
        self.inner.lookups.get(Some(SHORT)).await
    }

    async fn reader(&self) -> Result<Held, StoreError> {
        self.inner.readers.get(Some(READING)).await
    }

    fn clock(&self) -> Clock {
        self.inner.clock
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
