//! Readings of the audit log: filtered pages, newest first, and one request's events, oldest first.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{prelude::*, sql_types::Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError,
    conn::{Conn, on, read},
    consents::known_by,
    rows::EventRow,
    schema::{audit_events, consent_refs, hold_refs, request_refs},
};
use crate::domain::{
    audit::{Event, EventName, timestamp},
    request::Status,
};

/// Which events; `None` and an empty list do not restrict.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub request_id: Option<Uuid>,
    pub event: Option<EventName>,
    pub actor: Option<String>,
    /// From this time on.
    pub from: Option<DateTime<Utc>>,
    /// Strictly before this time.
    pub to: Option<DateTime<Utc>>,
    /// Any of these pseudonyms: events that carry one, and all events of requests, holds and consents that are known by one, so
    /// that events from before the resolution are found too.
    pub subject_refs: Option<Vec<String>>,
}

/// In which order events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOrder {
    /// By id, newest first.
    Newest,
    /// By id, oldest first.
    Oldest,
    /// By stream and sequence, as the chains are verified.
    Chain,
}

/// A page, newest first; the position is the id of the last event of the page before.
#[derive(Debug, Clone)]
pub struct EventPage {
    pub limit: i64,
    pub before: Option<Uuid>,
}

/// Where a reading goes on: behind this event.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) id: String,
    pub(super) stream: String,
    pub(super) seq: i64,
}

impl Position {
    pub(super) fn of(event: &Event) -> Self {
        Self { id: event.id.to_string(), stream: event.stream.clone(), seq: event.seq }
    }
}

/// How far the time in an event's id and its `at` may lie apart: both come from one clock, read one after the other,
/// and that clock may be set in between.
const ID_SLACK: TimeDelta = TimeDelta::minutes(10);

/// The least UUIDv7 of a time (RFC 9562 §5.7: milliseconds since 1970 come first).
fn id_made_at(at: DateTime<Utc>) -> String {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds.min((1 << 48) - 1) << 80).to_string()
}

/// Restricts a boxed query. A macro, because the two boxed types share no trait that one function could name.
macro_rules! filtered {
    ($query:expr, $filter:ident) => {{
        let mut query = $query;
        if let Some(id) = $filter.request_id {
            query = query.filter(audit_events::request_id.eq(id.to_string()));
        }
        if let Some(event) = $filter.event {
            query = query.filter(audit_events::event.eq(event.as_str()));
        }
        if let Some(actor) = &$filter.actor {
            query = query.filter(audit_events::actor.eq(actor));
        }
        // `at` is text of one fixed form, so it sorts as the times do; the ids lead there by the primary key.
        if let Some(from) = $filter.from {
            let first = id_made_at(from - ID_SLACK);
            query = query.filter(audit_events::at.ge(timestamp(from)).and(audit_events::id.ge(first)));
        }
        if let Some(to) = $filter.to {
            let last = id_made_at(to + ID_SLACK);
            query = query.filter(audit_events::at.lt(timestamp(to)).and(audit_events::id.lt(last)));
        }
        if let Some(refs) = &$filter.subject_refs {
            let known = request_refs::table
                .filter(request_refs::pseudonym.eq_any(refs))
                .select(request_refs::request_id.nullable());
            let consents = known_by(refs.iter().map(String::as_str).collect())
                .select("consent:".into_sql::<Text>().concat(consent_refs::consent_id));
            let holds = hold_refs::table
                .filter(hold_refs::pseudonym.eq_any(refs))
                .select("hold:".into_sql::<Text>().concat(hold_refs::hold_id));
            query = query.filter(
                audit_events::subject_ref
                    .eq_any(refs)
                    .or(audit_events::request_id.eq_any(known))
                    .or(audit_events::stream.eq_any(consents))
                    .or(audit_events::stream.eq_any(holds)),
            );
        }
        query
    }};
}

impl Store {
    /// A page of the log, newest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn events(&self, filter: &EventFilter, page: &EventPage) -> Result<Vec<Event>, StoreError> {
        let after = page.before.map(|id| Position { id: id.to_string(), stream: String::new(), seq: 0 });
        let mut held = self.reader().await?;
        let events = load(&mut held.conn, filter, EventOrder::Newest, after.as_ref(), page.limit).await?;
        held.give_back();
        Ok(events)
    }

    /// The events of one request's stream after `after_seq` (0: from the first), oldest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn request_events(
        &self,
        id: Uuid,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let mut held = self.lookup().await?;
        let query = audit_events::table
            .filter(audit_events::stream.eq(format!("request:{id}")))
            .filter(audit_events::seq.gt(after_seq))
            .order(audit_events::seq)
            .limit(limit);
        let rows: Vec<EventRow> = on!(&mut held.conn, |c| query.select(EventRow::as_select()).load(c).await)?;
        held.give_back();
        rows.into_iter().map(EventRow::into_event).collect()
    }

    /// The newest event of an end in a request's stream: one that was retried or taken up again has several.
    ///
    /// # Errors
    /// As every statement.
    pub async fn end_event(&self, id: Uuid) -> Result<Option<Event>, StoreError> {
        let ends: Vec<&str> =
            Status::ALL.into_iter().filter_map(Status::end_event).map(EventName::as_str).collect();
        let query = audit_events::table
            .filter(audit_events::stream.eq(format!("request:{id}")))
            .filter(audit_events::event.eq_any(ends))
            .order(audit_events::seq.desc())
            .limit(1);
        let row: Option<EventRow> =
            read!(self, |c| query.select(EventRow::as_select()).first(c).await.optional());
        row.map(EventRow::into_event).transpose()
    }
}

pub(super) async fn load(
    conn: &mut Conn,
    filter: &EventFilter,
    order: EventOrder,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<EventRow> = on!(conn, |c, Db| {
        let query = audit_events::table.select(EventRow::as_select()).into_boxed::<Db>();
        let mut query = filtered!(query, filter);
        query = match order {
            EventOrder::Newest => query.order(audit_events::id.desc()),
            EventOrder::Oldest => query.order(audit_events::id.asc()),
            EventOrder::Chain => query.order((audit_events::stream.asc(), audit_events::seq.asc())),
        };
        if let Some(after) = after {
            query = match order {
                EventOrder::Newest => query.filter(audit_events::id.lt(&after.id)),
                EventOrder::Oldest => query.filter(audit_events::id.gt(&after.id)),
                EventOrder::Chain => query
                    .filter(audit_events::stream.ge(&after.stream))
                    .filter(audit_events::stream.gt(&after.stream).or(audit_events::seq.gt(after.seq))),
            };
        }
        query.limit(limit).load(c).await
    })?;
    rows.into_iter().map(EventRow::into_event).collect()
}
