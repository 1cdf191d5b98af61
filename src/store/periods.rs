//! The keys of the months under which people are shown: made once, and never again once they were destroyed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    schema::{consent_refs, hold_refs, request_refs},
};
use crate::domain::pseudonym::Month;

diesel::table! {
    period_keys (period) {
        period -> Text,
        wrapped_key -> Nullable<Binary>,
        created_at -> Timestamp,
        destroyed_at -> Nullable<Timestamp>,
    }
}

impl Store {
    /// Every month that has, or had, a key, and that key, wrapped; `None`: it was destroyed.
    ///
    /// # Errors
    /// As every statement.
    pub async fn periods(&self) -> Result<Vec<(Month, Option<Vec<u8>>)>, StoreError> {
        let all = period_keys::table.select((period_keys::period, period_keys::wrapped_key));
        let rows: Vec<(String, Option<Vec<u8>>)> = read!(self, |c| all.load(c).await);
        rows.into_iter().map(|(period, key)| Ok((month(&period)?, key))).collect()
    }

    /// The compared pseudonyms behind shown ones, as far as they are still known.
    ///
    /// # Errors
    /// As every statement.
    pub async fn compared(&self, shown: &[String]) -> Result<BTreeSet<String>, StoreError> {
        let of_requests =
            request_refs::table.filter(request_refs::shown.eq_any(shown)).select(request_refs::pseudonym);
        let of_holds = hold_refs::table.filter(hold_refs::shown.eq_any(shown)).select(hold_refs::pseudonym);
        let of_consents =
            consent_refs::table.filter(consent_refs::shown.eq_any(shown)).select(consent_refs::pseudonym);
        let mut held = self.lookup().await?;
        let conn = &mut held.conn;
        let mut all: BTreeSet<String> = on!(conn, |c| of_requests.load(c).await)?.into_iter().collect();
        all.extend(on!(conn, |c| of_holds.load::<String>(c).await)?);
        all.extend(on!(conn, |c| of_consents.load::<String>(c).await)?);
        held.give_back();
        Ok(all)
    }
}

impl Tx {
    /// Gives a month its key, unless it has one, or had one.
    ///
    /// # Errors
    /// As every statement.
    pub async fn add_period(
        &mut self,
        month: Month,
        wrapped_key: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = (
            period_keys::period.eq(month.to_string()),
            period_keys::wrapped_key.eq(wrapped_key),
            period_keys::created_at.eq(now.naive_utc()),
        );
        let insert = diesel::insert_into(period_keys::table).values(row).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        Ok(())
    }
}

/// The months that have their key and were over by then, the oldest first.
pub(super) async fn over(conn: &mut Conn, before: DateTime<Utc>) -> Result<Vec<Month>, StoreError> {
    let living = period_keys::table
        .filter(period_keys::destroyed_at.is_null())
        .order(period_keys::period)
        .select(period_keys::period);
    let living: Vec<String> = on!(conn, |c| living.load(c).await)?;
    let living: Vec<Month> = living.iter().map(|period| month(period)).collect::<Result<_, _>>()?;
    Ok(living.into_iter().filter(|month| month.end() <= before).collect())
}

/// Destroys the key of a month; false where that was done before.
pub(super) async fn destroy(conn: &mut Conn, month: Month, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let own = period_keys::table.find(month.to_string()).filter(period_keys::destroyed_at.is_null());
    let destroy = diesel::update(own).set((
        period_keys::wrapped_key.eq(None::<Vec<u8>>),
        period_keys::destroyed_at.eq(Some(now.naive_utc())),
    ));
    Ok(on!(conn, |c| destroy.execute(c).await)? == 1)
}

fn month(period: &str) -> Result<Month, StoreError> {
    period.parse().map_err(|_| StoreError::internal("a key's period is no month"))
}
