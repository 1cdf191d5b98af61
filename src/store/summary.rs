//! Every request that a summary counts, on one consistent state, in constant memory.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Store, StoreError,
    conn::{Conn, on},
    rows::RequestRow,
    schema::requests,
};
use crate::domain::request::{Kind, Request};

/// Rows read at a time.
const CHUNK: i64 = 500;

/// Which requests are counted; `None` and an empty list do not restrict.
#[derive(Debug, Clone, Default)]
pub struct SummaryFilter {
    /// Submitted from this time on.
    pub from: Option<DateTime<Utc>>,
    /// Submitted strictly before this time.
    pub to: Option<DateTime<Utc>>,
    pub kind: Vec<Kind>,
}

impl Store {
    /// Hands over each request that passes the filter, by id.
    ///
    /// # Errors
    /// As every statement.
    pub async fn each_request(
        &self,
        filter: &SummaryFilter,
        mut take: impl FnMut(&Request),
    ) -> Result<(), StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut after = String::new();
        loop {
            let chunk = load(&mut snapshot.held.conn, filter, &after).await?;
            let Some(last) = chunk.last() else { break };
            after = last.id.to_string();
            chunk.iter().for_each(&mut take);
        }
        snapshot.close().await
    }
}

async fn load(conn: &mut Conn, filter: &SummaryFilter, after: &str) -> Result<Vec<Request>, StoreError> {
    let rows: Vec<RequestRow> = on!(conn, |c, Db| {
        let mut query = requests::table.select(RequestRow::as_select()).into_boxed::<Db>();
        if let Some(from) = filter.from {
            query = query.filter(requests::submitted_at.ge(from.naive_utc()));
        }
        if let Some(to) = filter.to {
            query = query.filter(requests::submitted_at.lt(to.naive_utc()));
        }
        if !filter.kind.is_empty() {
            query = query.filter(requests::kind.eq_any(filter.kind.iter().map(|kind| kind.as_str())));
        }
        query.filter(requests::id.gt(after)).order(requests::id).limit(CHUNK).load(c).await
    })?;
    rows.into_iter().map(RequestRow::into_request).collect()
}
