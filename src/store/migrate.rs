//! Brings the schema up to date. The migrations are compiled in; each is applied once, all that are missing in
//! one transaction, by one process at a time.

use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError,
    conn::{Conn, on},
    schema::schema_migrations,
};

struct Migration {
    version: i32,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, "/up.sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, "/up.sql")),
        }
    };
}

const MIGRATIONS: [Migration; 20] = [
    migration!(1, "0001_requests"),
    migration!(2, "0002_audit"),
    migration!(3, "0003_plans"),
    migration!(4, "0004_answering"),
    migration!(5, "0005_webhooks"),
    migration!(6, "0006_holds"),
    migration!(7, "0007_packages"),
    migration!(8, "0008_rectification"),
    migration!(9, "0009_hold_refs"),
    migration!(10, "0010_runs"),
    migration!(11, "0011_consents"),
    migration!(12, "0012_backups"),
    migration!(13, "0013_fixtures"),
    migration!(14, "0014_ledger"),
    migration!(15, "0015_sweeps"),
    migration!(16, "0016_keeps"),
    migration!(17, "0017_log"),
    migration!(18, "0018_pseudonyms"),
    migration!(19, "0019_readings"),
    migration!(20, "0020_waiting"),
];

const JOURNAL: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
     (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamp NOT NULL)";

/// Any number that no other program is likely to lock; several processes may start at once.
const ADVISORY_LOCK: &str = "SELECT pg_advisory_xact_lock(7161743655131)";

const NO_RIGHT: &str = "the store's schema is not up to date and this role may not create tables: \
     run `rightful migrate` once with a role that owns the schema";

impl Store {
    /// Applies the migrations that are missing; does nothing, and needs no rights, where none is.
    ///
    /// # Errors
    /// `NotMigrated` when some are missing and the role may not create tables.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.is_migrated().await? {
            return Ok(());
        }
        // A large table takes its time.
        let mut tx = self.begin_within(None).await?;
        let conn = tx.conn().await?;
        if matches!(conn, Conn::Postgres(_)) {
            if !may_create(conn).await? {
                return Err(StoreError::NotMigrated(NO_RIGHT.to_owned()));
            }
            conn.batch(ADVISORY_LOCK).await?;
        }
        conn.batch(JOURNAL).await?;
        let present = newest(conn).await?;
        for migration in MIGRATIONS.iter().filter(|migration| present.is_none_or(|at| migration.version > at))
        {
            let text = match conn {
                Conn::Sqlite(_) => migration.sqlite,
                Conn::Postgres(_) => migration.postgres,
            };
            conn.batch(text).await?;
            let row = (
                schema_migrations::version.eq(migration.version),
                schema_migrations::name.eq(migration.name),
                schema_migrations::applied_at.eq(self.clock().now().naive_utc()),
            );
            on!(&mut *conn, |c| diesel::insert_into(schema_migrations::table).values(row).execute(c).await)?;
        }
        tx.commit().await
    }

    /// True when every migration of this program is there. A newer schema counts: migrations only add.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        let mut held = self.reader().await?;
        let migrated = if has_journal(&mut held.conn).await? {
            newest(&mut held.conn).await? >= MIGRATIONS.last().map(|last| last.version)
        } else {
            false
        };
        held.give_back();
        Ok(migrated)
    }
}

/// Each database has a catalog of its own.
async fn has_journal(conn: &mut Conn) -> Result<bool, StoreError> {
    let text = match conn {
        Conn::Sqlite(_) => "(SELECT count(*) FROM sqlite_master WHERE name = 'schema_migrations')",
        Conn::Postgres(_) => "(SELECT count(*) FROM pg_class WHERE oid = to_regclass('schema_migrations'))",
    };
    let found: i64 = on!(conn, |c| diesel::select(sql::<BigInt>(text)).get_result(c).await)?;
    Ok(found > 0)
}

async fn newest(conn: &mut Conn) -> Result<Option<i32>, StoreError> {
    let newest = diesel::dsl::max(schema_migrations::version);
    Ok(on!(conn, |c| schema_migrations::table.select(newest).get_result(c).await)?)
}

async fn may_create(conn: &mut Conn) -> Result<bool, StoreError> {
    let text =
        "(SELECT count(*) FROM (SELECT 1) AS one WHERE has_schema_privilege(current_schema(), 'CREATE'))";
    let may: i64 = on!(conn, |c| diesel::select(sql::<BigInt>(text)).get_result(c).await)?;
    Ok(may > 0)
}
