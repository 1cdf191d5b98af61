//! A pool whose connections come back only when they are handed back: whatever is dropped in between — by a
//! cancelled future, an error, a panic — is closed. A connection inside a transaction would otherwise return
//! with its locks, and every later writer would wait for them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    StoreError,
    conn::{Conn, Target},
};

/// How long a caller waits for a free connection.
const WAIT: Duration = Duration::from_secs(10);

pub(super) struct Pool {
    target: Target,
    idle: Mutex<Vec<Conn>>,
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

    /// # Errors
    /// `Unavailable` when no connection came free, or a new one could not be made, within 10 s each.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Held, StoreError> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Unavailable("no connection came free within 10 s".to_owned()))?
            .map_err(|_| StoreError::internal("the pool is closed"))?;
        let conn = match self.take_idle() {
            Some(conn) => conn,
            None => self.target.connect().await?,
        };
        Ok(Held { conn, pool: Arc::clone(self), _permit: permit })
    }

    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut conn) = idle.pop() {
            if !conn.is_broken() {
                return Some(conn);
            }
        }
        None
    }
}

impl Held {
    /// Hands the connection back; only for one that is in no transaction and whose last statement succeeded.
    pub(super) fn give_back(self) {
        let Self { conn, pool, _permit } = self;
        pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
    }
}
