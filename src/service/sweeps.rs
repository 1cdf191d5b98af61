//! The retention of the service's own data: what has ended long enough ago loses first its identities, then whatever else
//! leads to a person, and a month of which everything has ended its key. Counts and the audit log stay.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Service,
    actions::finish,
    error::ServiceError,
    execute::{corrected_by, trouble::Interrupt},
};
use crate::{
    domain::{
        rectification::Corrected,
        sweep::{Periods, Sweep, Swept},
    },
    points::{self, Point},
    store::{Due, StoreError},
};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(3600);
/// How much goes in one transaction, of each kind.
const BATCH: i64 = 100;

/// Sweeps at once and from then on, until `stop` turns true. Several processes may do so: they share the work.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while service.upkeep.periods != Periods::default() && !*stop.borrow() {
        // Another process may have destroyed some: nor does this one keep them.
        if let Err(error) = service.pseudonyms.reload(&service).await {
            tracing::warn!(%error, "the keys of months could not be read");
        }
        for sweep in Sweep::ALL {
            if let Err(error) = carry_out(&service, sweep, &stop).await {
                tracing::warn!(sweep = sweep.as_str(), %error, "what is over could not be removed; tried again in an hour");
            }
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Has go whatever is over by the store's clock, batch by batch; how much it was.
///
/// # Errors
/// When the store does not answer; the batches before are done.
pub async fn carry_out(
    service: &Service,
    sweep: Sweep,
    stop: &watch::Receiver<bool>,
) -> Result<Swept, ServiceError> {
    let mut all = Swept::default();
    let Some(period) = service.upkeep.periods.of(sweep) else { return Ok(all) };
    while !*stop.borrow() {
        let now = service.store.now().await?;
        let Some(before) = period.before(now) else { break };
        let swept = carry_out_batch(service, sweep, before, now).await?;
        if swept.is_nothing() {
            break;
        }
        tracing::info!(sweep = sweep.as_str(), ?swept, "removed what is over");
        all = all.and(swept);
    }
    Ok(all)
}

/// One batch, in one transaction with its event; nothing where nothing is over, or others are at all of it.
///
/// # Errors
/// When the store does not answer.
pub async fn carry_out_batch(
    service: &Service,
    sweep: Sweep,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Swept, ServiceError> {
    let due = service.store.due(sweep, before, BATCH).await?;
    if due.is_empty() {
        return Ok(Swept::default());
    }
    let corrected = match sweep {
        Sweep::Identities => corrected(service, &due).await?,
        Sweep::Requests | Sweep::IdempotencyKeys | Sweep::Pseudonyms => Vec::new(),
    };
    let mut tx = service.store.begin().await?;
    let swept = tx.sweep(sweep, &due, &corrected, before, now).await;
    points::reached(Point::SweepRemoving);
    let swept = finish(tx, swept.map_err(ServiceError::from)).await?;
    points::reached(Point::SweepRemoved);
    if swept.months > 0 {
        service.pseudonyms.reload(service).await?;
    }
    Ok(swept)
}

/// What has to be known of the rectifications among them once nobody can read any more what they were asked for.
async fn corrected(service: &Service, due: &Due) -> Result<Vec<(Uuid, Corrected)>, StoreError> {
    let mut all = Vec::new();
    for id in due.requests()? {
        let Some(request) = service.store.request(id).await? else { continue };
        match corrected_by(service, &request).await {
            Ok(corrected) => all.extend(corrected.map(|corrected| (id, corrected))),
            Err(Interrupt::Store(error)) => return Err(error),
            // Sealed under another key, so that no pseudonym of this one leads to it either.
            Err(_) => tracing::warn!(request = %id, "what it has corrected cannot be read"),
        }
    }
    Ok(all)
}
