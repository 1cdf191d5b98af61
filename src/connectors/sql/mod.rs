//! PostgreSQL, MySQL/MariaDB and SQLite through diesel-async, with one table of dialects.

mod address;
mod age;
pub mod catalog;
mod closure;
mod compare;
mod computed;
mod context;
mod count;
pub mod dialect;
mod dynamic;
mod error;
mod extract;
mod facts;
mod fragment;
mod load;
mod mask;
mod predicate;
mod rectify;
mod recursive;
mod resolve;
mod rounds;
pub mod session;
pub mod statement;
mod take;
mod transaction;
mod walk;
mod windows;
mod wire;
mod witness;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;

use self::{
    compare::Side,
    context::Context,
    dialect::{Dialect, internal},
    facts::Facts,
    session::{Session, Sessions},
    transaction::SqlTx,
};
use super::{
    Connector, ConnectorError, Count, ErrorKind, Extract, Fixture, FixtureError, KeyStream, Keys, Limits,
    RecordedRow, RecordedStream, Resolution, Trusted, Tx, Work,
};
use crate::domain::{
    compiled::{Action, ExportColumns, KeyColumn, KeySet, Mask, Root, Rows, TableName, TimeKind},
    key::{Key, Tuple},
    package::Column,
    schema::Catalog,
};

/// Keys and rows of one chunk of a stream.
const CHUNK: usize = 1_000;
/// For statements that read a catalog or one person's row.
const READING: Limits =
    Limits { lock_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(30) };
/// For streams over a person's rows.
const STREAMING: Limits =
    Limits { lock_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(600) };

/// For the question whether it answers.
const ASKING: Limits =
    Limits { lock_timeout: Duration::from_millis(100), statement_timeout: Duration::from_secs(2) };

/// For a package: its reader may be slow, and a database waits for it.
const EXTRACTING: Limits =
    Limits { lock_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(3_600) };

/// A SQL database that holds personal data.
pub struct SqlConnector {
    sessions: Sessions,
    place: Option<String>,
    /// Collations and indexes, as of the schema that the fingerprint tells.
    facts: RwLock<Option<(String, Arc<Facts>)>>,
}

impl SqlConnector {
    /// Connects to nothing yet; at most `sessions` at a time.
    ///
    /// # Errors
    /// What is wrong with the URL and what to do, without its password.
    pub fn new(url: &str, sessions: usize) -> Result<Self, String> {
        Ok(Self { sessions: Sessions::new(url, sessions)?, place: place(url), facts: RwLock::new(None) })
    }

    fn dialect(&self) -> Dialect {
        self.sessions.dialect()
    }

    /// What is known of indexes and collations; read once, and again when the engine saw the schema change.
    async fn facts(&self, session: &mut Session) -> Result<Arc<Facts>, ConnectorError> {
        let known = self
            .facts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|(_, facts)| facts.clone());
        if let Some(facts) = known {
            return Ok(facts);
        }
        let fingerprint = catalog::fingerprint(session).await?;
        let catalog = catalog::read(session).await?;
        let facts = Arc::new(Facts::read(session, catalog).await?);
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Some((fingerprint, facts.clone()));
        Ok(facts)
    }

    fn forget_facts_of_other_than(&self, fingerprint: &str) {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        if facts.as_ref().is_some_and(|(known, _)| known != fingerprint) {
            *facts = None;
        }
    }

    async fn reading(&self, limits: Limits) -> Result<(Session, Arc<Facts>), ConnectorError> {
        let mut session = self.sessions.get(limits).await?;
        let facts = self.facts(&mut session).await?;
        Ok((session, facts))
    }
}

#[async_trait]
impl Connector for SqlConnector {
    fn place(&self) -> Option<String> {
        self.place.clone()
    }

    /// On SQLite somebody's lock on the whole file is what there is to wait for.
    async fn answers(&self) -> bool {
        let Ok(mut session) = self.sessions.get(ASKING).await else { return false };
        match self.dialect() {
            Dialect::Sqlite => session.begin().await.is_ok() && session.run("ROLLBACK").await.is_ok(),
            Dialect::Postgres | Dialect::MySql => session.run("SELECT 1").await.is_ok(),
        }
    }

