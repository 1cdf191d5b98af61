//! One connection to either database, and the macro that carries out one query text on both.

use std::{path::Path, sync::Arc, time::Duration};

use diesel::{Connection, SqliteConnection, result::QueryResult};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection, pooled_connection::PoolableConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::StoreError;
use crate::drivers::{
    postgres::{PostgresAddress, PostgresSession},
    sqlite::{AsyncSqliteConnection, Place},
};

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle session has to say that it lives.
const PING: Duration = Duration::from_secs(2);

/// What every SQLite session sets. `synchronous=FULL`: an accepted request survives a power cut.
/// `secure_delete`: deleted key parts are overwritten, not merely unlinked.
/// `temp_store`: what a savepoint has to remember stays in memory.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; \
     PRAGMA secure_delete = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";
/// WAL is a property of the file: readers and the writer no longer wait for each other. Nor does the writer wait for
/// another process inside of a call: see [`super::group_commit`].
const SQLITE_WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 0;";

/// Plans are kept for as long as a session, and some are made while the tables are all but empty: every statement has an
/// index made for it. What has none costs as much as it may, for which nothing has to be compiled.
const POSTGRES_SESSION: &str = "SET enable_seqscan = off; SET jit = off;";
/// One that was stopped in the middle of a transaction would keep its locks for as long as it sleeps.
const POSTGRES_WRITER: &str = "SET idle_in_transaction_session_timeout = '15s';";
const POSTGRES_READER: &str = "SET default_transaction_read_only = on;";

pub(super) enum Conn {
    /// Behind a fair lock, so that statements which are started together (see [`each!`] and [`shared!`]) run one
    /// after the other here, in the order in which they were started.
    Sqlite(Mutex<AsyncSqliteConnection>),
    Postgres(PostgresSession),
}

/// Runs the same diesel expression in both arms, so that diesel checks it against both backends. With a second
/// name, that name is the backend's type inside (for `into_boxed`).
macro_rules! on {
    ($conn:expr, |$c:ident| $query:expr) => {
        match $conn {
            $crate::store::conn::Conn::Sqlite($c) => {
                let $c = $c.get_mut();
                $query
            }
            $crate::store::conn::Conn::Postgres($c) => {
                let $c = &mut **$c;
                $query
            }
        }
    };
    ($conn:expr, |$c:ident, $db:ident| $query:expr) => {
        match $conn {
            $crate::store::conn::Conn::Sqlite($c) => {
                type $db = diesel::sqlite::Sqlite;
                let $c = $c.get_mut();
                $query
            }
            $crate::store::conn::Conn::Postgres($c) => {
                type $db = diesel::pg::Pg;
                let $c = &mut **$c;
                $query
            }
        }
    };
}

/// [`on!`] over a shared connection: several such futures, joined, are sent to PostgreSQL in their order before the
/// first answer is awaited. None of them may need the answer of another.
macro_rules! shared {
    ($conn:expr, |$c:ident| $query:expr) => {
        match $conn {
            $crate::store::conn::Conn::Sqlite(c) => {
                let $c = &mut *c.lock().await;
                $query
            }
            $crate::store::conn::Conn::Postgres(c) => {
                let $c = &mut &**c;
                $query
            }
        }
    };
}

/// [`on!`] with a connection for a reading of a few rows by their key, which goes back to its pool only when the query
/// succeeded.
macro_rules! read {
    ($store:expr, |$($names:ident),+| $query:expr) => {{
        let mut held = $store.lookup().await?;
        let answer = $crate::store::conn::on!(&mut held.conn, |$($names),+| $query)?;
        held.give_back();
        answer
    }};
}

