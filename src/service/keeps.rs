//! Takes completed erasures up again when a keep of theirs is over: see
//! [`Request::reopen`](crate::domain::request::Request::reopen).

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::Service;
use crate::{
    points::{self, Point},
    store::StoreError,
};

/// How often is looked: what was kept for years can wait an hour, and what ends within it is deleted in one go.
const LOOK: Duration = Duration::from_secs(3_600);
const CHUNK: i64 = 100;

/// Looks at once and from then on, until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = look(&service).await {
            tracing::warn!(%error, "erasures whose keep is over could not be taken up again; tried again in an hour");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

async fn look(service: &Service) -> Result<(), StoreError> {
    reopen(service, service.store.now().await?).await?;
    Ok(())
}

/// Takes up every erasure of which a keep is over by that time; how many they were.
///
/// # Errors
/// When the store does not answer; those before were taken up.
pub async fn reopen(service: &Service, over: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut reopened = 0;
    let mut seen: HashSet<Uuid> = HashSet::new();
    loop {
        // A worker may have put one back meanwhile: that is for the next look.
        let ids = service.store.keeps_over(over, CHUNK).await?;
        let fresh: Vec<Uuid> = ids.into_iter().filter(|id| seen.insert(*id)).collect();
        if fresh.is_empty() {
            break;
        }
        for id in fresh {
            match reopen_one(service, id, over).await {
                Ok(is_reopened) => reopened += usize::from(is_reopened),
                Err(error) => {
                    tracing::warn!(request = %id, %error, "its keep is over; tried again in an hour")
                }
            }
        }
        service.wake.notify_one();
    }
    Ok(reopened)
}

/// False where another process was first.
async fn reopen_one(service: &Service, id: Uuid, over: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut tx = service.store.begin().await?;
    let Some(mut request) = tx.lock_request(id).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    tx.forget_keep(id).await?;
    let event = request.reopen(over, "system", service.clock.now());
    let is_reopened = event.is_some();
    if let Some(event) = event {
        tx.write(&mut request, vec![event]).await?;
    }
    tx.commit().await?;
    if is_reopened {
        points::reached(Point::KeepReopened);
        service.watchers.changed(&request);
    }
    Ok(is_reopened)
}
