//! SQLite's calls block. Where they run is up to whoever opens the connection.

use diesel::SqliteConnection;
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, ready},
};

/// An asynchronous connection to a file.
pub type AsyncSqliteConnection = SyncConnectionWrapper<SqliteConnection, Place>;

/// Where the calls of a connection run.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// On a thread for calls that block. One whose future is dropped runs on by itself; diesel-async's own spawner
    /// waits for it inside of `drop`, which stops every task of that thread, and panics on a single-threaded runtime
    /// such as actix' workers have.
    Apart,
    /// On the caller's thread, which must be sure that they are short and wait for nobody: to hand a statement of a
    /// few microseconds to another thread takes many times as long as the statement.
    Here,
}

impl SpawnBlocking for Place {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn std::error::Error + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        match self {
            Self::Apart => tokio::task::spawn_blocking(task).map_err(Into::into).boxed(),
            Self::Here => ready(Ok(task())).boxed(),
        }
    }

    fn get_runtime() -> Self {
        Self::Apart
    }
}