/// Runs one statement for each item and yields the rows affected: one after the other on SQLite, where there is
/// no round trip to save (and several rows in one VALUES do not compile through diesel-async); on PostgreSQL one
/// prepared text, all of them sent before the first answer is awaited.
macro_rules! each {
    ($conn:expr, $items:expr, |$item:ident| $query:expr) => {
        match $conn {
            $crate::store::conn::Conn::Sqlite(c) => {
                let c = &mut *c.lock().await;
                let mut affected = 0;
                for $item in $items {
                    affected += $query.execute(c).await?;
                }
                affected
            }
            $crate::store::conn::Conn::Postgres(c) => {
                let c = &**c;
                let all = $items.into_iter().map(|$item| async move { $query.execute(&mut &*c).await });
                futures::future::try_join_all(all).await?.into_iter().sum::<usize>()
            }
        }
    };
}

pub(super) use {each, on, read, shared};

/// Where connections lead.
#[derive(Clone)]
pub(super) enum Target {
    /// A path; opened for writing, created if missing.
    Sqlite(String),
    /// The same file, for committed reads, and where they run.
    SqliteReader(String, Place),
    /// A file that must not be changed, and the folder of its private copy if one was needed, which goes with
    /// the last user.
    SqliteFrozen {
        uri: String,
        _copy: Option<Arc<TempDir>>,
    },
    Postgres(String),
    PostgresReader(String),
}

impl Target {
    /// # Errors
    /// `Internal` when the URL is neither kind. The text does not repeat the URL: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some("" | ":memory:") => {
                Err(StoreError::internal("a SQLite store needs a file, such as sqlite:rightful.db"))
            }
            Some(path) => Ok(Self::Sqlite(path.to_owned())),
            None => Err(StoreError::internal("a store is sqlite:PATH or postgres://…")),
        }
    }

    /// How to read a SQLite file without changing anything on disk. Beside a live service the shared-memory
    /// file exists and locks are honoured; without a write-ahead log the file alone is complete; a log without
    /// its shared memory (a copy of two of the three files) cannot be opened unchanged, so a private copy is.
    pub(super) fn read_only(path: &str) -> Result<Self, StoreError> {
        let missing = |_| StoreError::Unavailable("there is no readable file at the store's path".to_owned());
        std::fs::File::open(path).map_err(missing)?;
        let (wal, shm) = (format!("{path}-wal"), format!("{path}-shm"));
        let has_log = std::fs::metadata(&wal).is_ok_and(|file| file.len() > 0);
        if !has_log {
            return Ok(Self::SqliteFrozen { uri: uri(path, "mode=ro&immutable=1")?, _copy: None });
        }
        if Path::new(&shm).exists() {
            return Ok(Self::SqliteFrozen { uri: uri(path, "mode=ro&readonly_shm=1")?, _copy: None });
        }
        let folder = tempfile::tempdir().map_err(missing)?;
        let copy = folder.path().join("store.db");
        std::fs::copy(path, &copy).map_err(missing)?;
        std::fs::copy(&wal, folder.path().join("store.db-wal")).map_err(missing)?;
        let uri = uri(&copy.to_string_lossy(), "mode=rw")?;
        Ok(Self::SqliteFrozen { uri, _copy: Some(Arc::new(folder)) })
    }

    pub(super) async fn connect(&self) -> Result<Conn, StoreError> {
        let connecting = async {
            match self {
                Self::Sqlite(path) => {
                    connect_sqlite(path, &format!("{SQLITE_SESSION} {SQLITE_WRITER}"), Place::Here).await
                }
                Self::SqliteReader(path, place) => {
                    let session = format!("{SQLITE_SESSION} PRAGMA query_only = ON;");
                    connect_sqlite(path, &session, *place).await
                }
                Self::SqliteFrozen { uri, .. } => {
                    let session = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";
                    connect_sqlite(uri, session, Place::Apart).await
                }
                Self::Postgres(url) => {
                    connect_postgres(url, &format!("{POSTGRES_SESSION} {POSTGRES_WRITER}")).await
                }
                Self::PostgresReader(url) => {
                    connect_postgres(url, &format!("{POSTGRES_SESSION} {POSTGRES_READER}")).await
                }
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| StoreError::Unavailable("no connection within 10 s".to_owned()))?
    }
}

