//! From a URL to a connection with a session that is safe to work in (DESIGN.md §5). What is set ends with the
//! session; nothing in the target is altered.

use std::{fmt::Display, time::Duration};

use diesel::{
    SqliteConnection,
    connection::{CacheSize, Connection},
    result::QueryResult,
    sql_types::Text,
};
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::{config::Host, error::SqlState};

use super::{
    super::{
        dialect::Dialect,
        error::{is_unknown_variable, of, of_connecting, unavailable},
        wire::{LastState, Watched, WatchedTls},
    },
    Conn,
};
use crate::{
    connectors::{ConnectorError, ErrorKind},
    drivers::{
        postgres::PostgresAddress,
        sqlite::{AsyncSqliteConnection, Place},
        tls::{TlsMode, client_config, tls_mode, url_without},
    },
};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long without a word a peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// `ER_BAD_DB_ERROR`.
const MYSQL_NO_DATABASE: u16 = 1049;
/// `ER_CON_COUNT_ERROR`, `ER_TOO_MANY_USER_CONNECTIONS`, `ER_USER_LIMIT_REACHED`.
const MYSQL_FULL: [u16; 3] = [1040, 1203, 1226];
const FULL: &str = "cannot connect: the server has too many connections already";

/// Where a target is and how it is spoken to. Holds passwords: no `Debug`.
pub(super) enum Address {
    Postgres(Box<PostgresAddress>),
    MySql(Box<MySqlAddress>),
    Sqlite { path: String },
}

pub(super) struct MySqlAddress {
    opts: mysql_async::Opts,
    /// Without encryption, where the URL leaves it to the server.
    plain: Option<mysql_async::Opts>,
}

impl Address {
    /// # Errors
    /// What is wrong with the URL and what to do, without its password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => {
                PostgresAddress::parse(text).map(|address| Self::Postgres(Box::new(address)))
            }
            Some("mysql" | "mariadb") => mysql_address(text),
            Some("sqlite") => {
                Ok(Self::Sqlite { path: text["sqlite:".len()..].trim_start_matches("//").to_owned() })
            }
            _ => Err("write postgres://, mysql:// or sqlite:FILE".to_owned()),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    pub(super) async fn connect(&self) -> Result<Conn, ConnectorError> {
        let connecting = async {
            match self {
                Self::Postgres(address) => postgres(address).await,
                Self::MySql(address) => mysql(address).await,
                Self::Sqlite { path } => sqlite(path).await,
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(unavailable("no connection within 10 s")))
    }
}

fn mysql_address(text: &str) -> Result<Address, String> {
    let text = text.replacen("mariadb:", "mysql:", 1);
    let (url, found) = url_without(&text, &["ssl-mode", "ssl-ca"])?;
    let tls = tls_mode(found.first().and_then(Option::as_ref), "ssl-mode")?;
    let opts = mysql_async::Opts::from_url(url.as_str())
        .map_err(|_| "not a MySQL URL: write mysql://user@host:port/database")?;
    if opts.db_name().is_none() {
        return Err("the URL names no database: write mysql://user@host:port/database".to_owned());
    }
    let encrypted = mysql_async::SslOpts::default();
    let ssl = match tls {
        TlsMode::Disable => None,
        TlsMode::Prefer | TlsMode::Require => Some(encrypted.with_danger_accept_invalid_certs(true)),
        TlsMode::VerifyCa => Some(encrypted.with_danger_skip_domain_validation(true)),
        TlsMode::VerifyFull => Some(encrypted),
    };
    let roots = found.into_iter().nth(1).flatten();
    let ssl = ssl.map(|ssl| match roots {
        Some(file) => ssl.with_root_certs(vec![std::path::PathBuf::from(file).into()]),
        None => ssl,
    });
    let builder = mysql_async::OptsBuilder::from_opts(opts)
        // As the other databases count: an UPDATE's rows are those it found, changed or not.
        .client_found_rows(true)
        .tcp_keepalive(u32::try_from(KEEPALIVE.as_millis()).ok())
        .prefer_socket(false)
        .stmt_cache_size(0);
    // mysql_async has no "if the server offers it".
    let plain = (tls == TlsMode::Prefer).then(|| builder.clone().into());
    Ok(Address::MySql(Box::new(MySqlAddress { opts: builder.ssl_opts(ssl).into(), plain })))
}

