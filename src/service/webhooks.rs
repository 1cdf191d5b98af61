//! Tells webhooks of what became of requests: at least once, signed, and until the receiver has confirmed it or three
//! days are over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Service, error::ServiceError};
use crate::{
    connectors::web::WebClient,
    domain::webhook::{SigningKey, next_attempt},
    points::{self, Point},
    store::{Delivery, StoreError},
};

/// How often is looked for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Under way at once.
const ABREAST: usize = 8;
/// How long deliveries that are over can still be looked at and repeated.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How often older ones are forgotten.
const FORGET: TimeDelta = TimeDelta::hours(1);
/// The receiver wants no more of this: it is given up at once (the specification's 410).
const GONE: u16 = 410;

/// A receiver.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub key: SigningKey,
}

/// The receivers by name, and the way to them.
pub struct Webhooks {
    pub endpoints: BTreeMap<String, Endpoint>,
    pub client: WebClient,
}

/// Delivers from now on, until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    if service.webhooks.endpoints.is_empty() {
        return;
    }
    let mut forgotten_at: Option<DateTime<Utc>> = None;
    while !*stop.borrow() {
        let mut stopped = stop.clone();
        // A receiver that does not answer keeps nobody from stopping: what was taken comes back under the same id.
        let delivered = tokio::select! {
            delivered = deliver(&service) => delivered,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match delivered {
            // There may be more.
            Ok(delivered) if delivered >= ABREAST => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "webhooks could not be told"),
        }
        let now = service.clock.now();
        if forgotten_at.is_none_or(|at| now - at > FORGET) {
            forgotten_at = Some(now);
            if let Err(error) = forget(&service, now - KEPT).await {
                tracing::warn!(%error, "old webhook deliveries could not be forgotten");
            }
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Makes one attempt at each of the deliveries that are due, a few at a time; how many they were.
///
/// # Errors
/// When the store does not answer; attempts that were not recorded are made again.
pub async fn deliver(service: &Service) -> Result<usize, StoreError> {
    let taken = service.store.take_deliveries(i64::try_from(ABREAST).unwrap_or(i64::MAX)).await?;
    let count = taken.len();
    if count > 0 {
        points::reached(Point::WebhookTaken);
    }
    let outcomes: Vec<Result<(), StoreError>> = stream::iter(taken)
        .map(|delivery| attempt(service, delivery))
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    outcomes.into_iter().collect::<Result<(), StoreError>>()?;
    Ok(count)
}

async fn attempt(service: &Service, mut delivery: Delivery) -> Result<(), StoreError> {
    let result = send(service, &delivery).await;
    points::reached(Point::WebhookSent);
    let now = service.clock.now();
    match result {
        Ok(()) => {
            delivery.next_at = None;
            delivery.delivered_at = Some(now);
            delivery.failure = None;
            service.metrics.webhooks_delivered.inc();
        }
        Err(Failed { why, for_good }) => {
            delivery.next_at = next_attempt(delivery.attempts, now).filter(|_| !for_good);
            tracing::warn!(
                webhook = delivery.endpoint, delivery = %delivery.id, why, given_up = delivery.next_at.is_none(),
                "a webhook was not told"
            );
            delivery.failure = Some(why);
            service.metrics.webhooks_failed.inc();
        }
    }
    let mut tx = service.store.begin().await?;
    tx.settle_delivery(&delivery).await?;
    tx.commit().await?;
    points::reached(Point::WebhookNoted);
    Ok(())
}

struct Failed {
    why: String,
    for_good: bool,
}

async fn send(service: &Service, delivery: &Delivery) -> Result<(), Failed> {
    let webhooks = &service.webhooks;
    let Some(endpoint) = webhooks.endpoints.get(&delivery.endpoint) else {
        let why = "the configuration has no webhook of this name any more".to_owned();
        return Err(Failed { why, for_good: true });
    };
    let now = service.clock.now();
    let headers = [
        ("webhook-id", delivery.id.to_string()),
        ("webhook-timestamp", now.timestamp().to_string()),
        ("webhook-signature", endpoint.key.sign(delivery.id, now, &delivery.body)),
    ];
    match webhooks.client.post(&endpoint.url, &headers, delivery.body.clone()).await {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err(Failed { why: format!("status {status}"), for_good: status == GONE }),
        Err(error) => Err(Failed { why: error.to_string(), for_good: false }),
    }
}

async fn forget(service: &Service, before: DateTime<Utc>) -> Result<(), StoreError> {
    let mut tx = service.store.begin().await?;
    tx.forget_deliveries(before).await?;
    tx.commit().await
}

/// A page of deliveries, newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    service: &Service,
    request: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, ServiceError> {
    Ok(service.store.deliveries(request, before, limit).await?)
}

/// Makes a delivery again, whatever became of it: due now, with a new budget of attempts.
///
/// # Errors
/// `NotFound` when it is not kept any more.
pub async fn redeliver(service: &Service, id: Uuid) -> Result<Delivery, ServiceError> {
    let mut tx = service.store.begin().await?;
    let delivery = tx.redeliver(id).await?;
    tx.commit().await?;
    delivery.ok_or(ServiceError::NotFound)
}
