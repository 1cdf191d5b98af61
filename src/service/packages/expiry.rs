//! The end of a package: its key is destroyed, which makes every copy of it unreadable, then its parts are removed. And
//! what attempts that came to nothing have left behind goes too; its key was never kept.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::tell;
use crate::{
    connectors::{ConnectorError, objects::Objects},
    domain::{audit::EventName, request::Request},
    points::{self, Point},
    service::{Service, actions::finish, error::ServiceError},
};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(30);
/// Between two looks for what was left behind, in looks.
const SWEEP_EVERY: u32 = 120;
const CHUNK: i64 = 100;
/// How long the end of an attempt waits for that of its parts.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends packages whose time is over, until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let mut looks = 0_u32;
    while !*stop.borrow() {
        if let Err(error) = expire(&service).await {
            tracing::warn!(%error, "packages whose time is over could not be ended; tried again");
        }
        if looks.is_multiple_of(SWEEP_EVERY)
            && let Err(error) = sweep(&service).await
        {
            tracing::warn!(%error, "what was left of exports that came to nothing was not removed; tried again");
        }
        looks = looks.wrapping_add(1);
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Ends every package whose time is over.
///
/// # Errors
/// When the store does not answer.
pub async fn expire(service: &Service) -> Result<(), ServiceError> {
    for id in service.store.packages_to_expire(CHUNK).await? {
        if let Err(error) = end(service, id).await {
            tracing::warn!(request = %id, %error, "its package's key is still there; tried again");
        }
    }
    for package in service.store.packages_to_remove(CHUNK).await? {
        if let Err(error) = service.packages.objects.remove_all(&package.request_id.to_string()).await {
            tracing::warn!(%error, "the parts of an expired package are still there, and unreadable");
            continue;
        }
        points::reached(Point::PackageRemoved);
        let mut tx = service.store.begin().await?;
        tx.package_removed(package.request_id).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn end(service: &Service, id: Uuid) -> Result<(), ServiceError> {
    let now = service.clock.now();
    let mut tx = service.store.begin().await?;
    let ended = async {
        if tx.expire_package(id, now).await? {
            tell(&mut tx, id, EventName::ExportExpired, "system", json!({})).await?;
        }
        Ok(())
    };
    let ended = ended.await;
    finish(tx, ended).await?;
    points::reached(Point::PackageExpired);
    Ok(())
}

/// Removes what requests that have ended left beside their package, or instead of one.
///
/// # Errors
/// When the store does not answer.
pub async fn sweep(service: &Service) -> Result<(), ServiceError> {
    let folders = match service.packages.objects.folders("").await {
        Ok(folders) => folders,
        Err(error) => {
            tracing::warn!(%error, "what was left of exports was not looked for; tried again");
            return Ok(());
        }
    };
    for folder in folders {
        // What is not of this store may be of another one that shares the bucket.
        let Ok(id) = folder.parse::<Uuid>() else { continue };
        let Some(request) = service.store.request(id).await? else { continue };
        if request.status().is_end() {
            sweep_one(service, &request).await?;
        }
    }
    Ok(())
}

/// Removes what a request that has ended left beside its package, or instead of one.
///
/// # Errors
/// When the store does not answer.
pub async fn sweep_one(service: &Service, request: &Request) -> Result<(), ServiceError> {
    let place = service.store.package(request.id).await?.map(|package| package.place);
    // An attempt that begins after a retry meanwhile has a later epoch.
    tidy(&service.packages.objects, request.id, request.epoch + 1, place.as_deref()).await;
    Ok(())
}

/// Removes what an attempt at a package has stored that came to nothing, if the store answers soon.
pub async fn discard(objects: &Objects, id: Uuid, place: &str) {
    let removed = tokio::time::timeout(PATIENCE, objects.remove_all(place)).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(request = %id, "what an attempt at its package left behind is still there, and unreadable");
    }
}

/// Removes what attempts at a package before that epoch left behind, all but that place. What stays for now is
/// unreadable.
pub async fn tidy(objects: &Objects, id: Uuid, before: i64, place: Option<&str>) {
    let removed = async {
        for attempt in objects.folders(&id.to_string()).await? {
            let left = format!("{id}/{attempt}");
            let is_older = attempt.parse::<i64>().is_ok_and(|epoch| epoch < before);
            if is_older && place != Some(left.as_str()) {
                objects.remove_all(&left).await?;
            }
        }
        Ok::<_, ConnectorError>(())
    };
    if let Err(error) = removed.await {
        tracing::warn!(request = %id, %error, "what attempts at its package left behind is still there, and unreadable");
    }
}
