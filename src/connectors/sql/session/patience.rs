//! How long an answer is waited for. A server ends a statement by its own limit; a peer that went away without a word
//! never does.

use std::time::Duration;

use diesel::result::QueryResult;

use super::super::{dialect::Dialect, error::unavailable};
use crate::connectors::{ConnectorError, ErrorKind, Limits};

/// What network and server may take beyond a statement's own limit before the session counts as lost.
const GRACE: Duration = Duration::from_secs(10);
/// For statements of a session that has no limits yet.
const UNLIMITED: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    /// What it means that the answer did not come.
    means: ErrorKind,
}

impl Patience {
    /// SQLite knows no limit of its own: nobody waits any longer there, the statement ends by itself, and closing the
    /// session rolls it back.
    pub(super) fn of(dialect: Dialect, limits: Option<Limits>) -> Self {
        let limit = limits.map_or(UNLIMITED, |limits| limits.statement_timeout);
        match dialect {
            Dialect::Sqlite => Self { limit, means: ErrorKind::StatementTimeout },
            Dialect::Postgres | Dialect::MySql => {
                Self { limit: limit + GRACE, means: ErrorKind::Unavailable }
            }
        }
    }

    /// For several statements, each of which may take its time.
    pub(super) fn times(self, statements: usize) -> Self {
        let times = u32::try_from(statements.max(1)).unwrap_or(u32::MAX);
        Self { limit: self.limit.saturating_mul(times), ..self }
    }

    /// A commit without an answer may have happened.
    pub(super) fn committing(self) -> Self {
        Self { means: ErrorKind::Unavailable, ..self }
    }

    /// Where the answer does not come the caller's session stays busy, and so is closed.
    pub(super) async fn with<T>(
        self,
        call: impl Future<Output = QueryResult<T>>,
    ) -> Result<QueryResult<T>, ConnectorError> {
        tokio::time::timeout(self.limit, call).await.map_err(|_| match self.means {
            ErrorKind::Unavailable => unavailable("the database did not answer"),
            kind => ConnectorError { kind, detail: "the statement took longer than it may".to_owned() },
        })
    }
}
