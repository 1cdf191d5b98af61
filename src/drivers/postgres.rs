//! PostgreSQL by URL, with the TLS that libpq's `sslmode` and `sslrootcert` ask for.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio_postgres::config::SslMode;

use super::tls::{TlsMode, client_config, tls_mode, url_without};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
        Ok(Self { config, tls, roots: found.into_iter().nth(1).flatten() })
    }

    /// # Errors
    /// When the server cannot be reached or refuses; never with its password.
    pub async fn connect(&self) -> Result<AsyncPgConnection, String> {
        let tls =
            tokio_postgres_rustls::MakeRustlsConnect::new(client_config(self.tls, self.roots.as_deref())?);
        let (client, connection) = self
            .config
            .connect(tls)
            .await
            .map_err(|_| "PostgreSQL did not accept the connection".to_owned())?;
        AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(|_| "the session could not be set up".to_owned())
    }
}
