//! Sessions on a target database: a small pool, the time limits of each use, and the rule that a session whose
//! transaction may still be open is closed, never given to somebody else.

/// Runs the same diesel-async call on whichever connection it is.
macro_rules! on {
    ($conn:expr, $c:ident => $call:expr) => {
        match $conn {
            Conn::Postgres { conn: $c, .. } => $call,
            Conn::MySql($c) => $call,
            Conn::Sqlite($c) => $call,
        }
    };
}

mod connect;
mod patience;
mod pool;
mod prepare;
mod script;
mod stream;

use std::{fmt::Display, sync::Arc, time::Duration};

use diesel::result::QueryResult;
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures::future::try_join_all;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    dialect::Dialect,
    dynamic::{Cells, Dynamic},
    error::{of, unavailable},
    statement::{Statement, TextRow},
    wire::LastState,
};
use crate::{
    connectors::{ConnectorError, ErrorKind, Limits},
    drivers::sqlite::AsyncSqliteConnection,
};
use connect::set_if_known;
use patience::Patience;
use pool::Pool;
pub use pool::Sessions;

/// How long a server waits for the next statement of a transaction, at least and at most: as long as for a statement. Where
/// the network swallowed it, who comes next meets its locks until then. MySQL has no such limit, MariaDB from 10.3 on:
/// elsewhere the locks stay until the server finds out by itself that nobody is there.
const IDLE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// A connection through diesel-async, whichever the database.
pub(super) enum Conn {
    Postgres { conn: Box<AsyncPgConnection>, last: LastState },
    MySql(Box<AsyncMysqlConnection>),
    Sqlite(Box<AsyncSqliteConnection>),
}

/// One session. Dropped while a transaction may be open, or in the middle of a statement, it is closed.
pub struct Session {
    conn: Option<Conn>,
    pool: Arc<Pool>,
    limits: Option<Limits>,
    /// PostgreSQL: settings and the start of a transaction, sent along with the next statement.
    ahead: Option<String>,
    open: bool,
    busy: bool,
    _place: OwnedSemaphorePermit,
}

