//! Fixture files: which process loads one, and what was loaded. A file is loaded by one process at a time, under a lease:
//! of a process that is gone nobody waits for longer than that.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use diesel::{dsl::sql, prelude::*, sql_types::Timestamp};
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    claim::POSTGRES_NOW,
    conn::{Conn, on},
    rows::uuid,
    schema::fixture_files,
};
use crate::domain::audit::{ChainHead, EventName, NewEvent};

/// A file, wherever it is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixtureFile<'a> {
    pub connection: &'a str,
    /// Of an overlay; empty for the base.
    pub environment: &'a str,
    /// Below the folder of its connection.
    pub path: &'a str,
}

/// What became of asking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixtureClaim {
    /// This very content was loaded last.
    Done,
    /// Another process loads the file.
    Busy,
    Taken(FixtureLease),
}

/// The right to load a file, until it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixtureLease {
    pub id: Uuid,
    pub epoch: i64,
}

/// What was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedFixture<'a> {
    /// SHA-256 of the content, hex.
    pub hash: &'a str,
    /// Rows of the file, and those among them that were not there like that; `None` for SQL, which does not say.
    pub rows: Option<(u64, u64)>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = fixture_files)]
struct FileRow {
    id: String,
    hash: Option<String>,
    due: bool,
    epoch: i64,
    lease_until: Option<NaiveDateTime>,
    audit_seq: i64,
    audit_hash: String,
}

impl Store {
    /// Takes a file whose content is not the one that was loaded last, for as long as the lease holds.
    ///
    /// # Errors
    /// As every statement.
    pub async fn claim_fixture(
        &self,
        file: FixtureFile<'_>,
        hash: &str,
        lease: Duration,
    ) -> Result<FixtureClaim, StoreError> {
        let mut tx = self.begin().await?;
        let row = tx.own_fixture(file).await?;
        let now = tx.now().await?;
        if !row.due && row.hash.as_deref() == Some(hash) {
            tx.rollback().await?;
            return Ok(FixtureClaim::Done);
        }
        if row.lease_until.is_some_and(|until| until > now) {
            tx.rollback().await?;
            return Ok(FixtureClaim::Busy);
        }
        let taken = FixtureLease { id: uuid(&row.id)?, epoch: row.epoch + 1 };
        let take = diesel::update(fixture_files::table.find(&row.id)).set((
            fixture_files::epoch.eq(taken.epoch),
            fixture_files::lease_until.eq(Some(after(now, lease))),
        ));
        on!(tx.conn().await?, |c| take.execute(c).await)?;
        tx.commit().await?;
        Ok(FixtureClaim::Taken(taken))
    }

