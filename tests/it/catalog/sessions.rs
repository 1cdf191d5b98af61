//! Sessions on a target and the meaning of what goes wrong in them: one suite on every database.

use std::time::{Duration, Instant};

use futures::StreamExt;
use rightful::connectors::{
    ConnectorError, ErrorKind, Limits,
    sql::{
        session::{Session, Sessions},
        statement::{Bind, MARK, Statement},
    },
};

use super::{LIMITS, session, shop, statement};
use crate::support::targets::{Dialect, Target, target, targets};

async fn count(session: &mut Session, table: &str) -> String {
    let text = match session.dialect() {
        Dialect::MySql => "CHAR",
        _ => "TEXT",
    };
    let rows = session.query(&statement(&format!("SELECT CAST(count(*) AS {text}) FROM {table}"))).await;
    rows.expect("a count").remove(0).remove(0).expect("not NULL")
}

#[tokio::test]
async fn values_are_bound_and_come_back_as_text() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let mut session = session(&sessions).await;
        let insert = Statement::new(
            format!("INSERT INTO users (email, name) VALUES ({MARK}, {MARK}), ({MARK}, {MARK})"),
            vec![
                Bind::Text(Some("a'\u{e9}\u{1f600}@x".into())),
                Bind::Text(None),
                Bind::Text(Some("b".into())),
                Bind::Text(Some(String::new())),
            ],
        );
        assert_eq!(session.execute(&insert).await.unwrap(), 2);
        let rows = session.query(&statement("SELECT email, name FROM users ORDER BY email")).await.unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows,
            [[text("a'\u{e9}\u{1f600}@x"), None], [text("b"), text("")]],
            "{:?}",
            target.dialect
        );
        // Rows that were found count, changed or not.
        let same = session.execute(&statement("UPDATE users SET name = name")).await.unwrap();
        assert_eq!(same, 2, "{:?}", target.dialect);
    }
}

#[tokio::test]
async fn a_session_with_an_open_transaction_never_returns_to_the_pool() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let mut first = session(&sessions).await;
        first.begin().await.unwrap();
        first.execute(&statement("INSERT INTO users (email) VALUES ('lost')")).await.unwrap();
        drop(first);
        // The only place of the pool is free again, the insert is undone, and its lock is gone.
        let mut second = session(&sessions).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let again = second.execute(&statement("INSERT INTO users (email) VALUES ('lost')")).await;
            match again {
                Ok(_) => break,
                Err(error) if error.kind == ErrorKind::LockTimeout && Instant::now() < deadline => {}
                Err(error) => panic!("{:?}: {error}", target.dialect),
            }
        }
        assert_eq!(count(&mut second, "users").await, "1", "{:?}", target.dialect);
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_half_way_closes_its_session() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        let id = match target.dialect {
            Dialect::Postgres => "SELECT pg_backend_pid()::text",
            Dialect::MySql => "SELECT CAST(connection_id() AS CHAR)",
            // A session has no number; a temporary table tells one from another.
            Dialect::Sqlite => "SELECT name FROM sqlite_temp_schema",
        };
        let endless = match target.dialect {
            Dialect::Postgres => "SELECT pg_sleep(5)::text",
            Dialect::MySql => "SELECT CAST(sleep(5) AS CHAR)",
            Dialect::Sqlite => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
                 SELECT count(*) FROM n"
            }
        };
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let mut first = session(&sessions).await;
        if target.dialect == Dialect::Sqlite {
            first.run("CREATE TEMP TABLE mark (x)").await.unwrap();
        }
        let before = first.query(&statement(id)).await.unwrap();
        drop(first);
        let mut again = session(&sessions).await;
        assert_eq!(again.query(&statement(id)).await.unwrap(), before, "an unharmed session is used again");

        let slow = statement(endless);
        let cut = tokio::time::timeout(Duration::from_millis(20), again.query(&slow)).await;
        assert!(cut.is_err());
        drop(again);
        let mut fresh = session(&sessions).await;
        assert_ne!(fresh.query(&statement(id)).await.unwrap(), before, "{:?}", target.dialect);
    }
}

