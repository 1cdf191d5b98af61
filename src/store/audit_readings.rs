//! Readings of the audit log, which stand in it themselves: one stream for each day (UTC).

use diesel::{dsl::exists, prelude::*};
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    log_schema::audit_readings,
    schema::audit_events,
};
use crate::domain::audit::{ChainHead, NewEvent};

impl Store {
    /// Records that somebody has read the log, or is about to.
    ///
    /// # Errors
    /// As every statement; also where the store may only be read.
    pub async fn record_reading(&self, reading: NewEvent) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let day = tx.clock.now().format("%Y-%m-%d").to_string();
        let mut head = tx.own_readings(&day).await?;
        tx.append_to(&format!("reading:{day}"), &mut head, vec![reading]).await?;
        let chain = diesel::update(audit_readings::table.find(&day))
            .set((audit_readings::audit_seq.eq(head.seq), audit_readings::audit_hash.eq(head.hash)));
        on!(tx.conn().await?, |c| chain.execute(c).await)?;
        tx.commit().await
    }

    /// True when the log knows an actor of that name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn knows_actor(&self, actor: &str) -> Result<bool, StoreError> {
        let known = diesel::select(exists(audit_events::table.filter(audit_events::actor.eq(actor))));
        Ok(read!(self, |c| known.get_result(c).await))
    }
}

impl Tx {
    /// Where the chain of a day stands, locked.
    async fn own_readings(&mut self, day: &str) -> Result<ChainHead, StoreError> {
        let head = ChainHead::default();
        let first = (
            audit_readings::day.eq(day),
            audit_readings::audit_seq.eq(head.seq),
            audit_readings::audit_hash.eq(head.hash),
        );
        let insert = diesel::insert_into(audit_readings::table).values(first).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        let own =
            audit_readings::table.find(day).select((audit_readings::audit_seq, audit_readings::audit_hash));
        let (seq, hash) = match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => own.get_result(c.get_mut()).await?,
            Conn::Postgres(c) => own.for_update().get_result(&mut **c).await?,
        };
        Ok(ChainHead { seq, hash })
    }
}
