//! Requests and runs that wait for a connection that was down. How long is decided when they begin to; that it is back
//! ends it.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError,
    conn::{on, read},
    schema::{requests, runs},
};
use crate::domain::request::{RunCode, Status};

/// Those of either table, as [`RunError`](crate::domain::request::RunError) is kept: its code comes first.
macro_rules! waiting {
    ($table:ident, $connection:ident, $now:ident) => {{
        let of =
            |code: RunCode| format!("{{\"code\":\"{}\",%\"connection\":\"{}\"%", code.as_str(), $connection);
        $table::table.filter(
            $table::status.eq(Status::Paused.as_str()).and($table::run_at.gt($now)).and(
                $table::error
                    .like(of(RunCode::ConnectionUnavailable))
                    .or($table::error.like(of(RunCode::LockTimeout))),
            ),
        )
    }};
}

impl Store {
    /// Whether anything is paused for that connection.
    ///
    /// # Errors
    /// As every statement.
    pub async fn is_waited_for(&self, connection: &str) -> Result<bool, StoreError> {
        let now = self.clock().now().naive_utc();
        let first = waiting!(requests, connection, now).select(requests::id).limit(1);
        let found: Vec<String> = read!(self, |c| first.load(c).await);
        if !found.is_empty() {
            return Ok(true);
        }
        let first = waiting!(runs, connection, now).select(runs::id).limit(1);
        let found: Vec<String> = read!(self, |c| first.load(c).await);
        Ok(!found.is_empty())
    }

    /// Has whatever is paused for that connection go on now; how much it was.
    ///
    /// # Errors
    /// As every statement.
    pub async fn end_pauses(&self, connection: &str) -> Result<usize, StoreError> {
        let now = self.clock().now().naive_utc();
        let mut tx = self.begin().await?;
        let conn = tx.conn().await?;
        let all = diesel::update(waiting!(requests, connection, now)).set(requests::run_at.eq(now));
        let mut ended = on!(&mut *conn, |c| all.execute(c).await)?;
        let all = diesel::update(waiting!(runs, connection, now)).set(runs::run_at.eq(now));
        ended += on!(&mut *conn, |c| all.execute(c).await)?;
        tx.commit().await?;
        Ok(ended)
    }
}