#[tokio::test]
async fn a_stream_reads_in_chunks_and_can_be_left() {
    for target in targets() {
        target.execute("CREATE TABLE numbers (n bigint)");
        target.execute(
            "INSERT INTO numbers WITH RECURSIVE n (i) AS
                     (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n",
        );
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let all = match target.dialect {
            Dialect::MySql => statement("SELECT CAST(n AS CHAR) FROM numbers ORDER BY n"),
            _ => statement("SELECT CAST(n AS text) FROM numbers ORDER BY n"),
        };
        let chunks: Vec<usize> = session(&sessions)
            .await
            .stream(all.clone(), 300)
            .map(|chunk| chunk.expect("rows").len())
            .collect()
            .await;
        assert_eq!(chunks, [300, 300, 300, 100], "{:?}", target.dialect);

        let mut left = session(&sessions).await.stream(all, 10);
        assert_eq!(left.next().await.unwrap().unwrap()[0][0].as_deref(), Some("1"));
        drop(left);
        assert_eq!(count(&mut session(&sessions).await, "numbers").await, "1000");

        let mut broken = session(&sessions).await.stream(statement("SELECT x FROM numbers"), 10);
        assert_eq!(kind(broken.next().await.unwrap()), ErrorKind::SchemaChanged, "{:?}", target.dialect);
        assert!(broken.next().await.is_none());
    }
}

fn kind<T>(result: Result<T, ConnectorError>) -> ErrorKind {
    result.err().expect("an error").kind
}

#[tokio::test]
async fn errors_are_sorted_and_quote_no_value() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        target.execute("INSERT INTO users (email) VALUES ('jane@example.com')");
        target.execute("INSERT INTO orders (user_id) SELECT id FROM users");
        let sessions = Sessions::new(&target.url, 2).unwrap();
        let mut session = session(&sessions).await;
        for (sql, expected) in [
            ("INSERT INTO users (email) VALUES ('jane@example.com')", ErrorKind::ConstraintViolation),
            ("INSERT INTO users (email) VALUES (NULL)", ErrorKind::ConstraintViolation),
            ("INSERT INTO orders (user_id) VALUES (4711)", ErrorKind::ConstraintViolation),
            ("DELETE FROM nowhere", ErrorKind::SchemaChanged),
            ("UPDATE users SET absent = 1", ErrorKind::SchemaChanged),
            ("DELETE users WHERE FROM", ErrorKind::Internal),
        ] {
            let error = session.execute(&statement(sql)).await.expect_err(sql);
            assert_eq!(
                error.kind,
                expected,
                "{:?}: {sql}: {error} {:?}",
                target.dialect,
                session.prepare(sql).await
            );
            assert!(!error.detail.contains("jane") && !error.detail.contains("4711"), "{error}");
        }
        assert_eq!(count(&mut session, "users").await, "1", "the session is still good");
    }
}

#[tokio::test]
async fn a_lock_is_not_waited_for_forever() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        target.execute("INSERT INTO users (email) VALUES ('a')");
        let sessions = Sessions::new(&target.url, 2).unwrap();
        let mut holder = session(&sessions).await;
        holder.begin().await.unwrap();
        holder.execute(&statement("UPDATE users SET name = 'x'")).await.unwrap();
        let mut waiter = session(&sessions).await;
        let waited = waiter.execute(&statement("DELETE FROM users")).await;
        assert_eq!(kind(waited), ErrorKind::LockTimeout, "{:?}", target.dialect);
        holder.run("ROLLBACK").await.unwrap();
        assert_eq!(waiter.execute(&statement("DELETE FROM users")).await.unwrap(), 1);
    }
}

/// Another program's exclusive lock keeps even the first read from a SQLite file.
#[tokio::test]
async fn a_file_that_is_locked_is_no_file_that_is_missing() {
    let target = target(Dialect::Sqlite).expect("SQLite");
    target.execute(&shop(target.dialect));
    let mut other = target.session();
    other.execute("BEGIN EXCLUSIVE");
    let sessions = Sessions::new(&target.url, 1).unwrap();
    assert_eq!(kind(sessions.get(LIMITS).await), ErrorKind::LockTimeout);
    other.execute("ROLLBACK");
    assert!(sessions.get(LIMITS).await.is_ok());
}

