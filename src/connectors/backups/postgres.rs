//! The restore test of a PostgreSQL dump: a scratch database is made, the dump restored into it, its rows are counted, and
//! it is dropped again.
//!
//! A scratch database belongs to the session that made it: that session holds an advisory lock on its name for as long as
//! it lives, and no longer. Whoever comes next drops those that nobody has locked, and those of two days ago.

use std::{process::Stdio, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    sql_query,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::process::Command;
use tokio_postgres::config::Host;

use super::{
    Deadline,
    copy::Plain,
    program::{self, Ended, NotRun},
};
use crate::{
    domain::{
        backup::{Flaw, Reason, Tables},
        clock::Clock,
    },
    drivers::{
        postgres::{PostgresAddress, PostgresSession},
        tls::TlsMode,
    },
};

const MAGIC: &[u8] = b"PGDMP";
/// Names go on with the oid of the database that the lock was taken in, the time in Unix seconds, and a random number.
const PREFIX: &str = "rightful_scratch_";
/// Longer than any verification takes. A session may outlive its process where the machine went away without a word.
const LEFTOVER: TimeDelta = TimeDelta::days(2);
/// For dropping a database, whatever time is left.
const DROP: Duration = Duration::from_secs(60);
const REMEDY: &str = "give the role of `scratch` CREATEDB";

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(diesel::QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// Rows by table, of those of `tables` that are there.
pub(super) async fn restore(
    mut plain: Plain,
    url: &str,
    tables: &Tables,
    deadline: Deadline,
    clock: Clock,
) -> Result<Tables, Flaw> {
    if !plain.begins_with(MAGIC) {
        return Err(Flaw::new(
            Reason::Damaged,
            "it is no custom-format dump: pg_dump --format=custom makes one",
        ));
    }
    let Plain::Nameless(dump) = plain else {
        return Err(Flaw::new(Reason::Unreadable, "there is no copy to restore"));
    };
    let scratch = deadline.with("making the scratch database", Scratch::make(url, clock)).await??;
    let restored = async {
        pg_restore(url, &scratch.name, dump, deadline).await?;
        deadline.with("counting the rows", count_rows(url, &scratch.name, tables)).await?
    }
    .await;
    let dropped = scratch.drop_now().await;
    // What was restored is personal data: where it stays, somebody has to know.
    match (restored, dropped) {
        (restored, Ok(())) => restored,
        (Ok(_), Err(left)) => Err(left),
        (Err(flaw), Err(left)) => Err(Flaw::new(flaw.reason, format!("{}; {}", flaw.detail, left.detail))),
    }
}

fn scratch_flaw(detail: impl Into<String>) -> Flaw {
    Flaw::new(Reason::Scratch, detail)
}

async fn connect(url: &str, database: Option<&str>) -> Result<AsyncPgConnection, Flaw> {
    let mut address = PostgresAddress::parse(url).map_err(scratch_flaw)?;
    if let Some(database) = database {
        address.config.dbname(database);
    }
    let session = address.connect().await.map(PostgresSession::into_unlimited);
    session.map_err(|error| scratch_flaw(format!("the server of `scratch`: {error}")))
}

/// A database of this verification's own. Dropped as a value, it is dropped as a database in the background.
struct Scratch {
    name: String,
    url: String,
    /// Holds the lock. `None` once the database is dropped.
    session: Option<AsyncPgConnection>,
}

impl Scratch {
    async fn make(url: &str, clock: Clock) -> Result<Self, Flaw> {
        let mut session = connect(url, None).await?;
        let oid = "SELECT oid::bigint AS count FROM pg_database WHERE datname = current_database()";
        let asked = |_| scratch_flaw("the server of `scratch` does not answer");
        let Count { count: oid } = sql_query(oid).get_result(&mut session).await.map_err(asked)?;
        let now = clock.now();
        sweep(&mut session, oid, now).await.map_err(asked)?;
        // The last bits of an identifier are random.
        let random = clock.new_id().as_u64_pair().1;
        let name = format!("{PREFIX}{oid}_{}_{random:016x}", now.timestamp());
        if !lock(&mut session, &name).await.map_err(asked)? {
            return Err(scratch_flaw("the name of the scratch database is taken: verify it again"));
        }
        let scratch = Self { name, url: url.to_owned(), session: Some(session) };
        scratch.create().await
    }

    /// Made by a value that drops it: whoever stops waiting for the server does not know whether it is there.
    async fn create(mut self) -> Result<Self, Flaw> {
        let create = format!("CREATE DATABASE {} TEMPLATE template0", self.name);
        let Some(session) = &mut self.session else { return Err(scratch_flaw("it is gone")) };
        session
            .batch_execute(&create)
            .await
            .map_err(|_| scratch_flaw(format!("the scratch database cannot be made: {REMEDY}")))?;
        Ok(self)
    }

    async fn drop_now(mut self) -> Result<(), Flaw> {
        let session = self.session.take();
        drop_database(&self.url, &self.name, session).await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // Without a runtime the session ends here, and the next verification drops the database.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (url, name) = (std::mem::take(&mut self.url), std::mem::take(&mut self.name));
            runtime.spawn(async move { drop_database(&url, &name, Some(session)).await });
        }
    }
}

async fn drop_database(url: &str, name: &str, session: Option<AsyncPgConnection>) -> Result<(), Flaw> {
    let text = drop_text(name);
    let dropping = async {
        if let Some(mut session) = session
            && session.batch_execute(&text).await.is_ok()
        {
            return Ok(());
        }
        // The session may have been lost meanwhile.
        let mut session = connect(url, None).await.map_err(drop)?;
        session.batch_execute(&text).await.map_err(drop)
    };
    match tokio::time::timeout(DROP, dropping).await {
        Ok(Ok(())) => Ok(()),
        _ => {
            tracing::warn!(database = name, "a scratch database could not be dropped");
            let detail =
                format!("the scratch database {name} could not be dropped: it holds what was restored");
            Err(scratch_flaw(detail))
        }
    }
}

/// With whoever is connected to it, such as a `pg_restore` whose service was killed.
fn drop_text(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
}

async fn lock(session: &mut AsyncPgConnection, name: &str) -> diesel::QueryResult<bool> {
    let lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked";
    let Locked { locked } = sql_query(lock).bind::<Text, _>(name).get_result(session).await?;
    Ok(locked)
}

/// Drops the scratch databases of verifications that were killed.
async fn sweep(session: &mut AsyncPgConnection, oid: i64, now: DateTime<Utc>) -> diesel::QueryResult<()> {
    let all = "SELECT datname::text AS name FROM pg_database WHERE starts_with(datname::text, $1)";
    let names: Vec<Name> = sql_query(all).bind::<Text, _>(format!("{PREFIX}{oid}_")).load(session).await?;
    for Name { name } in names {
        let Some(made) = made_at(&name) else { continue };
        let locked = lock(session, &name).await?;
        if locked || now - made > LEFTOVER {
            // Another role's cannot be dropped; that is no reason not to verify.
            let dropped = session.batch_execute(&drop_text(&name)).await.is_ok();
            tracing::info!(database = name, dropped, "the scratch database of a killed verification");
        }
        if locked {
            let unlock = "SELECT pg_advisory_unlock(hashtextextended($1, 0)) AS locked";
            sql_query(unlock).bind::<Text, _>(&name).get_result::<Locked>(session).await?;
        }
    }
    Ok(())
}

/// When a database of such a name was made; `None` for names that are not ours.
fn made_at(name: &str) -> Option<DateTime<Utc>> {
    let mut parts = name.strip_prefix(PREFIX)?.split('_');
    let (_, seconds, random) = (parts.next()?.parse::<u32>().ok()?, parts.next()?, parts.next()?);
    let is_ours = parts.next().is_none() && random.len() == 16 && u64::from_str_radix(random, 16).is_ok();
    DateTime::from_timestamp_secs(seconds.parse().ok()?).filter(|_| is_ours)
}

async fn pg_restore(url: &str, database: &str, dump: std::fs::File, deadline: Deadline) -> Result<(), Flaw> {
    let mut command = Command::new("pg_restore");
    command.args(["--exit-on-error", "--no-password", "--no-owner", "--no-privileges", "--no-tablespaces"]);
    // What would reach beyond the database, or keep it from being dropped.
    command.args(["--no-publications", "--no-subscriptions", "--no-security-labels", "--no-comments"]);
    command.arg("--dbname").arg(database).stdin(Stdio::from(dump));
    environment(&mut command, &PostgresAddress::parse(url).map_err(scratch_flaw)?);
    match program::run(command, "pg_restore", deadline).await {
        Ok(Ended { succeeded: true, .. }) => Ok(()),
        Ok(ended) => Err(why(&ended)),
        Err(NotRun::Failed(flaw)) => Err(flaw),
        Err(NotRun::NotThere) => {
            let detail = "pg_restore is not installed: install PostgreSQL's client programs (Debian: \
                          postgresql-client), not older than the server that was dumped";
            Err(Flaw::new(Reason::ToolMissing, detail))
        }
    }
}

/// Where the server is, in libpq's variables: arguments can be read by everybody on the machine.
fn environment(command: &mut Command, address: &PostgresAddress) {
    for name in ["PGSERVICE", "PGHOSTADDR", "PGDATABASE", "PGTARGETSESSIONATTRS", "PGREQUIREAUTH"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("PGCONNECT_TIMEOUT", "10");
    let config = &address.config;
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => command.env("PGHOST", host),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => command.env("PGHOST", folder),
        None => command,
    };
    if let Some(port) = config.get_ports().first() {
        command.env("PGPORT", port.to_string());
    }
    if let Some(user) = config.get_user() {
        command.env("PGUSER", user);
    }
    if let Some(password) = config.get_password() {
        command.env("PGPASSWORD", String::from_utf8_lossy(password).into_owned());
    }
    if let Some(options) = config.get_options() {
        command.env("PGOPTIONS", options);
    }
    let mode = match address.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    command.env("PGSSLMODE", mode);
    match &address.roots {
        Some(roots) => command.env("PGSSLROOTCERT", roots),
        // libpq would look for a file of its own; the service trusts the system's roots.
        None if matches!(address.tls, TlsMode::VerifyCa | TlsMode::VerifyFull) => {
            command.env("PGSSLROOTCERT", "system")
        }
        None => command,
    };
}

/// What a failed restore means. The program's own words may quote rows and are left out.
fn why(ended: &Ended) -> Flaw {
    const TEXTS: [(&str, Reason, &str); 6] = [
        (
            "unsupported version",
            Reason::ToolMissing,
            "the dump is newer than this machine's pg_restore: update it",
        ),
        (
            "unrecognized configuration parameter",
            Reason::Scratch,
            "the server of `scratch` is older than the one that was dumped",
        ),
        (
            "is not available",
            Reason::Scratch,
            "the dump uses an extension that the server of `scratch` does not have",
        ),
        (
            "permission denied",
            Reason::Scratch,
            "the role of `scratch` may not do what the dump asks for, such as an extension that only a superuser may create",
        ),
        ("connection to server", Reason::Scratch, "pg_restore could not connect to the server of `scratch`"),
        ("No space left", Reason::Scratch, "the server of `scratch` has no room for it"),
    ];
    match TEXTS.iter().find(|(text, ..)| ended.err.contains(text)) {
        Some((_, reason, detail)) => Flaw::new(*reason, *detail),
        None => {
            let detail = format!("pg_restore cannot restore it ({}): truncated or damaged", ended.how);
            Flaw::new(Reason::Damaged, detail)
        }
    }
}

async fn count_rows(url: &str, database: &str, tables: &Tables) -> Result<Tables, Flaw> {
    let mut session = connect(url, Some(database)).await?;
    let lost = |_| scratch_flaw("the rows of the scratch database cannot be counted");
    // Hidden rows would be an error, not a smaller number.
    let quiet = "SET row_security = off; SET default_transaction_read_only = on";
    session.batch_execute(quiet).await.map_err(lost)?;
    let mut rows = Tables::new();
    for table in tables.keys() {
        let find = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
             AND (c.relname = $1 OR n.nspname || '.' || c.relname = $1)";
        let found: Vec<Name> =
            sql_query(find).bind::<Text, _>(table).load(&mut session).await.map_err(lost)?;
        let place = match found.as_slice() {
            [] => continue,
            [only] => &only.name,
            _ => {
                let detail = format!("several schemas have a table `{table}`: write SCHEMA.TABLE");
                return Err(Flaw::new(Reason::Rows, detail));
            }
        };
        let counted = sql_query(format!("SELECT count(*) AS count FROM {place}"));
        let Count { count } = counted.get_result(&mut session).await.map_err(lost)?;
        rows.insert(table.clone(), count);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_dropped() {
        let ours = "rightful_scratch_5_1767225600_0123456789abcdef";
        assert_eq!(made_at(ours).unwrap().timestamp(), 1_767_225_600);
        for name in [
            "rightful",
            "rightful_scratch_5_1767225600",
            "rightful_scratch_5_1767225600_0123456789abcde",
            "rightful_scratch_5_1767225600_0123456789abcdef_copy",
            "rightful_scratch_x_1767225600_0123456789abcdef",
            "rightful_scratch_5_soon_0123456789abcdef",
        ] {
            assert_eq!(made_at(name), None, "{name}");
        }
    }
}
