//! A fresh target database for each test, on each of the three databases, gone afterwards also when the test panics.
//!
//! What is run here goes through clients of their own, not through the service's connectors.

use std::{
    cell::RefCell,
    sync::{Mutex, PoisonError, mpsc},
};

use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection};
use mysql_async::prelude::Queryable;
pub use rightful::connectors::sql::dialect::Dialect;
use rightful::domain::clock::Clock;
use tempfile::TempDir;

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432";
const MYSQL: &str = "mysql://root@127.0.0.1:3306";

/// Rows as text; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// A database of the test's own.
pub struct Target {
    pub dialect: Dialect,
    /// As a configuration names it.
    pub url: String,
    name: String,
    server: String,
    session: RefCell<Session>,
    _folder: Option<TempDir>,
}

/// Every database that is there. One that is missing is told loudly, and fails the test where `CI=true`.
pub fn targets() -> Vec<Target> {
    [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql].into_iter().filter_map(target).collect()
}

/// A fresh database of that kind, where the server is there.
pub fn target(dialect: Dialect) -> Option<Target> {
    if !is_there(dialect) {
        assert!(
            !super::in_ci(),
            "{dialect:?} does not answer at its usual address, and CI must leave nothing out"
        );
        super::left_out(&format!("{dialect:?} does not answer, so nothing is tested on it"));
        return None;
    }
    Some(Target::new(dialect))
}

/// Another database of the same kind.
pub fn target_like(target: &Target) -> Target {
    Target::new(target.dialect)
}

fn is_there(dialect: Dialect) -> bool {
    let address = match dialect {
        Dialect::Sqlite => return true,
        Dialect::Postgres => "127.0.0.1:5432",
        Dialect::MySql => "127.0.0.1:3306",
    };
    std::net::TcpStream::connect(address).is_ok()
}

impl Target {
    fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::MySql => Self::at(dialect, MYSQL),
            _ => Self::at(dialect, POSTGRES),
        }
    }

    /// On another server; SQLite has none.
    pub fn at(dialect: Dialect, server: &str) -> Self {
        let name = format!("rightful_t_{}", Clock.new_id().simple());
        let (url, folder) = match dialect {
            Dialect::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("target.db");
                std::fs::write(&path, []).expect("an empty file is an empty database");
                (format!("sqlite:{}", path.display()), Some(folder))
            }
            Dialect::Postgres => {
                Session::open(dialect, &format!("{server}/postgres"))
                    .execute(&format!("CREATE DATABASE {name}"));
                (format!("{server}/{name}"), None)
            }
            Dialect::MySql => {
                Session::open(dialect, &format!("{server}/mysql"))
                    .execute(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
                (format!("{server}/{name}"), None)
            }
        };
        let session = RefCell::new(Session::open(dialect, &url));
        Self { dialect, url, name, server: server.to_owned(), session, _folder: folder }
    }

    /// Runs statements separated by `;` at the end of a line.
    pub fn execute(&self, sql: &str) {
        self.session.borrow_mut().execute(sql);
    }

    pub fn rows(&self, sql: &str) -> Rows {
        self.session.borrow_mut().rows(sql)
    }

    /// After its server was restarted.
    pub fn reconnect(&self) {
        self.session.replace(self.session());
    }

    /// A further session, to hold a lock or a snapshot with.
    pub fn session(&self) -> Session {
        Session::open(self.dialect, &self.url)
    }

    /// A URL of the same kind where nobody answers.
    pub fn unreachable_url(&self) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("{}.missing", self.url),
            Dialect::Postgres => format!("postgres://postgres@127.0.0.1:1/{}", self.name),
            Dialect::MySql => format!("mysql://root@127.0.0.1:1/{}", self.name),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.session.borrow_mut().close();
        match self.dialect {
            Dialect::Sqlite => {}
            Dialect::Postgres => Session::open(self.dialect, &format!("{}/postgres", self.server))
                .execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)),
            Dialect::MySql => Session::open(self.dialect, &format!("{}/mysql", self.server))
                .execute(&format!("DROP DATABASE {}", self.name)),
        }
    }
}

type Job = Box<dyn FnOnce(&mut Raw, &tokio::runtime::Runtime) + Send>;

