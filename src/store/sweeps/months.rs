//! Months that nothing hangs on any more: their keys may go, and with them what leads from a person to the log.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{dsl::not, prelude::*};
use diesel_async::RunQueryDsl;

use super::{
    Due,
    over::{is_reduced, may_be_reduced},
};
use crate::{
    domain::pseudonym::Month,
    store::{
        StoreError, Tx,
        conn::{Conn, on},
        periods,
        schema::{erasure_ledger, holds, replays, requests},
    },
};

/// Ids in one statement.
const CHUNK: usize = 500;

#[diesel::dsl::auto_type]
fn is_request_of(from: NaiveDateTime, to: NaiveDateTime) -> _ {
    requests::created_at.ge(from).and(requests::created_at.lt(to))
}

#[diesel::dsl::auto_type]
fn is_hold_of(from: NaiveDateTime, to: NaiveDateTime) -> _ {
    holds::placed_at.ge(from).and(holds::placed_at.lt(to))
}

fn bounds(month: Month) -> (NaiveDateTime, NaiveDateTime) {
    (month.begin().naive_utc(), month.end().naive_utc())
}

/// Months that were over until `before` as all that is of them was: those of which nothing leads to a person any more, and
/// of the others what still does, at most `limit` of each kind.
pub(super) async fn due(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<Due, StoreError> {
    let mut due = Due::default();
    for month in periods::over(conn, before).await? {
        if is_needed(conn, month, before.naive_utc()).await? {
            continue;
        }
        let (requests, holds) = left(conn, month, limit).await?;
        if requests.is_empty() && holds.is_empty() {
            due.months.push(month);
        }
        due.requests.extend(requests);
        due.holds.extend(holds);
        if due.requests.len().max(due.holds.len()) >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
    }
    Ok(due)
}

/// True while a request or a hold of the month is not over, or the ledger or a replay leads from a person to one.
async fn is_needed(conn: &mut Conn, month: Month, before: NaiveDateTime) -> Result<bool, StoreError> {
    let (from, to) = bounds(month);
    let open = requests::table
        .filter(is_request_of(from, to).and(not(is_reduced())))
        .filter(requests::finished_at.is_null().or(not(may_be_reduced(before))))
        .limit(1)
        .select(requests::id);
    let in_force = holds::table
        .filter(is_hold_of(from, to).and(holds::ended_at.is_null().or(holds::ended_at.gt(before))))
        .limit(1)
        .select(holds::id);
    let found: [Vec<String>; 2] =
        [on!(conn, |c| open.load(c).await)?, on!(conn, |c| in_force.load(c).await)?];
    Ok(found.iter().any(|ids| !ids.is_empty()) || is_known(conn, month).await?)
}

/// True where the ledger still holds an erasure of the month, or a replay of one still leads to its person.
async fn is_known(conn: &mut Conn, month: Month) -> Result<bool, StoreError> {
    let (from, to) = bounds(month);
    let own = requests::table.filter(is_request_of(from, to)).select(requests::id);
    let entries = erasure_ledger::table
        .filter(erasure_ledger::request_id.eq_any(own))
        .limit(1)
        .select(erasure_ledger::id);
    let entries: Vec<String> = on!(conn, |c| entries.load(c).await)?;
    if !entries.is_empty() {
        return Ok(true);
    }
    let again = replays::table.filter(replays::erasure_id.eq_any(own)).select(replays::request_id);
    let again: Vec<Option<String>> = on!(conn, |c| again.load(c).await)?;
    let again: Vec<String> = again.into_iter().flatten().collect();
    for ids in again.chunks(CHUNK) {
        let whole = requests::table.filter(requests::id.eq_any(ids).and(not(is_reduced())));
        let whole: Vec<String> = on!(conn, |c| whole.limit(1).select(requests::id).load(c).await)?;
        if !whole.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Requests and holds of the month that still lead to a person.
async fn left(conn: &mut Conn, month: Month, limit: i64) -> Result<(Vec<String>, Vec<String>), StoreError> {
    let (from, to) = bounds(month);
    let whole = requests::table
        .filter(is_request_of(from, to).and(not(is_reduced())))
        .order(requests::id)
        .limit(limit)
        .select(requests::id);
    let of_holds = holds::table
        .filter(is_hold_of(from, to).and(holds::reduced_at.is_null()))
        .order(holds::id)
        .limit(limit)
        .select(holds::id);
    Ok((on!(conn, |c| whole.load(c).await)?, on!(conn, |c| of_holds.load(c).await)?))
}

impl Tx {
    /// Destroys the keys of these months as far as nothing hangs on them; of which.
    pub(super) async fn destroy_months(
        &mut self,
        months: &[Month],
        now: DateTime<Utc>,
    ) -> Result<Vec<Month>, StoreError> {
        let conn = self.conn().await?;
        let mut destroyed = Vec::new();
        for month in months {
            let (requests, holds) = left(conn, *month, 1).await?;
            let is_free = requests.is_empty() && holds.is_empty() && !is_known(conn, *month).await?;
            if is_free && periods::destroy(conn, *month, now).await? {
                destroyed.push(*month);
            }
        }
        Ok(destroyed)
    }
}
