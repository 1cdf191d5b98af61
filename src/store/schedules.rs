//! When each schedule fires next.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{prelude::*, upsert::excluded};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    rows::{utc, uuid},
    schema::schedules,
};

/// What is known of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    pub name: String,
    /// As the configuration had it.
    pub timing: String,
    /// `None`: never again.
    pub next_at: Option<DateTime<Utc>>,
    /// The last moment it fired for, and the run that it became.
    pub fired_at: Option<DateTime<Utc>>,
    pub run_id: Option<Uuid>,
    /// The last moment that was passed by because the run before was not over.
    pub skipped_at: Option<DateTime<Utc>>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schedules, treat_none_as_default_value = false)]
struct FiringRow {
    name: String,
    timing: String,
    next_at: Option<NaiveDateTime>,
    fired_at: Option<NaiveDateTime>,
    run_id: Option<String>,
    skipped_at: Option<NaiveDateTime>,
}

impl FiringRow {
    fn of(firing: &Firing) -> Self {
        let naive = |at: Option<DateTime<Utc>>| at.map(|at| at.naive_utc());
        Self {
            name: firing.name.clone(),
            timing: firing.timing.clone(),
            next_at: naive(firing.next_at),
            fired_at: naive(firing.fired_at),
            run_id: firing.run_id.map(|id| id.to_string()),
            skipped_at: naive(firing.skipped_at),
        }
    }

    fn into_firing(self) -> Result<Firing, StoreError> {
        Ok(Firing {
            name: self.name,
            timing: self.timing,
            next_at: utc(self.next_at),
            fired_at: utc(self.fired_at),
            run_id: self.run_id.as_deref().map(uuid).transpose()?,
            skipped_at: utc(self.skipped_at),
        })
    }
}

impl Store {
    /// What is known of the schedules that ever were.
    ///
    /// # Errors
    /// As every statement.
    pub async fn firings(&self) -> Result<Vec<Firing>, StoreError> {
        let query = schedules::table.order(schedules::name);
        let rows: Vec<FiringRow> = read!(self, |c| query.select(FiringRow::as_select()).load(c).await);
        rows.into_iter().map(FiringRow::into_firing).collect()
    }
}

impl Tx {
    /// A schedule that no other process looks at until this transaction ends; made by `new` where there is none.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_firing(&mut self, new: &Firing) -> Result<Firing, StoreError> {
        let insert =
            diesel::insert_into(schedules::table).values(FiringRow::of(new)).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        let query = schedules::table.find(&new.name);
        let row: FiringRow = match self.conn().await? {
            Conn::Sqlite(c) => query.select(FiringRow::as_select()).get_result(c.get_mut()).await?,
            Conn::Postgres(c) => {
                query.select(FiringRow::as_select()).for_update().get_result(&mut **c).await?
            }
        };
        row.into_firing()
    }

    /// # Errors
    /// As every statement.
    pub async fn put_firing(&mut self, firing: &Firing) -> Result<(), StoreError> {
        let put = diesel::insert_into(schedules::table)
            .values(FiringRow::of(firing))
            .on_conflict(schedules::name)
            .do_update()
            .set((
                schedules::timing.eq(excluded(schedules::timing)),
                schedules::next_at.eq(excluded(schedules::next_at)),
                schedules::fired_at.eq(excluded(schedules::fired_at)),
                schedules::run_id.eq(excluded(schedules::run_id)),
                schedules::skipped_at.eq(excluded(schedules::skipped_at)),
            ));
        on!(self.conn().await?, |c| put.execute(c).await)?;
        Ok(())
    }
}
