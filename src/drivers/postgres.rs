//! PostgreSQL by URL, with the TLS that libpq's `sslmode` and `sslrootcert` ask for.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel_async::AsyncPgConnection;
use tokio_postgres::config::SslMode;

use super::tls::{TlsMode, client_config, tls_mode, url_without};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long without a word a peer is asked whether it is still there, and has as long to say so.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often a session is looked at whose user may have waited for too long.
const LOOK: Duration = Duration::from_secs(1);

/// Where a server is and how it is spoken to. Holds passwords: no `Debug`.
pub struct PostgresAddress {
    pub config: tokio_postgres::Config,
    pub tls: TlsMode,
    /// A file of root certificates instead of the system's.
    pub roots: Option<String>,
}

impl PostgresAddress {
    /// # Errors
    /// What is wrong with the URL and what to do, without its password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, found) = url_without(text, &["sslmode", "sslrootcert"])?;
        let tls = tls_mode(found.first().and_then(Option::as_ref), "sslmode")?;
        let mut config: tokio_postgres::Config = url
            .as_str()
            .parse()
            .map_err(|_| "not a PostgreSQL URL: write postgres://user@host:port/database")?;
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("rightful");
        }
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).tcp_user_timeout(KEEPALIVE);
        Ok(Self { config, tls, roots: found.into_iter().nth(1).flatten() })
    }

    /// # Errors
    /// When the server cannot be reached or refuses; never with its password.
    pub async fn connect(&self) -> Result<PostgresSession, String> {
        let tls =
            tokio_postgres_rustls::MakeRustlsConnect::new(client_config(self.tls, self.roots.as_deref())?);
        let (client, connection) = self
            .config
            .connect(tls)
            .await
            .map_err(|_| "PostgreSQL did not accept the connection".to_owned())?;
        let patience = Arc::new(Patience::default());
        let watched = patience.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Its end shows in the next statement; there is nobody to tell it here.
                _ = connection => {}
                () = watched.runs_out() => {
                    tracing::warn!("PostgreSQL did not answer in time: the session is given up");
                }
            }
        });
        let conn = AsyncPgConnection::try_from(client)
            .await
            .map_err(|_| "the session could not be set up".to_owned())?;
        Ok(PostgresSession { conn: Box::new(conn), patience })
    }
}

/// A session that ends by itself when its server says nothing for too long. A peer that went away without a word never
/// does, and TCP waits for hours.
pub struct PostgresSession {
    conn: Box<AsyncPgConnection>,
    patience: Arc<Patience>,
}

impl PostgresSession {
    /// From now on whoever uses it waits for so long and no longer; `None`: nobody uses it, or for as long as it takes.
    pub fn wait_for(&self, limit: Option<Duration>) {
        self.patience.set(limit);
    }

    /// For whoever waits as long as it takes.
    #[must_use]
    pub fn into_unlimited(self) -> AsyncPgConnection {
        *self.conn
    }
}

impl Deref for PostgresSession {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.conn
    }
}

impl DerefMut for PostgresSession {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.conn
    }
}

/// Until when an answer is waited for. Looked at now and then: to be woken for every statement would cost as much as a
/// fast one takes.
struct Patience {
    since: Instant,
    /// In milliseconds from then; none where it is the largest number.
    until: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { since: Instant::now(), until: AtomicU64::new(u64::MAX) }
    }
}

impl Patience {
    fn set(&self, limit: Option<Duration>) {
        let until = limit.map_or(u64::MAX, |limit| millis(self.since.elapsed() + limit));
        self.until.store(until, Ordering::Relaxed);
    }

    async fn runs_out(&self) {
        while millis(self.since.elapsed()) < self.until.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
