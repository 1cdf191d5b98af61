//! Readings of holds.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{HoldRow, Sealed, WholeHold};
use crate::store::{
    Store, StoreError,
    conn::{on, read},
    rows::uuid,
    schema::{hold_refs, holds},
};

impl Store {
    /// One hold.
    ///
    /// # Errors
    /// As every statement.
    pub async fn hold(&self, id: Uuid) -> Result<Option<WholeHold>, StoreError> {
        Ok(self.holds(Some(id), None, None, 1).await?.into_iter().next())
    }

    /// Holds, newest first, before `before`; with `active`, those that are (not) in force.
    ///
    /// # Errors
    /// As every statement.
    pub async fn holds(
        &self,
        id: Option<Uuid>,
        active: Option<bool>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<WholeHold>, StoreError> {
        let mut held = self.reader().await?;
        let rows: Vec<(HoldRow, Sealed)> = on!(&mut held.conn, |c, Db| {
            let mut query = holds::table
                .select((HoldRow::as_select(), (holds::wrapped_key, holds::confidential)))
                .into_boxed::<Db>();
            if let Some(id) = id {
                query = query.filter(holds::id.eq(id.to_string()));
            }
            query = match active {
                Some(true) => query.filter(holds::ended_at.is_null()),
                Some(false) => query.filter(holds::ended_at.is_not_null()),
                None => query,
            };
            if let Some(before) = before {
                query = query.filter(holds::id.lt(before.to_string()));
            }
            query.order(holds::id.desc()).limit(limit).load(c).await
        })?;
        let ids: Vec<String> = rows.iter().map(|(row, ..)| row.id.clone()).collect();
        let refs = hold_refs::table
            .filter(hold_refs::hold_id.eq_any(&ids).and(hold_refs::shown.is_not_null()))
            .order((hold_refs::hold_id, hold_refs::identity, hold_refs::pseudonym))
            .select((hold_refs::hold_id, hold_refs::identity, hold_refs::shown.assume_not_null()));
        let refs: Vec<(String, String, String)> = on!(&mut held.conn, |c| refs.load(c).await)?;
        held.give_back();
        rows.into_iter()
            .map(|(row, sealed)| {
                let own = refs.iter().filter(|(hold, ..)| *hold == row.id);
                let refs =
                    own.map(|(_, identity, pseudonym)| (identity.clone(), pseudonym.clone())).collect();
                WholeHold::of(row, sealed, refs)
            })
            .collect()
    }

    /// The holds in force, each with the pseudonyms it knows: what tells whether anything about them has changed.
    ///
    /// # Errors
    /// As every statement.
    pub async fn held_now(&self) -> Result<Vec<(String, String)>, StoreError> {
        let now = self.clock().now().naive_utc();
        let query = holds::table
            .inner_join(hold_refs::table.on(hold_refs::hold_id.eq(holds::id)))
            .filter(holds::ended_at.is_null().and(holds::expires_at.is_null().or(holds::expires_at.gt(now))))
            .order((hold_refs::hold_id, hold_refs::pseudonym))
            .select((hold_refs::hold_id, hold_refs::pseudonym));
        Ok(read!(self, |c| query.load(c).await))
    }

    /// Holds whose time is over and that nobody has ended.
    ///
    /// # Errors
    /// As every statement.
    pub async fn holds_to_expire(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let query = holds::table
            .filter(holds::ended_at.is_null().and(holds::expires_at.le(now.naive_utc())))
            .order((holds::expires_at, holds::id))
            .limit(limit)
            .select(holds::id);
        let ids: Vec<String> = read!(self, |c| query.load(c).await);
        ids.iter().map(|id| uuid(id)).collect()
    }
}
