//! What is to be told to webhooks. A delivery is written with the change that it tells of and taken by one process at a
//! time; one whose process is gone comes back after a minute, under the same id.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, each, on, read},
    rows::{utc, uuid},
    schema::webhook_deliveries as deliveries,
};
use crate::domain::{
    audit::{EventName, NewEvent},
    clock::Clock,
    request::Request,
    webhook,
};

/// How long a delivery that was taken belongs to its process; longer than any attempt takes.
const HELD: TimeDelta = TimeDelta::seconds(60);

/// Something to tell one webhook, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Uuid,
    /// The webhook's name in the configuration.
    pub endpoint: String,
    /// `None` for what concerns no request.
    pub request_id: Option<Uuid>,
    pub event: String,
    pub body: String,
    pub created_at: DateTime<Utc>,
    /// The one under way included.
    pub attempts: i32,
    pub next_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub failure: Option<String>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
struct DeliveryRow {
    id: String,
    endpoint: String,
    request_id: Option<String>,
    event: String,
    body: String,
    created_at: NaiveDateTime,
    attempts: i32,
    next_at: Option<NaiveDateTime>,
    delivered_at: Option<NaiveDateTime>,
    failure: Option<String>,
}

impl DeliveryRow {
    fn new(clock: Clock, at: DateTime<Utc>, endpoint: &str, event: EventName, body: String) -> Self {
        Self {
            id: clock.new_id().to_string(),
            endpoint: endpoint.to_owned(),
            request_id: None,
            event: event.as_str().to_owned(),
            body,
            created_at: at.naive_utc(),
            attempts: 0,
            next_at: Some(at.naive_utc()),
            delivered_at: None,
            failure: None,
        }
    }

    fn into_delivery(self) -> Result<Delivery, StoreError> {
        Ok(Delivery {
            id: uuid(&self.id)?,
            endpoint: self.endpoint,
            request_id: self.request_id.as_deref().map(uuid).transpose()?,
            event: self.event,
            body: self.body,
            created_at: self.created_at.and_utc(),
            attempts: self.attempts,
            next_at: utc(self.next_at),
            delivered_at: utc(self.delivered_at),
            failure: self.failure,
        })
    }
}

/// The deliveries that a change brings with it; none where no webhook is configured.
pub(super) struct Announcement(Vec<DeliveryRow>);

impl Announcement {
    /// `request` as the change leaves it.
    pub(super) fn of(endpoints: &[String], clock: Clock, request: &Request, events: &[NewEvent]) -> Self {
        if endpoints.is_empty() {
            return Self(Vec::new());
        }
        let at = clock.now();
        let told: Vec<EventName> =
            events.iter().map(|event| event.event).filter(|event| event.changes_status()).collect();
        let row = |event: EventName, endpoint: &String| DeliveryRow {
            request_id: Some(request.id.to_string()),
            ..DeliveryRow::new(clock, at, endpoint, event, webhook::body(event, request, at))
        };
        let rows =
            told.into_iter().flat_map(|event| endpoints.iter().map(move |endpoint| row(event, endpoint)));
        Self(rows.collect())
    }

    pub(super) async fn write(&self, conn: &Conn) -> Result<(), StoreError> {
        if !self.0.is_empty() {
            each!(conn, &self.0, |row| diesel::insert_into(deliveries::table).values(row));
        }
        Ok(())
    }
}