    /// Prolongs a lease from now on, by the store's clock; false when it was lost.
    ///
    /// # Errors
    /// As every statement.
    pub async fn renew_fixture(&self, lease: FixtureLease, duration: Duration) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let until = after(tx.now().await?, duration);
        let renew =
            diesel::update(own(lease).filter(fixture_files::lease_until.is_not_null().and(epoch(lease))))
                .set(fixture_files::lease_until.eq(Some(until)));
        let renewed = on!(tx.conn().await?, |c| renew.execute(c).await)?;
        tx.commit().await?;
        Ok(renewed == 1)
    }

    /// Gives a file back that was not loaded; nothing happens when the lease was lost.
    ///
    /// # Errors
    /// As every statement.
    pub async fn give_back_fixture(&self, lease: FixtureLease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let give_back = diesel::update(own(lease).filter(epoch(lease)))
            .set(fixture_files::lease_until.eq(None::<NaiveDateTime>));
        on!(tx.conn().await?, |c| give_back.execute(c).await)?;
        tx.commit().await
    }

    /// Has a file be loaded again, whatever was loaded of it before.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_fixture(&self, file: FixtureFile<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row = tx.own_fixture(file).await?;
        let forget = diesel::update(fixture_files::table.find(&row.id)).set(fixture_files::due.eq(true));
        on!(tx.conn().await?, |c| forget.execute(c).await)?;
        tx.commit().await
    }

    /// Records that a file was loaded, with the event `fixtures.loaded`; false when the lease was lost meanwhile. After a
    /// file of the base the overlays of that connection are due again: what lies above it stays above it.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fixture_loaded(
        &self,
        lease: FixtureLease,
        file: FixtureFile<'_>,
        loaded: LoadedFixture<'_>,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let row = tx.own_fixture(file).await?;
        if row.epoch != lease.epoch {
            tx.rollback().await?;
            return Ok(false);
        }
        let mut head = ChainHead { seq: row.audit_seq, hash: row.audit_hash };
        tx.append_to(&format!("fixture:{}", lease.id), &mut head, vec![event(file, loaded, actor)]).await?;
        let now = tx.clock.now().naive_utc();
        let update = diesel::update(own(lease)).set((
            fixture_files::hash.eq(Some(loaded.hash)),
            fixture_files::loaded_at.eq(Some(now)),
            fixture_files::row_count.eq(loaded.rows.map(|(all, _)| i64::try_from(all).unwrap_or(i64::MAX))),
            fixture_files::due.eq(false),
            fixture_files::lease_until.eq(None::<NaiveDateTime>),
            fixture_files::audit_seq.eq(head.seq),
            fixture_files::audit_hash.eq(&head.hash),
        ));
        on!(tx.conn().await?, |c| update.execute(c).await)?;
        if file.environment.is_empty() {
            // Whoever loads one of them at this moment has lost it. SQL is not known to bear a second time.
            let above = fixture_files::table
                .filter(fixture_files::connection.eq(file.connection))
                .filter(fixture_files::environment.ne(""))
                .filter(fixture_files::path.not_like("%.sql"));
            let renew = diesel::update(above).set((
                fixture_files::due.eq(true),
                fixture_files::epoch.eq(fixture_files::epoch + 1),
                fixture_files::lease_until.eq(None::<NaiveDateTime>),
            ));
            on!(tx.conn().await?, |c| renew.execute(c).await)?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    /// Locks the file's row, made if it is not known yet. Several processes load the same files at the same start.
    async fn own_fixture(&mut self, file: FixtureFile<'_>) -> Result<FileRow, StoreError> {
        let head = ChainHead::default();
        let first = (
            fixture_files::id.eq(self.clock.new_id().to_string()),
            fixture_files::connection.eq(file.connection),
            fixture_files::environment.eq(file.environment),
            fixture_files::path.eq(file.path),
            fixture_files::due.eq(false),
            fixture_files::epoch.eq(0),
            fixture_files::audit_seq.eq(head.seq),
            fixture_files::audit_hash.eq(head.hash),
        );
        let insert = diesel::insert_into(fixture_files::table).values(first).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        let known = fixture_files::table
            .filter(fixture_files::connection.eq(file.connection))
            .filter(fixture_files::environment.eq(file.environment))
            .filter(fixture_files::path.eq(file.path));
        Ok(match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => known.select(FileRow::as_select()).get_result(c.get_mut()).await?,
            Conn::Postgres(c) => known.select(FileRow::as_select()).for_update().get_result(&mut **c).await?,
        })
    }

    /// The store's clock: of this very machine for a file, of the server otherwise.
    async fn now(&mut self) -> Result<NaiveDateTime, StoreError> {
        let clock = self.clock;
        match self.conn().await? {
            Conn::Sqlite(_) => Ok(clock.now().naive_utc()),
            Conn::Postgres(c) => {
                Ok(diesel::select(sql::<Timestamp>(POSTGRES_NOW)).get_result(&mut **c).await?)
            }
        }
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn own(lease: FixtureLease) -> _ {
    let id: String = lease.id.to_string();
    fixture_files::table.filter(fixture_files::id.eq(id))
}

#[diesel::dsl::auto_type(no_type_alias)]
fn epoch(lease: FixtureLease) -> _ {
    let epoch: i64 = lease.epoch;
    fixture_files::epoch.eq(epoch)
}

fn after(now: NaiveDateTime, duration: Duration) -> NaiveDateTime {
    now + TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn event(file: FixtureFile<'_>, loaded: LoadedFixture<'_>, actor: &str) -> NewEvent {
    let environment = Some(file.environment).filter(|name| !name.is_empty());
    let details = json!({
        "connection": file.connection, "environment": environment, "path": file.path, "hash": loaded.hash,
    });
    let rows = loaded.rows.map(|(matched, affected)| json!({ "matched": matched, "affected": affected }));
    NewEvent { rows, ..NewEvent::new(EventName::FixturesLoaded, actor, details) }
}
