//! Signed checkpoints of the log, and how far each place outside of this database has got with them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    log_schema::{checkpoint_sinks as sinks, checkpoints},
    rows::utc,
};

/// How long an attempt belongs to its process; longer than any takes.
const HELD: TimeDelta = TimeDelta::seconds(60);

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// From 1, in the order in which they were signed.
    pub number: u64,
    /// Entries of the log that it speaks of.
    pub size: u64,
    pub signed_at: DateTime<Utc>,
    /// The signed note.
    pub note: String,
}

/// A place that checkpoints are published to, and how far it has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    pub name: String,
    /// Of the last checkpoint that is there; 0: none yet.
    pub number: u64,
    pub published_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

/// A checkpoint that this process is to publish, for as long as others leave it that place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub checkpoint: Checkpoint,
    /// Failures before this attempt, in a row.
    pub failures: i32,
    sink: String,
    lease_until: NaiveDateTime,
}

pub(super) type CheckpointRow = (i64, i64, NaiveDateTime, String);

pub(super) fn checkpoint((number, size, signed_at, note): CheckpointRow) -> Checkpoint {
    Checkpoint {
        number: number.cast_unsigned(),
        size: size.cast_unsigned(),
        signed_at: signed_at.and_utc(),
        note,
    }
}

async fn newest(conn: &mut Conn) -> Result<Option<Checkpoint>, StoreError> {
    let query = checkpoints::table.order(checkpoints::number.desc()).limit(1);
    let row: Option<CheckpointRow> = on!(conn, |c| query.first(c).await.optional())?;
    Ok(row.map(checkpoint))
}

impl Store {
    /// The newest checkpoint; `None` before the first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn newest_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let mut held = self.lookup().await?;
        let newest = newest(&mut held.conn).await?;
        held.give_back();
        Ok(newest)
    }

    /// All places that checkpoints were ever to be published to, by name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn checkpoint_sinks(&self) -> Result<Vec<Sink>, StoreError> {
        let query = sinks::table.order(sinks::name).select((
            sinks::name,
            sinks::number,
            sinks::published_at,
            sinks::failure,
        ));
        type Row = (String, i64, Option<NaiveDateTime>, Option<String>);
        let rows: Vec<Row> = read!(self, |c| query.load(c).await);
        let sink = |(name, number, published_at, failure): Row| Sink {
            name,
            number: number.cast_unsigned(),
            published_at: utc(published_at),
            failure,
        };
        Ok(rows.into_iter().map(sink).collect())
    }

    /// True where a checkpoint is newer than what that place has.
    ///
    /// # Errors
    /// As every statement.
    pub async fn is_publication_due(&self, sink: &str) -> Result<bool, StoreError> {
        let now = self.clock().now().naive_utc();
        let Some(newest) = self.newest_checkpoint().await? else { return Ok(false) };
        let query = sinks::table.find(sink).select((sinks::number, sinks::next_at));
        let row: Option<(i64, Option<NaiveDateTime>)> = read!(self, |c| query.first(c).await.optional());
        Ok(row.is_none_or(|(number, next_at)| {
            number.cast_unsigned() < newest.number && next_at.is_none_or(|at| at <= now)
        }))
    }
}

impl Tx {
    /// As [`Store::newest_checkpoint`].
    ///
    /// # Errors
    /// As every statement.
    pub async fn newest_checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        newest(self.conn().await?).await
    }

    /// Adds a checkpoint. Only for who has [locked](Self::lock_log) the log.
    ///
    /// # Errors
    /// As every statement.
    pub async fn add_checkpoint(&mut self, new: &Checkpoint) -> Result<(), StoreError> {
        let row = (
            checkpoints::number.eq(new.number.cast_signed()),
            checkpoints::tree_size.eq(new.size.cast_signed()),
            checkpoints::signed_at.eq(new.signed_at.naive_utc()),
            checkpoints::note.eq(&new.note),
        );
        on!(self.conn().await?, |c| diesel::insert_into(checkpoints::table).values(row).execute(c).await)?;
        Ok(())
    }

    /// Takes the newest checkpoint to publish it there; `None` where that is done, another process is at it, or it is to
    /// be tried again later.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_publication(&mut self, sink: &str) -> Result<Option<Publication>, StoreError> {
        let now = self.clock.now();
        let (until, now) = ((now + HELD).naive_utc(), now.naive_utc());
        let conn = self.conn().await?;
        let Some(checkpoint) = newest(&mut *conn).await? else { return Ok(None) };
        let first = (sinks::name.eq(sink), sinks::number.eq(0_i64), sinks::failures.eq(0));
        let first = diesel::insert_into(sinks::table).values(first).on_conflict_do_nothing();
        on!(&mut *conn, |c| first.execute(c).await)?;
        let is_due = sinks::number
            .lt(checkpoint.number.cast_signed())
            .and(sinks::lease_until.is_null().or(sinks::lease_until.le(now)))
            .and(sinks::next_at.is_null().or(sinks::next_at.le(now)));
        let take = diesel::update(sinks::table.find(sink).filter(is_due))
            .set(sinks::lease_until.eq(Some(until)))
            .returning(sinks::failures);
        let failures: Option<i32> = on!(conn, |c| take.get_result(c).await.optional())?;
        Ok(failures.map(|failures| Publication {
            checkpoint,
            failures,
            sink: sink.to_owned(),
            lease_until: until,
        }))
    }

    /// Writes down what came of an attempt: published, or why not and when to try again. Nothing where another process
    /// has taken it meanwhile.
    ///
    /// # Errors
    /// As every statement.
    pub async fn settle_publication(
        &mut self,
        taken: &Publication,
        outcome: Result<(), (String, DateTime<Utc>)>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now().naive_utc();
        let own = sinks::table.find(&taken.sink).filter(sinks::lease_until.eq(taken.lease_until));
        let free = sinks::lease_until.eq(None::<NaiveDateTime>);
        let conn = self.conn().await?;
        match outcome {
            Ok(()) => {
                let done = diesel::update(own).set((
                    free,
                    sinks::number.eq(taken.checkpoint.number.cast_signed()),
                    sinks::published_at.eq(Some(now)),
                    sinks::failures.eq(0),
                    sinks::next_at.eq(None::<NaiveDateTime>),
                    sinks::failure.eq(None::<String>),
                ));
                on!(conn, |c| done.execute(c).await)?;
            }
            Err((why, again)) => {
                let failed = diesel::update(own).set((
                    free,
                    sinks::failures.eq(taken.failures.saturating_add(1)),
                    sinks::next_at.eq(Some(again.naive_utc())),
                    sinks::failure.eq(Some(why)),
                ));
                on!(conn, |c| failed.execute(c).await)?;
            }
        }
        Ok(())
    }
}