async fn postgres(address: &PostgresAddress) -> Result<Conn, ConnectorError> {
    let last = LastState::default();
    let (client, driver) = postgres_raw(address, &last).await?;
    tokio::spawn(driver);
    let mut conn = AsyncPgConnection::try_from(client).await.map_err(|error| of_connecting(&error))?;
    // Hidden rows become an error instead of a count that lies.
    conn.batch_execute(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; SET row_security = off; \
         SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; \
         SET bytea_output = 'hex'; SET extra_float_digits = 1; SET xmlbinary = 'base64'; SET array_nulls = on",
    )
    .await
    .map_err(|_| unavailable("the session could not be set up"))?;
    Ok(Conn::Postgres { conn: Box::new(conn), last })
}

type Driver = futures::future::BoxFuture<'static, ()>;

/// Connects by hand, so that what the server says can be read along.
async fn postgres_raw(
    address: &PostgresAddress,
    last: &LastState,
) -> Result<(tokio_postgres::Client, Driver), ConnectorError> {
    let PostgresAddress { config, tls, roots } = address;
    let (tls, roots) = (*tls, roots.as_deref());
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let refused = |error: tokio_postgres::Error| {
        unavailable(match error.code() {
            Some(&SqlState::INVALID_CATALOG_NAME) => "cannot connect: the server has no such database",
            Some(&SqlState::TOO_MANY_CONNECTIONS) => FULL,
            Some(&SqlState::CANNOT_CONNECT_NOW) => "cannot connect: the server is starting or stopping",
            _ => "cannot connect: refused, or the login was",
        })
    };
    let tls_config = client_config(tls, roots).map_err(unavailable)?;
    let negotiates = tls != TlsMode::Disable;
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            let socket = tokio::net::TcpStream::connect((host.as_str(), port))
                .await
                .map_err(|_| unavailable("cannot connect: nobody answers"))?;
            socket.set_nodelay(true).ok();
            let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
            socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive).ok();
            let mut maker = tokio_postgres_rustls::MakeRustlsConnect::new(tls_config);
            let connect =
                tokio_postgres::tls::MakeTlsConnect::<Watched<tokio::net::TcpStream>>::make_tls_connect(
                    &mut maker, host,
                )
                .map_err(|_| unavailable("the host is no name for TLS"))?;
            let watched = Watched::socket(socket, last.clone(), negotiates);
            let tls = WatchedTls { inner: connect, last: last.clone() };
            let (client, connection) = config.connect_raw(watched, tls).await.map_err(refused)?;
            Ok((client, drive(connection)))
        }
        #[cfg(unix)]
        Some(Host::Unix(folder)) => {
            let socket = tokio::net::UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))
                .await
                .map_err(|_| unavailable("cannot connect: nobody answers at the socket"))?;
            let watched = Watched::socket(socket, last.clone(), false);
            let (client, connection) =
                config.connect_raw(watched, tokio_postgres::NoTls).await.map_err(refused)?;
            Ok((client, drive(connection)))
        }
        _ => Err(unavailable("the URL names no host")),
    }
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>) -> Driver
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // The end of a connection shows in the next statement; there is nobody to tell it here.
    Box::pin(async move { connection.await.unwrap_or_default() })
}

