//! Completed erasures that keep rows for a time: when each is to be taken up again.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read, shared},
    rows::uuid,
    schema::{hold_refs, keeps, request_keys, request_refs},
};
use crate::domain::request::{Request, Status};

impl Store {
    /// Requests of which something is over by that time, the longest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn keeps_over(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let query = keeps::table
            .filter(keeps::due_at.le(now.naive_utc()))
            .order((keeps::due_at, keeps::request_id))
            .limit(limit)
            .select(keeps::request_id);
        let ids: Vec<String> = read!(self, |c| query.load(c).await);
        ids.iter().map(|id| uuid(id)).collect()
    }
}

impl Store {
    /// Requests of a held person that still have their keys: one that keeps rows for a time, or has not ended, knows them
    /// when no row does.
    ///
    /// # Errors
    /// As every statement.
    pub async fn keyed_requests_of(&self, hold: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let held =
            hold_refs::table.filter(hold_refs::hold_id.eq(hold.to_string())).select(hold_refs::pseudonym);
        let of_person =
            request_refs::table.filter(request_refs::pseudonym.eq_any(held)).select(request_refs::request_id);
        let query = request_keys::table
            .filter(request_keys::request_id.eq_any(of_person))
            .order(request_keys::request_id)
            .select(request_keys::request_id)
            .distinct();
        let ids: Vec<String> = read!(self, |c| query.load(c).await);
        ids.iter().map(|id| uuid(id)).collect()
    }
}

impl Tx {
    /// The request is taken up again.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_keep(&mut self, id: Uuid) -> Result<(), StoreError> {
        let own = keeps::table.find(id.to_string());
        on!(self.conn().await?, |c| diesel::delete(own).execute(c).await)?;
        Ok(())
    }
}

/// With the end of a request: when it is to be taken up again, if it is.
pub(super) async fn put(conn: &Conn, request: &Request) -> Result<(), StoreError> {
    let Some(until) = request.keep_until().filter(|_| request.status() == Status::Completed) else {
        return Ok(());
    };
    let due = until.naive_utc();
    let row = (keeps::request_id.eq(request.id.to_string()), keeps::due_at.eq(due));
    let upsert = diesel::insert_into(keeps::table)
        .values(row)
        .on_conflict(keeps::request_id)
        .do_update()
        .set(keeps::due_at.eq(due));
    shared!(conn, |c| upsert.execute(c).await)?;
    Ok(())
}
