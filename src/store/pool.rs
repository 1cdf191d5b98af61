//! A pool whose connections come back only when they are handed back: whatever is dropped in between — by a
//! cancelled future, an error, a panic — is closed. A connection inside a transaction would otherwise return
//! with its locks, and every later writer would wait for them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    StoreError,
    conn::{Conn, Target},
};

/// How long a caller waits for a free connection.
const WAIT: Duration = Duration::from_secs(10);
/// A connection that was idle longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// One that was idle longer is closed: where the server has too few for everybody, the other pools need them.
const KEPT_IDLE: Duration = Duration::from_secs(15);

pub(super) struct Pool {
    target: Target,
    /// The one that was used last is last, and used next.
    idle: Mutex<Vec<(Conn, Instant)>>,
    permits: Arc<Semaphore>,
}

/// A connection taken from a pool. Dropping it closes it; the permit is released after that, so the field order
/// matters.
pub(super) struct Held {
    pub(super) conn: Conn,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(target: Target, size: usize) -> Arc<Self> {
        Arc::new(Self { target, idle: Mutex::default(), permits: Arc::new(Semaphore::new(size)) })
    }

    /// A connection that closes itself when it is held for longer than `limit`, of which most is spent waiting for the
    /// server: see [`Conn::wait_for`].
    ///
    /// # Errors
    /// `Unavailable` when no connection came free, or a new one could not be made, within 10 s each.
    pub(super) async fn get(self: &Arc<Self>, limit: Option<Duration>) -> Result<Held, StoreError> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Unavailable("no connection came free within 10 s".to_owned()))?
            .map_err(|_| StoreError::internal("the pool is closed"))?;
        let conn = match self.idle().await {
            Some(conn) => conn,
            None => self.target.connect().await?,
        };
        conn.wait_for(limit);
        Ok(Held { conn, pool: Arc::clone(self), _permit: permit })
    }

    async fn idle(&self) -> Option<Conn> {
        loop {
            let (mut conn, since) = self.lock().pop()?;
            if conn.is_broken() {
                continue;
            }
            if since.elapsed() < TRUSTED_IDLE || conn.lives().await {
                return Some(conn);
            }
            // Those that were idle for even longer are no better, and to ask each of them takes its time.
            self.lock().retain(|(_, rested)| *rested > since);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Conn, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Hands the connection back; only for one that is in no transaction and whose last statement succeeded.
    pub(super) fn give_back(self) {
        let Self { conn, pool, _permit } = self;
        conn.wait_for(None);
        let mut idle = pool.lock();
        idle.retain(|(_, since)| since.elapsed() < KEPT_IDLE);
        idle.push((conn, Instant::now()));
    }
}
