//! A script of several statements, as a person wrote it.

use diesel::result::{DatabaseErrorInformation, Error};
use diesel_async::SimpleAsyncConnection;

use super::{Conn, Session};
use crate::connectors::FixtureError;

impl Session {
    /// Runs all statements of a text; what it sets in the session stays, so the session is to be closed afterwards.
    ///
    /// # Errors
    /// As the database says, sorted; with the line where it tells the place (PostgreSQL).
    pub async fn script(&mut self, sql: &str) -> Result<(), FixtureError> {
        // Sent before: places are counted from the beginning of what is sent.
        self.catch_up().await?;
        self.busy = true;
        let patience = self.patience();
        let conn = self.conn()?;
        let running = async { on!(conn, c => c.batch_execute(sql).await) };
        let result = patience.with(running).await?;
        let line = match &result {
            Err(Error::DatabaseError(_, information)) => line_of(information.as_ref(), sql),
            _ => None,
        };
        self.done(result).map_err(|error| FixtureError { error, line })
    }
}

/// From the position, in characters from 1.
fn line_of(information: &dyn DatabaseErrorInformation, sql: &str) -> Option<usize> {
    let position = usize::try_from(information.statement_position()?).ok()?;
    let before = sql.chars().take(position.saturating_sub(1));
    Some(before.filter(|character| *character == '\n').count() + 1)
}