#[tokio::test]
async fn a_statement_ends_in_its_time() {
    for target in targets() {
        let limits = Limits { statement_timeout: Duration::from_millis(200), ..LIMITS };
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let endless = match target.dialect {
            Dialect::Postgres => "SELECT pg_sleep(30)::text",
            Dialect::MySql => {
                "SELECT CAST(count(*) AS CHAR) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, information_schema.COLUMNS c"
            }
            Dialect::Sqlite => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000)
                 SELECT count(*) FROM n"
            }
        };
        let mut session = sessions.get(limits).await.unwrap();
        let ended = session.query(&statement(endless)).await;
        assert_eq!(kind(ended), ErrorKind::StatementTimeout, "{:?}", target.dialect);
    }
}

#[tokio::test]
async fn deadlocks_are_conflicts() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(target) = target(dialect) else { continue };
        target.execute(&shop(dialect));
        target.execute("INSERT INTO users (id, email) VALUES (1, 'a'), (2, 'b')");
        let patient = Limits { lock_timeout: Duration::from_secs(15), ..LIMITS };
        let sessions = Sessions::new(&target.url, 2).unwrap();
        let (mut one, mut two) = (sessions.get(patient).await.unwrap(), sessions.get(patient).await.unwrap());
        for (session, own) in [(&mut one, 1), (&mut two, 2)] {
            session.begin().await.unwrap();
            let update = format!("UPDATE users SET name = 'x' WHERE id = {own}");
            session.execute(&statement(&update)).await.unwrap();
        }
        let (first, second) = (
            statement("UPDATE users SET name = 'y' WHERE id = 2"),
            statement("UPDATE users SET name = 'y' WHERE id = 1"),
        );
        // Whoever loses gives its locks up, and the other goes on.
        let cross = |mut session: Session, statement: Statement| async move {
            let result = session.execute(&statement).await;
            session.run("ROLLBACK").await.unwrap();
            result
        };
        let (first, second) = futures::join!(cross(one, first), cross(two, second));
        let lost: Vec<ErrorKind> =
            [first, second].into_iter().filter_map(Result::err).map(|e| e.kind).collect();
        assert_eq!(lost, [ErrorKind::Conflict], "{dialect:?}");
    }
}

#[tokio::test]
async fn statements_are_checked_without_being_run() {
    for target in targets() {
        target.execute(&shop(target.dialect));
        target.execute("INSERT INTO users (email) VALUES ('a')");
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let mut session = session(&sessions).await;
        let mark = if target.dialect == Dialect::Postgres { "$1" } else { "?" };
        let good = format!("DELETE FROM users WHERE email = {mark} OR email = 'it''s \\'");
        let good = if target.dialect == Dialect::MySql { good.replace("\\'", "\\\\'") } else { good };
        assert_eq!(session.prepare(&good).await.unwrap(), Ok(()), "{:?}", target.dialect);
        assert_eq!(session.prepare("DELETE FROM users").await.unwrap(), Ok(()));
        let words = session.prepare("DELETE FROM users WHERE nonsense = 1").await.unwrap().unwrap_err();
        assert!(words.contains("nonsense"), "{words}");
        let _ = session.prepare("SELECT 1; DELETE FROM users").await.unwrap();
        assert_eq!(count(&mut session, "users").await, "1", "{:?}", target.dialect);
    }
}