/// A session on a thread of its own, so that tests on any runtime, and destructors, can use it.
pub struct Session(Mutex<Option<mpsc::Sender<Job>>>, Option<std::thread::JoinHandle<()>>);

enum Raw {
    Sqlite(SqliteConnection),
    Postgres(tokio_postgres::Client),
    MySql(mysql_async::Conn),
}

impl Session {
    pub fn open(dialect: Dialect, url: &str) -> Self {
        let url = url.to_owned();
        let (sender, jobs) = mpsc::channel::<Job>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            let mut raw = runtime.block_on(Raw::open(dialect, &url));
            for job in jobs {
                job(&mut raw, &runtime);
            }
            if let Raw::MySql(conn) = raw {
                runtime.block_on(conn.disconnect()).ok();
            }
        });
        Self(Mutex::new(Some(sender)), Some(thread))
    }

    pub fn execute(&mut self, sql: &str) {
        let sql = sql.to_owned();
        self.run(move |raw, runtime| runtime.block_on(raw.execute(&sql)));
    }

    pub fn rows(&mut self, sql: &str) -> Rows {
        let sql = sql.to_owned();
        self.run(move |raw, runtime| runtime.block_on(raw.rows(&sql)))
    }

    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Raw, &tokio::runtime::Runtime) -> T + Send + 'static,
    ) -> T {
        let (answer, result) = mpsc::channel();
        let job: Job = Box::new(move |raw, runtime| {
            let _ = answer.send(work(raw, runtime));
        });
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("an open session");
        sender.send(job).expect("the session's thread runs");
        result.recv().expect("the statement succeeded")
    }

    fn close(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

impl Raw {
    async fn open(dialect: Dialect, url: &str) -> Self {
        match dialect {
            Dialect::Sqlite => {
                let path = url.strip_prefix("sqlite:").expect("a SQLite URL");
                let mut conn = SqliteConnection::establish(path).expect("the file opens");
                conn.batch_execute("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 20000")
                    .expect("settings");
                Self::Sqlite(conn)
            }
            Dialect::Postgres => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
                tokio::spawn(connection);
                Self::Postgres(client)
            }
            Dialect::MySql => Self::MySql(mysql_async::Conn::from_url(url).await.expect("MariaDB answers")),
        }
    }

    async fn execute(&mut self, sql: &str) {
        match self {
            Self::Sqlite(conn) => conn.batch_execute(sql).unwrap_or_else(|error| panic!("{error}: {sql}")),
            Self::Postgres(client) => {
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
            }
            Self::MySql(conn) => {
                for statement in sql.split(";\n").flat_map(|line| line.split("; ")) {
                    let statement = statement.trim().trim_end_matches(';');
                    if !statement.is_empty() {
                        conn.query_drop(statement)
                            .await
                            .unwrap_or_else(|error| panic!("{error}: {statement}"));
                    }
                }
            }
        }
    }

    async fn rows(&mut self, sql: &str) -> Rows {
        match self {
            Self::Sqlite(conn) => diesel::sql_query(sql)
                .load::<Cells>(conn)
                .unwrap_or_else(|error| panic!("{error}: {sql}"))
                .into_iter()
                .map(|cells| cells.0)
                .collect(),
            Self::Postgres(client) => {
                let messages =
                    client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
                messages
                    .into_iter()
                    .filter_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => {
                            Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
                        }
                        _ => None,
                    })
                    .collect()
            }
            Self::MySql(conn) => {
                let rows: Vec<mysql_async::Row> =
                    conn.query(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
                rows.into_iter().map(|row| row.unwrap().into_iter().map(mysql_text).collect()).collect()
            }
        }
    }
}

fn mysql_text(value: mysql_async::Value) -> Option<String> {
    match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

struct Cells(Vec<Option<String>>);

impl diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> for Cells {
    fn build<'a>(
        row: &impl diesel::row::NamedRow<'a, diesel::sqlite::Sqlite>,
    ) -> diesel::deserialize::Result<Self> {
        use diesel::{
            deserialize::FromSql,
            row::{Field, Row},
            sql_types::{Nullable, Text},
        };
        (0..row.field_count())
            .map(|index| {
                let field = Row::get(row, index).ok_or("a cell")?;
                <Option<String> as FromSql<Nullable<Text>, diesel::sqlite::Sqlite>>::from_nullable_sql(
                    field.value(),
                )
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
