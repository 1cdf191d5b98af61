//! Whatever is paused for a connection goes on soon after that is back. A pause grows with each attempt, up to minutes,
//! and an outage ends in the middle of one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::sync::watch;

use super::Service;
use crate::store::StoreError;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long a connection has to answer.
const ASK: Duration = Duration::from_secs(2);

/// Looks until `stop` turns true. Several processes may do so: who comes second finds nothing paused any more.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    // Those that did not answer when they were last asked, and at first all: nobody knows how the last process left them.
    let mut silent: BTreeSet<String> = service.connectors.databases().map(|(name, _)| name.clone()).collect();
    while !*stop.borrow() {
        if let Err(error) = look(&service, &mut silent).await {
            tracing::debug!(%error, "it is not known what waits for which connection");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Asks each connection that something is paused for. Only one that was silent before ends a pause: where every attempt
/// fails although it answers, attempts must not follow each other at once.
async fn look(service: &Service, silent: &mut BTreeSet<String>) -> Result<(), StoreError> {
    let mut waited_for = Vec::new();
    for (name, database) in service.connectors.databases() {
        if service.store.is_waited_for(name).await? {
            waited_for.push((name, database));
        }
    }
    let asked = waited_for.into_iter().map(|(name, database)| async move {
        (name, tokio::time::timeout(ASK, database.answers()).await.unwrap_or(false))
    });
    for (name, answers) in join_all(asked).await {
        if !answers {
            silent.insert(name.clone());
        } else if silent.contains(name) {
            let ended = service.store.end_pauses(name).await?;
            silent.remove(name);
            tracing::info!(connection = %name, ended, "is back: what was paused for it goes on");
            service.wake.notify_one();
            service.runs_wake.notify_one();
        }
    }
    Ok(())
}
