//! How many requests there are of what, and which of them somebody has to be reminded of.

use chrono::{DateTime, NaiveDateTime, NaiveTime, Utc};
use diesel::{prelude::*, sql_types::Bool};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError,
    conn::{on, read},
    reads::OF_REPLAYS,
    rows::{from_text, utc, uuid},
    schema::requests,
};
use crate::domain::request::{SOON, Status};

/// What the metrics and the summary show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Every status, also those without a request.
    pub requests: Vec<(Status, i64)>,
    /// Submission of the oldest request that no worker has claimed yet.
    pub oldest_waiting: Option<DateTime<Utc>>,
    /// Requests past their due time whose person was not answered.
    pub overdue: i64,
    /// Those that will be, within [`SOON`].
    pub due_soon: i64,
}

/// A count of some requests, of everybody's or of one principal's.
macro_rules! counted {
    ($held:ident, $created_by:ident, $query:expr) => {
        on!(&mut $held.conn, |c, Db| {
            let mut query = $query.into_boxed::<Db>();
            if let Some(created_by) = $created_by {
                query = query.filter(requests::created_by.eq(created_by));
                query = query.filter(requests::answering.not_like(OF_REPLAYS));
            }
            query.load(c).await
        })?
    };
}

impl Store {
    /// Counts requests, with `created_by` those that this principal has asked for, without replays.
    ///
    /// # Errors
    /// As every statement.
    pub async fn counts(&self, created_by: Option<&str>) -> Result<Counts, StoreError> {
        let now = self.clock().now();
        let (soon, now) = ((now + SOON).naive_utc(), now.naive_utc());
        let mut held = self.reader().await?;
        // A grouped query cannot be restricted once it is boxed.
        let everybody = created_by.is_none().into_sql::<Bool>();
        let own = requests::created_by
            .eq(created_by.unwrap_or_default())
            .and(requests::answering.not_like(OF_REPLAYS));
        let by_status = requests::table
            .filter(own.or(everybody))
            .group_by(requests::status)
            .select((requests::status, diesel::dsl::count_star()));
        let by_status: Vec<(String, i64)> = on!(&mut held.conn, |c| by_status.load(c).await)?;
        let oldest: Vec<Option<NaiveDateTime>> = counted!(
            held,
            created_by,
            requests::table
                .filter(requests::status.eq(Status::Approved.as_str()))
                .select(diesel::dsl::min(requests::created_at))
        );
        let unanswered = requests::answered_at.is_null();
        let overdue: Vec<i64> = counted!(
            held,
            created_by,
            requests::table
                .filter(unanswered.and(requests::due_at.lt(now)))
                .select(diesel::dsl::count_star())
        );
        let due_soon: Vec<i64> = counted!(
            held,
            created_by,
            requests::table
                .filter(unanswered.and(requests::due_at.ge(now)).and(requests::due_at.lt(soon)))
                .select(diesel::dsl::count_star())
        );
        held.give_back();
        let mut requests: Vec<(Status, i64)> = Status::ALL.iter().map(|status| (*status, 0)).collect();
        for (status, count) in by_status {
            let status = from_text(&Status::ALL, Status::as_str, &status, "status")?;
            requests.iter_mut().filter(|(known, _)| *known == status).for_each(|(_, n)| *n = count);
        }
        Ok(Counts {
            requests,
            oldest_waiting: utc(oldest.into_iter().next().flatten()),
            overdue: overdue.into_iter().sum(),
            due_soon: due_soon.into_iter().sum(),
        })
    }

    /// Requests that are late or due soon, unanswered, not being worked on, and not reminded of since midnight (UTC);
    /// the most urgent first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn to_remind(&self, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let now = self.clock().now();
        let midnight = now.date_naive().and_time(NaiveTime::MIN);
        let query = requests::table
            .filter(requests::answered_at.is_null())
            .filter(requests::due_at.lt((now + SOON).naive_utc()))
            .filter(requests::reminded_at.is_null().or(requests::reminded_at.lt(midnight)))
            .filter(requests::lease_until.is_null())
            .order((requests::due_at, requests::id))
            .limit(limit)
            .select(requests::id);
        let ids: Vec<String> = read!(self, |c| query.load(c).await);
        ids.iter().map(|id| uuid(id)).collect()
    }
}
