//! The sessions of one connection: as many as may be open at a time, and the idle ones among them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel_async::SimpleAsyncConnection;
use tokio::sync::Semaphore;

use super::{
    super::{dialect::Dialect, error::unavailable},
    Conn, Session,
    connect::Address,
};
use crate::connectors::{ConnectorError, Limits};

/// A session that was idle longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// A session that was idle longer is closed.
const KEPT_IDLE: Duration = Duration::from_secs(60);
/// How long an idle session has to say that it lives.
const PING: Duration = Duration::from_secs(5);
/// How long a caller waits for a free session.
const POOL_TIMEOUT: Duration = Duration::from_secs(30);

/// The sessions of one connection; cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Pool>);

impl Pool {
    /// Takes an unharmed session back.
    pub(super) fn rest(&self, conn: Conn, limits: Option<Limits>) {
        let idle = Idle { conn, limits, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }
}

pub(super) struct Pool {
    pub(super) address: Address,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    conn: Conn,
    limits: Option<Limits>,
    since: Instant,
}

impl Sessions {
    /// Connects to nothing yet; at most `max` sessions at a time.
    ///
    /// # Errors
    /// What is wrong with the URL and what to do, without its password.
    pub fn new(url: &str, max: usize) -> Result<Self, String> {
        let address = Address::parse(url)?;
        Ok(Self(Arc::new(Pool {
            address,
            places: Arc::new(Semaphore::new(max)),
            idle: Mutex::new(Vec::new()),
        })))
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.address.dialect()
    }

    /// A session with these time limits.
    ///
    /// # Errors
    /// [`Unavailable`](crate::connectors::ErrorKind::Unavailable) when the target cannot be reached.
    pub async fn get(&self, limits: Limits) -> Result<Session, ConnectorError> {
        let place = tokio::time::timeout(POOL_TIMEOUT, self.0.places.clone().acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| unavailable("all sessions are in use"))?;
        let (conn, set) = match self.idle().await {
            Some(idle) => (idle.conn, idle.limits),
            None => (self.0.address.connect().await?, None),
        };
        let mut session = Session {
            conn: Some(conn),
            pool: self.0.clone(),
            limits: set,
            ahead: None,
            open: false,
            busy: false,
            _place: place,
        };
        session.limit(limits).await?;
        Ok(session)
    }

    async fn idle(&self) -> Option<Idle> {
        loop {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            let rested = idle.since.elapsed();
            if rested < TRUSTED_IDLE {
                return Some(idle);
            }
            if rested < KEPT_IDLE && lives(&mut idle.conn).await {
                return Some(idle);
            }
        }
    }
}

/// A peer that went away without a word never answers.
async fn lives(conn: &mut Conn) -> bool {
    let asked = async { on!(conn, c => c.batch_execute("SELECT 1").await.is_ok()) };
    tokio::time::timeout(PING, asked).await.unwrap_or(false)
}