impl Session {
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.pool.address.dialect()
    }

    /// # Errors
    /// As the database says, sorted.
    pub async fn query(&mut self, statement: &Statement) -> Result<Vec<TextRow>, ConnectorError> {
        let query = Dynamic(statement.clone());
        self.busy = true;
        let ahead = self.ahead.take();
        let patience = self.patience();
        let conn = self.conn()?;
        let loading = async move {
            let rows: QueryResult<Vec<Cells>> = match conn {
                Conn::Postgres { conn, .. } => after(conn, ahead, query.load(&mut &**conn)).await,
                Conn::MySql(c) => query.load(c).await,
                Conn::Sqlite(c) => query.load(c).await,
            };
            rows
        };
        let result = patience.with(loading).await?;
        self.done(result).map(|rows| rows.into_iter().map(|cells| cells.0).collect())
    }

    /// Rows affected.
    ///
    /// # Errors
    /// As the database says, sorted.
    pub async fn execute(&mut self, statement: &Statement) -> Result<u64, ConnectorError> {
        let query = Dynamic(statement.clone());
        self.catch_up().await?;
        self.busy = true;
        let patience = self.patience();
        let conn = self.conn()?;
        let executing = async move {
            let affected: QueryResult<usize> = on!(conn, c => query.execute(c).await);
            affected
        };
        let result = patience.with(executing).await?;
        self.done(result).map(|rows| rows as u64)
    }

    /// [`execute`](Self::execute) for each, in order; PostgreSQL gets them all before the first answer is awaited.
    /// Only inside a transaction: an error undoes what came before it.
    ///
    /// # Errors
    /// As the database says, sorted.
    pub async fn execute_all(&mut self, statements: Vec<Statement>) -> Result<Vec<u64>, ConnectorError> {
        self.catch_up().await?;
        self.busy = true;
        let patience = self.patience().times(statements.len());
        let conn = self.conn()?;
        let result = patience.with(each(conn, statements)).await?;
        self.done(result).map(|rows| rows.into_iter().map(|rows| rows as u64).collect())
    }

    /// PostgreSQL: sent along with the next statement.
    pub fn precede(&mut self, sql: &str) {
        self.ahead =
            Some(self.ahead.take().map_or_else(|| sql.to_owned(), |ahead| format!("{ahead}; {sql}")));
    }

    /// Closes the session, whatever was set in it.
    pub fn close(mut self) {
        self.conn = None;
    }

    /// Sends what waits for the next statement, where that one must not go without it.
    async fn catch_up(&mut self) -> Result<(), ConnectorError> {
        if self.ahead.is_some() { self.run("").await } else { Ok(()) }
    }

    /// Starts a transaction; PostgreSQL is told along with its first reading, or before its first change.
    ///
    /// # Errors
    /// As the database says, sorted.
    pub async fn begin(&mut self) -> Result<(), ConnectorError> {
        self.open = true;
        match self.dialect() {
            Dialect::Postgres => {
                self.precede("BEGIN");
                Ok(())
            }
            Dialect::MySql => self.run("START TRANSACTION").await,
            Dialect::Sqlite => self.run("BEGIN IMMEDIATE").await,
        }
    }

    /// Starts a transaction whose readings all see the same moment, and which cannot write.
    ///
    /// # Errors
    /// As the database says, sorted.
    pub async fn begin_snapshot(&mut self) -> Result<(), ConnectorError> {
        self.open = true;
        match self.dialect() {
            Dialect::Postgres => {
                self.precede("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
                Ok(())
            }
            Dialect::MySql => {
                // For the next transaction only.
                self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
                self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await
            }
            Dialect::Sqlite => self.run("BEGIN").await,
        }
    }

    /// Statements without values: COMMIT, ROLLBACK, SET.
    ///
    /// # Errors
    /// As the database says, sorted.
    pub async fn run(&mut self, sql: &str) -> Result<(), ConnectorError> {
        let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        self.busy = true;
        let text = self.ahead.take().map_or_else(|| sql.to_owned(), |ahead| format!("{ahead}; {sql}"));
        let patience = if word == "COMMIT" { self.patience().committing() } else { self.patience() };
        let conn = self.conn()?;
        let running = async { on!(conn, c => c.batch_execute(&text).await) };
        let result = patience.with(running).await?;
        let done = self.done(result);
        if done.is_ok() && matches!(word.as_str(), "COMMIT" | "ROLLBACK") {
            self.open = false;
        }
        if word == "ROLLBACK" || done.is_err() {
            // Settings that were sent with BEGIN are undone with what followed it.
            self.limits = None;
        }
        done
    }

    fn patience(&self) -> Patience {
        Patience::of(self.dialect(), self.limits)
    }

    fn conn(&mut self) -> Result<&mut Conn, ConnectorError> {
        self.conn.as_mut().ok_or_else(|| unavailable("the session was closed"))
    }

    fn done<T>(&mut self, result: QueryResult<T>) -> Result<T, ConnectorError> {
        let state = match &self.conn {
            Some(Conn::Postgres { last, .. }) => last.take(),
            _ => None,
        };
        match result {
            Ok(value) => {
                self.busy = false;
                Ok(value)
            }
            Err(error) => {
                let error = of(&error, self.dialect(), state.as_deref());
                // A session that was lost stays busy, and so is closed.
                self.busy = error.kind == ErrorKind::Unavailable;
                Err(error)
            }
        }
    }

    /// Sets the limits that differ from what the session has.
    async fn limit(&mut self, limits: Limits) -> Result<(), ConnectorError> {
        let same = self.limits.is_some_and(|set| {
            set.lock_timeout == limits.lock_timeout && set.statement_timeout == limits.statement_timeout
        });
        if same {
            return Ok(());
        }
        let (lock, statement) = (limits.lock_timeout.as_millis(), limits.statement_timeout.as_millis());
        let idle = limits.statement_timeout.clamp(IDLE.0, IDLE.1);
        match self.dialect() {
            Dialect::Postgres => {
                let idle = idle.as_millis();
                self.precede(&format!("SET lock_timeout = {lock}; SET statement_timeout = {statement}"));
                self.precede(&format!("SET idle_in_transaction_session_timeout = {idle}"));
            }
            Dialect::MySql => {
                let lock = limits.lock_timeout.as_secs().max(1);
                self.run(&format!("SET SESSION innodb_lock_wait_timeout = {lock}")).await?;
                // MariaDB counts seconds for every statement, MySQL milliseconds for reading ones.
                let seconds = limits.statement_timeout.as_secs_f64();
                if self.set_if_known("max_statement_time", seconds).await? {
                    self.set_if_known("idle_transaction_timeout", idle.as_secs()).await?;
                } else {
                    self.run(&format!("SET SESSION max_execution_time = {statement}")).await?;
                }
            }
            Dialect::Sqlite => self.run(&format!("PRAGMA busy_timeout = {lock}")).await?,
        }
        self.limits = Some(limits);
        Ok(())
    }

    /// MySQL and MariaDB; see [`set_if_known`].
    async fn set_if_known(&mut self, variable: &str, value: impl Display) -> Result<bool, ConnectorError> {
        self.busy = true;
        let patience = self.patience();
        let Conn::MySql(conn) = self.conn()? else { return Ok(false) };
        let result = patience.with(set_if_known(conn, variable, value)).await?;
        self.done(result)
    }
}

/// On PostgreSQL all are sent before the first answer is awaited.
async fn each(conn: &mut Conn, statements: Vec<Statement>) -> QueryResult<Vec<usize>> {
    let queries = statements.into_iter().map(Dynamic);
    if let Conn::Postgres { conn, .. } = conn {
        let conn = &**conn;
        return try_join_all(queries.map(|query| async move { query.execute(&mut &*conn).await })).await;
    }
    let mut affected = Vec::new();
    for query in queries {
        affected.push(on!(&mut *conn, c => query.execute(c).await)?);
    }
    Ok(affected)
}

/// A reading with settings ahead of it, in one round trip.
async fn after<T>(
    conn: &AsyncPgConnection,
    ahead: Option<String>,
    reading: impl Future<Output = QueryResult<T>>,
) -> QueryResult<T> {
    let setting = async {
        match ahead {
            Some(ahead) => (&mut &*conn).batch_execute(&ahead).await,
            None => Ok(()),
        }
    };
    // In this order: `join!` of tokio would start with either.
    let (set, read) = futures::join!(setting, reading);
    set.and(read)
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.open || self.busy || self.ahead.is_some() {
            return;
        }
        if let Some(conn) = self.conn.take() {
            self.pool.rest(conn, self.limits);
        }
    }
}
