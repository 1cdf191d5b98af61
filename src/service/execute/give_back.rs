//! The store went away under an attempt. What the attempt noted is there, and what it could not note the next one finds
//! out; but nobody may claim the work before its lease has run out, unless it is given back.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::trouble::jitter;
use crate::{
    domain::{
        request::{Lease, LeaseOf},
        run::Run,
    },
    service::Service,
    store::StoreError,
};

/// How long between two tries.
const REST: Duration = Duration::from_millis(500);

/// Gives a claim back as soon as the store answers again. Not after an error that would come again: such an attempt
/// counts as one that crashed its worker.
pub async fn after(
    error: &StoreError,
    service: &Arc<Service>,
    lease: &Lease,
    mut stop: watch::Receiver<bool>,
) {
    if !matches!(error, StoreError::Unavailable(_) | StoreError::Busy) {
        return;
    }
    loop {
        let rest = REST.mul_f64(0.5 + jitter());
        if tokio::time::timeout(rest, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
        match give_back(service, lease).await {
            Err(StoreError::Unavailable(_) | StoreError::Busy) => {}
            Err(error) => {
                tracing::debug!(id = %lease.id, %error, "not given back");
                return;
            }
            Ok(()) => return,
        }
    }
}

/// Gives a claim back, unless its work has ended or is another's by now.
///
/// # Errors
/// When the store does not answer.
pub async fn give_back(service: &Service, lease: &Lease) -> Result<(), StoreError> {
    match lease.of {
        LeaseOf::Request => request(service, lease).await,
        LeaseOf::Run => run(service, lease).await,
    }
}

async fn request(service: &Service, lease: &Lease) -> Result<(), StoreError> {
    let mut tx = service.store.begin().await?;
    let Some(mut request) = tx.lock_request(lease.id).await?.filter(|found| found.epoch == lease.epoch)
    else {
        return tx.rollback().await;
    };
    if request.lease_until.is_none() {
        // The end was noted after all, and only the answer was lost.
        tx.rollback().await?;
    } else {
        request.given_back(service.clock.now());
        tx.write(&mut request, Vec::new()).await?;
        tx.commit().await?;
        service.wake.notify_one();
    }
    service.watchers.changed(&request);
    Ok(())
}

async fn run(service: &Service, lease: &Lease) -> Result<(), StoreError> {
    let mut tx = service.store.begin().await?;
    let claimed = |found: &Run| found.epoch == lease.epoch && found.lease_until.is_some();
    let Some(mut run) = tx.lock_run(lease.id).await?.filter(claimed) else {
        return tx.rollback().await;
    };
    run.given_back(service.clock.now());
    tx.write_run(&mut run, Vec::new()).await?;
    tx.commit().await?;
    service.runs_wake.notify_one();
    Ok(())
}
