//! A word once a day about every request whose answer is late or due within a week, in the audit log and in the log.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::Service;
use crate::{domain::audit::timestamp, store::StoreError};

/// How often is looked. A request that a worker holds is passed over until the next time.
const LOOK: Duration = Duration::from_secs(600);
/// How many are looked up at a time.
const CHUNK: i64 = 100;

/// Reminds at once and from then on, until `stop` turns true. Several processes may do so: who comes second finds that
/// it was done.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = remind(&service).await {
            tracing::warn!(%error, "nobody could be reminded of what is due; tried again in ten minutes");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Reminds of all requests that it is time for; how many they were.
///
/// # Errors
/// When the store does not answer; those before were reminded of.
pub async fn remind(service: &Service) -> Result<usize, StoreError> {
    let mut reminded = 0;
    loop {
        let ids = service.store.to_remind(CHUNK).await?;
        let before = reminded;
        for id in ids {
            reminded += usize::from(remind_of(service, id).await?);
        }
        // Those that are left were taken by a worker, or by another process that reminds.
        if reminded == before {
            return Ok(reminded);
        }
    }
}

async fn remind_of(service: &Service, id: uuid::Uuid) -> Result<bool, StoreError> {
    let mut tx = service.store.begin().await?;
    let Some(mut request) = tx.lock_request(id).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let Some(event) = request.remind(service.clock.now()) else {
        tx.rollback().await?;
        return Ok(false);
    };
    tx.write(&mut request, vec![event]).await?;
    tx.commit().await?;
    tracing::warn!(request = %id, due_at = request.due_at().map(timestamp), "its answer is due");
    service.watchers.changed(&request);
    Ok(true)
}