async fn mysql(address: &MySqlAddress) -> Result<Conn, ConnectorError> {
    let connected = match (mysql_async::Conn::new(address.opts.clone()).await, &address.plain) {
        (Err(mysql_async::Error::Server(error)), _) => Err(error.into()),
        // The server offers no encryption, or none that is understood here.
        (Err(_), Some(plain)) => mysql_async::Conn::new(plain.clone()).await,
        (connected, _) => connected,
    };
    let conn = connected.map_err(|error| {
        unavailable(match error {
            mysql_async::Error::Server(error) if error.code == MYSQL_NO_DATABASE => {
                "cannot connect: the server has no such database"
            }
            mysql_async::Error::Server(error) if MYSQL_FULL.contains(&error.code) => FULL,
            mysql_async::Error::Server(_) => "cannot connect: the login was refused",
            _ => "cannot connect: nobody answers",
        })
    })?;
    let mut conn = AsyncMysqlConnection::try_from(conn).await.map_err(|error| of_connecting(&error))?;
    for statement in [
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
         NO_ENGINE_SUBSTITUTION'",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET NAMES utf8mb4",
        // Instants are told in UTC, as PostgreSQL's are; no hour of the year is there twice.
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION lc_messages = 'en_US'",
        "SET SESSION foreign_key_checks = 1",
    ] {
        conn.batch_execute(statement).await.map_err(|_| unavailable("the session could not be set up"))?;
    }
    follow_to_the_end(&mut conn).await.map_err(|_| unavailable("the session could not be set up"))?;
    Ok(Conn::MySql(Box::new(conn)))
}

/// A recursive query stops after 1,000 rounds otherwise: MariaDB with a warning only, and the rows beyond would be taken
/// for nobody's. How long it may take is limited by the statement's time.
async fn follow_to_the_end(conn: &mut AsyncMysqlConnection) -> QueryResult<()> {
    let mut known = false;
    for variable in ["max_recursive_iterations", "cte_max_recursion_depth"] {
        // MariaDB knows the first one, MySQL the second; versions without recursive queries know neither.
        known = known || set_if_known(conn, variable, u32::MAX).await?;
    }
    tracing::debug!(known, "recursive queries of this session have no limit of rounds");
    Ok(())
}

/// Sets a variable of a MySQL session; false where this server, or its version, has none of that name.
pub(super) async fn set_if_known(
    conn: &mut AsyncMysqlConnection,
    variable: &str,
    value: impl Display,
) -> QueryResult<bool> {
    match conn.batch_execute(&format!("SET SESSION {variable} = {value}")).await {
        Err(error) if is_unknown_variable(&error) => Ok(false),
        set => set.map(|()| true),
    }
}

diesel::define_sql_function! {
    /// Lower case of all letters; SQLite's own `lower` knows ASCII only.
    fn rightful_lower(text: diesel::sql_types::Nullable<Text>) -> diesel::sql_types::Nullable<Text>;
}

async fn sqlite(path: &str) -> Result<Conn, ConnectorError> {
    if !std::path::Path::new(path).is_file() {
        return Err(unavailable("the file does not exist"));
    }
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let mut conn = SqliteConnection::establish(&path).map_err(|error| of_connecting(&error))?;
        conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
        rightful_lower_utils::register_impl(&mut conn, |text: Option<String>| {
            text.map(|text| text.to_lowercase())
        })
        .map_err(|_| unavailable("the session could not be set up"))?;
        Ok::<_, ConnectorError>(conn)
    });
    let conn = opened.await.map_err(|_| unavailable("the file could not be opened"))??;
    let mut conn = AsyncSqliteConnection::with_runtime(conn, Place::Apart);
    // Only a first read shows whether the file is a database, and that one may meet a lock.
    conn.batch_execute(
        "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
         PRAGMA recursive_triggers = ON; PRAGMA schema_version",
    )
    .await
    .map_err(|error| match of(&error, Dialect::Sqlite, None) {
        locked if locked.kind == ErrorKind::LockTimeout => locked,
        _ => unavailable("the file is no SQLite database, or the session could not be set up"),
    })?;
    Ok(Conn::Sqlite(Box::new(conn)))
}
