//! The restore test of a SQLite backup: a private copy is opened read-only, checked whole, and its rows are counted.

use diesel::{
    Connection, QueryResult, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{Deadline, copy::Plain};
use crate::domain::backup::{Flaw, Reason, Tables};

const MAGIC: &[u8] = b"SQLite format 3\0";

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Rows by table, of those of `tables` that are there. SQLite has no time limit of its own: nobody waits for the check
/// longer than the deadline, and its copy goes when it has ended.
pub(super) async fn restore(plain: Plain, tables: &Tables, deadline: Deadline) -> Result<Tables, Flaw> {
    let names: Vec<String> = tables.keys().cloned().collect();
    let checking = tokio::task::spawn_blocking(move || check(plain, &names));
    let checked = deadline.with("checking the SQLite file", checking).await?;
    checked.map_err(|_| Flaw::new(Reason::Unreadable, "the check was interrupted"))?
}

fn check(mut plain: Plain, names: &[String]) -> Result<Tables, Flaw> {
    if !plain.begins_with(MAGIC) {
        return Err(Flaw::new(Reason::Damaged, "it is no SQLite file"));
    }
    let Plain::Named(file) = &plain else {
        return Err(Flaw::new(Reason::Unreadable, "there is no copy to open"));
    };
    let path = file.path().to_string_lossy();
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    // Immutable: what a write-ahead log would hold is not part of the backup.
    let opened = SqliteConnection::establish(&format!("file:{path}?mode=ro&immutable=1"));
    let mut conn = opened.map_err(|_| Flaw::new(Reason::Damaged, "it cannot be opened"))?;
    let damaged = |_| Flaw::new(Reason::Damaged, "it is truncated or damaged: PRAGMA integrity_check fails");
    conn.batch_execute("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF").map_err(damaged)?;
    let wrong = "SELECT count(*) AS count FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
    if count(&mut conn, wrong).map_err(damaged)? > 0 {
        return Err(damaged(diesel::result::Error::NotFound));
    }
    let orphans = "SELECT count(*) AS count FROM pragma_foreign_key_check";
    let orphans = count(&mut conn, orphans).map_err(|_| {
        Flaw::new(Reason::Damaged, "its foreign keys cannot be checked: PRAGMA foreign_key_check fails")
    })?;
    if orphans > 0 {
        let detail = format!("{orphans} rows point at rows that are not there (PRAGMA foreign_key_check)");
        return Err(Flaw::new(Reason::Damaged, detail));
    }
    let mut rows = Tables::new();
    for name in names {
        let there = "SELECT count(*) AS count FROM sqlite_schema WHERE type = 'table' AND name = ?";
        let there: QueryResult<Count> = sql_query(there).bind::<Text, _>(name).get_result(&mut conn);
        if there.map_err(damaged)?.count > 0 {
            let quoted = name.replace('"', "\"\"");
            let counted = count(&mut conn, &format!("SELECT count(*) AS count FROM \"{quoted}\""));
            rows.insert(name.clone(), counted.map_err(damaged)?);
        }
    }
    Ok(rows)
}

fn count(conn: &mut SqliteConnection, sql: &str) -> QueryResult<i64> {
    sql_query(sql).get_result::<Count>(conn).map(|found| found.count)
}