async fn connect_sqlite(path: &str, session: &str, place: Place) -> Result<Conn, StoreError> {
    let (path, session) = (path.to_owned(), session.to_owned());
    let open = move || {
        let mut conn = SqliteConnection::establish(&path)
            .map_err(|_| StoreError::Unavailable("the store's file cannot be opened".to_owned()))?;
        diesel::connection::SimpleConnection::batch_execute(&mut conn, &session)?;
        Ok(conn)
    };
    let conn = tokio::task::spawn_blocking(open)
        .await
        .map_err(|_| StoreError::internal("opening the store's file was interrupted"))?;
    conn.map(|conn| Conn::Sqlite(Mutex::new(AsyncSqliteConnection::with_runtime(conn, place))))
}

async fn connect_postgres(url: &str, session: &str) -> Result<Conn, StoreError> {
    let address = PostgresAddress::parse(url).map_err(StoreError::Unavailable)?;
    let mut conn = address.connect().await.map_err(StoreError::Unavailable)?;
    conn.batch_execute(session).await?;
    Ok(Conn::Postgres(conn))
}

/// A SQLite URI for a path; what has a meaning in a URI is percent-encoded.
fn uri(path: &str, query: &str) -> Result<String, StoreError> {
    let absolute = std::path::absolute(path)
        .map_err(|_| StoreError::Unavailable("the store's path cannot be read".to_owned()))?;
    let path = absolute.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{path}?{query}"))
}

impl Conn {
    /// Several statements without parameters: transaction control, session set-up, migrations.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        Ok(on!(self, |c| c.batch_execute(sql).await)?)
    }

    /// Starts a transaction and reads in it, in one round trip. For readings alone: should the start fail on its own,
    /// a reading does no harm outside.
    pub(super) async fn opening<T>(
        postgres: &AsyncPgConnection,
        start: Option<&str>,
        reading: impl Future<Output = QueryResult<T>>,
    ) -> Result<QueryResult<T>, StoreError> {
        let opening = async {
            match start {
                Some(start) => (&mut &*postgres).batch_execute(start).await,
                None => Ok(()),
            }
        };
        // In this order: `join!` of tokio would start with either.
        let (opened, read) = futures::join!(opening, reading);
        opened?;
        Ok(read)
    }

    /// Starts a transaction on PostgreSQL, to be joined with the statements that are to run in it. A start fails only
    /// together with its session, and nothing that is sent after it is carried out then.
    pub(super) async fn start(&self, how: Option<&str>) -> Result<(), StoreError> {
        match (self, how) {
            (Self::Postgres(c), Some(how)) => Ok((&mut &**c).batch_execute(how).await?),
            _ => Ok(()),
        }
    }

    /// A session that ended while it lay idle.
    pub(super) fn is_broken(&mut self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(conn) => conn.is_broken(),
        }
    }

    /// How long its user waits for the server from now on; a file has none.
    pub(super) fn wait_for(&self, limit: Option<Duration>) {
        if let Self::Postgres(conn) = self {
            conn.wait_for(limit);
        }
    }

    /// Whether its server still answers; a file needs none.
    pub(super) async fn lives(&mut self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(conn) => {
                let asked = tokio::time::timeout(PING, conn.batch_execute(""));
                asked.await.is_ok_and(|answer| answer.is_ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::{dsl::sql, sql_types::Integer};
    use diesel_async::RunQueryDsl;

    use super::*;

    #[tokio::test]
    async fn a_session_keeps_what_was_accepted_and_overwrites_what_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db").to_string_lossy().into_owned();
        let mut writer = Target::Sqlite(path.clone()).connect().await.unwrap();
        let mut reader = Target::SqliteReader(path, Place::Apart).connect().await.unwrap();
        for (pragma, wanted) in [("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)] {
            let text = format!("(SELECT {pragma} FROM pragma_{pragma})");
            let value: i32 =
                on!(&mut writer, |c| diesel::select(sql::<Integer>(&text)).get_result(c).await).unwrap();
            assert_eq!(value, wanted, "{pragma}");
        }
        writer.batch("CREATE TABLE t (a)").await.unwrap();
        assert!(reader.batch("INSERT INTO t VALUES (1)").await.is_err(), "a reader wrote");
    }
}