#[tokio::test]
async fn sessions_are_set_up_safely() {
    for target in targets() {
        let sessions = Sessions::new(&target.url, 1).unwrap();
        let mut session = session(&sessions).await;
        let settings = match target.dialect {
            Dialect::Postgres => {
                "SELECT concat_ws(',', current_setting('row_security'), current_setting('transaction_isolation'),
                     current_setting('lock_timeout'), current_setting('statement_timeout'),
                     current_setting('application_name'))"
            }
            Dialect::MySql => {
                "SELECT CONCAT_WS(',', @@tx_isolation, @@innodb_lock_wait_timeout, @@foreign_key_checks = 1,
                     @@sql_mode LIKE '%STRICT_ALL%', @@character_set_connection)"
            }
            Dialect::Sqlite => {
                "SELECT foreign_keys || ',' || secure_delete || ',' || timeout || ',' || rightful_lower('\u{c9}A')
                 FROM pragma_foreign_keys, pragma_secure_delete, pragma_busy_timeout"
            }
        };
        let expected = match target.dialect {
            Dialect::Postgres => "off,read committed,1s,20s,rightful",
            Dialect::MySql => "READ-COMMITTED,1,1,1,utf8mb4",
            Dialect::Sqlite => "1,1,1000,\u{e9}a",
        };
        let found = session.query(&statement(settings)).await.unwrap();
        assert_eq!(found[0][0].as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn what_cannot_be_reached_says_so_and_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.db");
    let no_database = folder.path().join("text.db");
    std::fs::write(&no_database, "this is no database, only a text that is long enough to be one").unwrap();
    for url in [
        format!("sqlite:{}", file.display()),
        format!("sqlite:{}", no_database.display()),
        "postgres://nobody:hunter2@127.0.0.1:1/none".to_owned(),
        "mysql://nobody:hunter2@127.0.0.1:1/none".to_owned(),
    ] {
        let sessions = Sessions::new(&url, 1).unwrap();
        let error = sessions.get(LIMITS).await.err().expect("an error");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(!error.detail.contains("hunter2"), "{error}");
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn tls_is_used_as_the_url_says() {
    let Some(target) = target(Dialect::Postgres) else { return };
    if target.rows("SHOW ssl")[0][0].as_deref() != Some("on") {
        eprintln!("\n*** LEFT OUT: the PostgreSQL server has no TLS\n");
        return;
    }
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (mode, expected) in [("disable", "false"), ("prefer", "true"), ("require", "true")] {
        let sessions = Sessions::new(&format!("{}?sslmode={mode}", target.url), 1).unwrap();
        let mut session = session(&sessions).await;
        let found = session.query(&statement(encrypted)).await.unwrap();
        assert_eq!(found[0][0].as_deref(), Some(expected), "{mode}");
        // States are read inside of the encryption too.
        assert_eq!(kind(session.execute(&statement("DELETE FROM nowhere")).await), ErrorKind::SchemaChanged);
    }
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path().join("root.pem");
    std::fs::write(&stranger, UNRELATED_ROOT).unwrap();
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = connected(&target, mode, &stranger).await.expect_err("no trust");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{mode}: {error}");
    }
    // Where the server's own certificate can be read and is its own authority, it is trusted, but not for a
    // name that it does not carry.
    let certificate = target.rows("SHOW ssl_cert_file")[0][0].clone().unwrap_or_default();
    if std::fs::read(&certificate).is_ok() {
        connected(&target, "verify-ca", certificate.as_ref()).await.expect("trust");
        connected(&target, "verify-full", certificate.as_ref()).await.expect_err("another name");
    }
}

async fn connected(target: &Target, mode: &str, root: &std::path::Path) -> Result<(), ConnectorError> {
    let url = format!("{}?sslmode={mode}&sslrootcert={}", target.url, root.display());
    Sessions::new(&url, 1).unwrap().get(LIMITS).await.map(drop)
}

/// A certificate that has signed nothing.
const UNRELATED_ROOT: &str = "-----BEGIN CERTIFICATE-----
MIIBkjCCATegAwIBAgIUdYg+AsQ58RDMH2A95OYw6bpaB5EwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSTm9ib2R5J3MgYXV0aG9yaXR5MCAXDTI2MTEyMzIyMDMyNloY
DzIxMjYxMDMwMjIwMzI2WjAdMRswGQYDVQQDDBJOb2JvZHkncyBhdXRob3JpdHkw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR27os9alEOqXnS+rv69nxoqrCoonse
Ld+mRUT2LfYhCvTDKL4Qf29rSu3QXpFhjqMCjgfl6Kenm4tTYF7r3I/go1MwUTAd
BgNVHQ4EFgQUQZCwuPS/dyYkkb/jNS/T4mgIKyYwHwYDVR0jBBgwFoAUQZCwuPS/
dyYkkb/jNS/T4mgIKyYwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBG
AiEAxKsGzgfIofJHI+rYi51qANjm9elWUzAqIgermgUC9OoCIQCThQWmVnHtVd9K
+affDRUHXodygfwb/hjGKQL/ufphYw==
-----END CERTIFICATE-----";