    fn keeps_writers_out(&self) -> bool {
        self.dialect() == Dialect::Sqlite
    }

    async fn catalog(&self) -> Result<Catalog, ConnectorError> {
        let mut session = self.sessions.get(READING).await?;
        catalog::read(&mut session).await
    }

    async fn fingerprint(&self) -> Result<String, ConnectorError> {
        let mut session = self.sessions.get(READING).await?;
        let fingerprint = catalog::fingerprint(&mut session).await?;
        self.forget_facts_of_other_than(&fingerprint);
        Ok(fingerprint)
    }

    async fn resolve(&self, root: &Root, given: &[(usize, Key)]) -> Result<Resolution, ConnectorError> {
        let (mut session, facts) = self.reading(READING).await?;
        resolve::resolve(&mut session, &facts, root, given).await
    }

    async fn reread(&self, root: &Root, tuple: &Tuple) -> Result<Resolution, ConnectorError> {
        let (mut session, facts) = self.reading(READING).await?;
        resolve::reread(&mut session, &facts, root, tuple).await
    }

    async fn count(&self, counts: &[Count<'_>], limit: Duration) -> Result<Vec<u64>, ConnectorError> {
        let (mut session, facts) = self.reading(Limits { statement_timeout: limit, ..READING }).await?;
        // A single statement: it cannot write, and needs no transaction around it.
        within(limit, count::run(&mut session, &facts, counts)).await
    }

    async fn span(
        &self,
        rows: &Rows,
        keys: &Keys,
        column: &KeyColumn,
        time: TimeKind,
        limit: Duration,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, ConnectorError> {
        let (mut session, facts) = self.reading(Limits { statement_timeout: limit, ..READING }).await?;
        let context = Context::new(self.dialect(), &facts, keys);
        within(limit, age::span(&mut session, context, rows, column, time)).await
    }

    async fn keys(&self, set: &KeySet, keys: &Keys) -> Result<KeyStream, ConnectorError> {
        let (session, facts) = self.reading(STREAMING).await?;
        let dialect = self.dialect();
        let context = Context::new(dialect, &facts, keys);
        let sides: Vec<Side<'_>> =
            set.columns.iter().map(|column| Side::own(context, &set.rows.table, column)).collect();
        let cells: Vec<String> = set
            .columns
            .iter()
            .zip(&sides)
            .map(|(column, side)| dialect.cell(&side.expr, column.family))
            .collect();
        let filled = compare::all_filled(dialect, &sides);
        let head =
            format!("SELECT DISTINCT {} FROM {} WHERE ", cells.join(", "), dialect.table(&set.rows.table));
        let statement = predicate::all(context, &set.rows)?.within(&head, " AND ").and(filled).finish();
        let columns = set.columns.clone();
        let stream = session.stream(statement, CHUNK).map(move |chunk| {
            let columns: Vec<&KeyColumn> = columns.iter().collect();
            chunk?.into_iter().map(|row| dialect.tuple(&columns, row)).collect()
        });
        Ok(stream.boxed())
    }

    async fn recorded(&self, work: &Work<'_>, rows: &[RecordedRow]) -> Result<u64, ConnectorError> {
        let (mut session, facts) = self.reading(READING).await?;
        let context = Context::new(self.dialect(), &facts, work.keys);
        computed::holding(&mut session, context, work.rows, mask_of(work)?, rows).await
    }

    async fn masked_rows(&self, work: &Work<'_>) -> Result<RecordedStream, ConnectorError> {
        let (session, facts) = self.reading(STREAMING).await?;
        let dialect = self.dialect();
        let context = Context::new(dialect, &facts, work.keys);
        let mask = mask_of(work)?.clone();
        let Some(statement) = computed::reading(context, work, &mask)? else {
            return Ok(futures::stream::empty().boxed());
        };
        let rows = work.rows.clone();
        let stream = session.stream(statement.finish(), CHUNK).map(move |chunk| {
            chunk?.into_iter().map(|cells| computed::recorded_row(dialect, &rows, &mask, cells)).collect()
        });
        Ok(stream.boxed())
    }

    async fn columns(
        &self,
        table: &TableName,
        columns: &ExportColumns,
    ) -> Result<Vec<Column>, ConnectorError> {
        let (_, facts) = self.reading(READING).await?;
        extract::columns(&facts, table, columns)
    }

    async fn extract(&self, work: &Work<'_>, columns: &ExportColumns) -> Result<Extract, ConnectorError> {
        let (session, facts) = self.reading(EXTRACTING).await?;
        extract::extract(session, &facts, work, columns).await
    }

    async fn begin(&self, limits: Limits) -> Result<Box<dyn Tx>, ConnectorError> {
        let (mut session, facts) = self.reading(limits).await?;
        session.begin().await?;
        Ok(Box::new(SqlTx::new(session, facts)))
    }

    async fn load(&self, fixture: Fixture<'_>) -> Result<u64, FixtureError> {
        let session = self.sessions.get(load::LIMITS).await?;
        match fixture {
            Fixture::Script(sql) => {
                let done = load::script(session, sql).await.map(|()| 0);
                // Also of one that failed half-way.
                self.forget_facts_of_other_than("");
                done
            }
            Fixture::Rows(tables) => load::rows(session, tables).await,
        }
    }

    async fn prepare(&self, trusted: Trusted<'_>) -> Result<Result<(), String>, ConnectorError> {
        let (mut session, facts) = self.reading(READING).await?;
        let keys = Keys::default();
        let context = Context::new(self.dialect(), &facts, &keys).preparing();
        let (Trusted::Rows(rows) | Trusted::Step(rows, _)) = trusted;
        let table = self.dialect().table(&rows.table);
        let condition = predicate::all(context, rows)?;
        let statement = match trusted {
            Trusted::Step(rows, Action::Mask(mask)) if !mask::is_computed(mask) => {
                let assignments = mask::assignments(context, rows, mask)?;
                let condition = count::remaining(context, rows, &Action::Mask(mask.clone()), condition)?;
                assignments.within(&format!("UPDATE {table} SET "), " WHERE ").and(condition)
            }
            _ => condition.within(&format!("SELECT 1 FROM {table} WHERE "), ""),
        };
        session.prepare(&numbered(self.dialect(), &statement.finish().sql)).await
    }

    async fn settle(&self) -> Result<(), ConnectorError> {
        if self.dialect() == Dialect::Sqlite {
            let mut session = self.sessions.get(READING).await?;
            // Busy readers are left alone; the log is emptied some other time then.
            if let Err(error) = session.run("PRAGMA wal_checkpoint(TRUNCATE)").await {
                tracing::debug!(%error, "the write-ahead log was not emptied");
            }
        }
        Ok(())
    }
}

/// A count that does not come to an end in time.
async fn within<T>(
    limit: Duration,
    counting: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    match tokio::time::timeout(limit, counting).await {
        Ok(counted) => counted,
        Err(_) => Err(ConnectorError {
            kind: ErrorKind::StatementTimeout,
            detail: "the count took longer than it may".to_owned(),
        }),
    }
}

fn mask_of<'a>(work: &Work<'a>) -> Result<&'a Mask, ConnectorError> {
    match work.action {
        Action::Mask(mask) => Ok(mask),
        _ => Err(internal("not a mask")),
    }
}

/// Placeholders as the database's own clients write them.
fn numbered(dialect: Dialect, sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    for (position, part) in sql.split(statement::MARK).enumerate() {
        match (position, dialect) {
            (0, _) => {}
            (_, Dialect::Postgres) => text.push_str(&format!("${position}")),
            _ => text.push('?'),
        }
        text.push_str(part);
    }
    text
}

/// Host, port and database of a URL, or its file.
fn place(url: &str) -> Option<String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        return Some(format!("sqlite:{}", whole.display()));
    }
    let url = url::Url::parse(url).ok()?;
    let (kind, port) = match url.scheme() {
        "postgres" | "postgresql" => ("postgres", 5_432),
        "mysql" | "mariadb" => ("mysql", 3_306),
        _ => return None,
    };
    let host = url.host_str().filter(|host| *host != "localhost").unwrap_or("127.0.0.1").to_lowercase();
    let port = url.port().unwrap_or(port);
    Some(format!("{kind}://{host}:{port}{}", url.path().trim_end_matches('/')))
}
