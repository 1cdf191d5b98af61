//! Trusted SQL is checked by the database itself, and not run.

use diesel::{
    result::{Error, QueryResult},
    sql_query,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::{
    super::{
        dialect::Dialect,
        dynamic::{Cells, Dynamic},
        error::of,
        statement::Statement,
    },
    Conn, Session,
};
use crate::connectors::ConnectorError;

impl Session {
    /// Checks SQL against the schema without running it; the inner error is the database's own words.
    ///
    /// # Errors
    /// When the session was lost.
    pub async fn prepare(&mut self, sql: &str) -> Result<Result<(), String>, ConnectorError> {
        // PREPARE takes a statement with placeholders and runs nothing; SQLite compiles what EXPLAIN is put before.
        let text = match self.dialect() {
            Dialect::Postgres => format!("PREPARE rightful_check AS {sql}"),
            Dialect::MySql => {
                format!("PREPARE rightful_check FROM '{}'", sql.replace('\\', "\\\\").replace('\'', "''"))
            }
            Dialect::Sqlite => format!("EXPLAIN {sql}"),
        };
        self.busy = true;
        let patience = self.patience();
        let conn = self.conn()?;
        let checking = async {
            match conn {
                // A second statement in the text must not be run. PostgreSQL's extended protocol and SQLite's prepare
                // take one; on MySQL, whose protocol for prepared statements takes no PREPARE, it lies inside of a string.
                Conn::Postgres { conn, .. } => sql_query(text).execute(conn).await.map(|_| ()),
                Conn::MySql(conn) => conn.batch_execute(&text).await,
                Conn::Sqlite(conn) => {
                    let program: QueryResult<Vec<Cells>> = Dynamic(Statement::plain(text)).load(conn).await;
                    program.map(|_| ())
                }
            }
        };
        match patience.with(checking).await? {
            Ok(()) => {
                self.busy = false;
                if self.dialect() != Dialect::Sqlite {
                    self.run("DEALLOCATE PREPARE rightful_check").await?;
                }
                Ok(Ok(()))
            }
            Err(Error::DatabaseError(_, information)) => {
                let words = information.message().to_owned();
                // What was read off the wire is of this error, and the session must still be there.
                self.run("SELECT 1").await?;
                Ok(Err(words))
            }
            Err(error) => Err(of(&error, self.dialect(), None)),
        }
    }
}