impl Store {
    /// Takes deliveries that are due, the oldest first, each as one more attempt.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_deliveries(&self, limit: i64) -> Result<Vec<Delivery>, StoreError> {
        let now = self.clock().now();
        let due = deliveries::table
            .filter(deliveries::next_at.le(now.naive_utc()))
            .order((deliveries::next_at, deliveries::id))
            .limit(limit)
            .select(deliveries::id);
        // Looked for outside of a write transaction, which most looks have no need of.
        let ids: Vec<String> = read!(self, |c| due.load(c).await);
        let mut taken = Vec::new();
        if ids.is_empty() {
            return Ok(taken);
        }
        let mut tx = self.begin().await?;
        for id in ids {
            // Still due: another process may have been faster.
            let take = diesel::update(
                deliveries::table.filter(deliveries::id.eq(id).and(deliveries::next_at.le(now.naive_utc()))),
            )
            .set((
                deliveries::attempts.eq(deliveries::attempts + 1),
                deliveries::next_at.eq(Some((now + HELD).naive_utc())),
            ))
            .returning(deliveries::all_columns);
            let row: Option<DeliveryRow> = on!(tx.conn().await?, |c| take.get_result(c).await.optional())?;
            taken.extend(row.map(DeliveryRow::into_delivery).transpose()?);
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Deliveries, newest first, before `before`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn deliveries(
        &self,
        request: Option<Uuid>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut held = self.reader().await?;
        let rows: Vec<DeliveryRow> = on!(&mut held.conn, |c, Db| {
            let mut query = deliveries::table.select(DeliveryRow::as_select()).into_boxed::<Db>();
            if let Some(request) = request {
                query = query.filter(deliveries::request_id.eq(request.to_string()));
            }
            if let Some(before) = before {
                query = query.filter(deliveries::id.lt(before.to_string()));
            }
            query.order(deliveries::id.desc()).limit(limit).load(c).await
        })?;
        held.give_back();
        rows.into_iter().map(DeliveryRow::into_delivery).collect()
    }
}

impl Tx {
    /// Has every webhook told of something that concerns no request.
    ///
    /// # Errors
    /// As every statement.
    pub async fn announce(&mut self, event: EventName, body: &str) -> Result<(), StoreError> {
        let (clock, at) = (self.clock, self.clock.now());
        let endpoints = self.endpoints.clone();
        let row = |endpoint: &String| DeliveryRow::new(clock, at, endpoint, event, body.to_owned());
        Announcement(endpoints.iter().map(row).collect()).write(self.conn().await?).await
    }

    /// Writes how an attempt went. `next_at` is null when it was delivered or is given up.
    ///
    /// # Errors
    /// As every statement.
    pub async fn settle_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        // A later attempt, by whoever took it after a minute, has the last word.
        let attempt = deliveries::table.filter(
            deliveries::id.eq(delivery.id.to_string()).and(deliveries::attempts.eq(delivery.attempts)),
        );
        let settle = diesel::update(attempt).set((
            deliveries::next_at.eq(delivery.next_at.map(|at| at.naive_utc())),
            deliveries::delivered_at.eq(delivery.delivered_at.map(|at| at.naive_utc())),
            deliveries::failure.eq(&delivery.failure),
        ));
        on!(self.conn().await?, |c| settle.execute(c).await)?;
        Ok(())
    }

    /// Makes a delivery due now, with a new budget of attempts; `None` when there is none of that id.
    ///
    /// # Errors
    /// As every statement.
    pub async fn redeliver(&mut self, id: Uuid) -> Result<Option<Delivery>, StoreError> {
        let now = self.clock.now().naive_utc();
        let again = diesel::update(deliveries::table.find(id.to_string()))
            .set((
                deliveries::attempts.eq(0),
                deliveries::next_at.eq(Some(now)),
                deliveries::delivered_at.eq(None::<NaiveDateTime>),
                deliveries::failure.eq(None::<String>),
            ))
            .returning(deliveries::all_columns);
        let row: Option<DeliveryRow> = on!(self.conn().await?, |c| again.get_result(c).await.optional())?;
        row.map(DeliveryRow::into_delivery).transpose()
    }

    /// Forgets deliveries that were made, or given up, before `before`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_deliveries(&mut self, before: DateTime<Utc>) -> Result<usize, StoreError> {
        let old = deliveries::table
            .filter(deliveries::next_at.is_null().and(deliveries::created_at.lt(before.naive_utc())));
        Ok(on!(self.conn().await?, |c| diesel::delete(old).execute(c).await)?)
    }
}
