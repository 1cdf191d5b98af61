//! Copies of the newest checkpoint outside of the database. A place that cannot be reached is tried again, and neither
//! the sequencer nor another place waits for it. A place is never set back: where it tells of more entries than the log
//! has, the database was.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::watch;

use super::Service;
use crate::{
    connectors::{files, objects::Objects},
    domain::{audit::timestamp, checkpoint::size_of},
    points::{self, Point},
    store::{Checkpoint, Publication, StoreError},
};

/// How often is looked for a newer checkpoint.
const LOOK: Duration = Duration::from_millis(250);
/// How long an attempt may take; less than it belongs to its process.
const ATTEMPT: Duration = Duration::from_secs(30);
/// The longest pause after failures, which doubles from a second on.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(1);
/// The newest checkpoint among the objects of a store; each that was published lies beside it, by its size.
const NEWEST: &str = "checkpoint";

/// A place outside of the database.
#[derive(Clone)]
pub struct Sink {
    /// Distinct, and the same in all processes: `file:PATH`, `store:PLACE` or `webhook:NAME`.
    pub name: String,
    pub place: Place,
}

#[derive(Clone)]
pub enum Place {
    /// Holds the newest checkpoint.
    File(PathBuf),
    Objects(Objects),
    /// One of the configured webhooks.
    Webhook(String),
}

/// Publishes to one place from now on, until `stop` turns true.
pub(super) async fn run(service: &Service, sink: &Sink, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let mut stopped = stop.clone();
        // A place that does not answer keeps nobody from stopping: the attempt is made again.
        let published = tokio::select! {
            published = publish(service, sink) => published,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = published {
            tracing::warn!(sink = sink.name, %error, "no checkpoint could be taken to be published");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Makes one attempt to publish the newest checkpoint there, if it is not there yet; `true` if it is due to this attempt.
///
/// # Errors
/// When the store does not answer. What goes wrong at the place itself is written down, and tried again.
pub async fn publish(service: &Service, sink: &Sink) -> Result<bool, StoreError> {
    if !service.store.is_publication_due(&sink.name).await? {
        return Ok(false);
    }
    let mut tx = service.store.begin().await?;
    let taken = tx.take_publication(&sink.name).await?;
    tx.commit().await?;
    let Some(taken) = taken else { return Ok(false) };
    points::reached(Point::CheckpointTaken);
    let attempt = tokio::time::timeout(ATTEMPT, put(service, sink, &taken.checkpoint)).await;
    let result = attempt.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
    let published = result.is_ok();
    points::reached(Point::CheckpointPut);
    settle(service, sink, &taken, result).await?;
    points::reached(Point::CheckpointPublished);
    Ok(published)
}

async fn settle(
    service: &Service,
    sink: &Sink,
    taken: &Publication,
    result: Result<(), String>,
) -> Result<(), StoreError> {
    let Checkpoint { number, size, .. } = taken.checkpoint;
    let outcome = match result {
        Ok(()) => {
            service.metrics.checkpoints_published.inc();
            if taken.failures > 0 {
                tracing::info!(sink = sink.name, number, size, "checkpoints are published again");
            } else {
                tracing::debug!(sink = sink.name, number, size, "a checkpoint was published");
            }
            Ok(())
        }
        Err(why) => {
            service.metrics.checkpoints_failed.inc();
            tracing::warn!(
                sink = sink.name,
                number,
                size,
                why,
                "a checkpoint was not published; tried again"
            );
            let pause = TimeDelta::seconds(1 << taken.failures.clamp(0, 6)).min(LONGEST_PAUSE);
            Err((why, service.clock.now() + pause))
        }
    };
    let mut tx = service.store.begin().await?;
    tx.settle_publication(taken, outcome).await?;
    tx.commit().await
}

async fn put(service: &Service, sink: &Sink, checkpoint: &Checkpoint) -> Result<(), String> {
    match &sink.place {
        Place::File(path) => {
            let present = files::read(path).await?;
            require_no_later(service, present.as_deref(), checkpoint)?;
            files::replace(path, checkpoint.note.as_bytes()).await
        }
        Place::Objects(objects) => {
            let text = |error: crate::connectors::ConnectorError| error.to_string();
            let present = objects.get(NEWEST).await.map_err(text)?;
            require_no_later(service, present.as_deref(), checkpoint)?;
            let own = format!("{NEWEST}s/{:020}", checkpoint.size);
            objects.put(&own, checkpoint.note.clone().into_bytes()).await.map_err(text)?;
            objects.put(NEWEST, checkpoint.note.clone().into_bytes()).await.map_err(text)
        }
        Place::Webhook(name) => tell(service, name, checkpoint).await,
    }
}

/// Refuses to write over a checkpoint of the same log with more entries.
fn require_no_later(
    service: &Service,
    present: Option<&[u8]>,
    checkpoint: &Checkpoint,
) -> Result<(), String> {
    let origin = service.evidence.signer.as_ref().map(|signer| signer.origin.as_str());
    let present = present.and_then(|bytes| std::str::from_utf8(bytes).ok());
    match present.zip(origin).and_then(|(present, origin)| size_of(present, origin)) {
        Some(size) if size > checkpoint.size => Err(format!(
            "it tells of {size} entries, and the log has {}: was the store set back?",
            checkpoint.size
        )),
        _ => Ok(()),
    }
}

async fn tell(service: &Service, name: &str, checkpoint: &Checkpoint) -> Result<(), String> {
    let webhooks = &service.webhooks;
    let endpoint = webhooks.endpoints.get(name).ok_or("the configuration has no webhook of this name")?;
    let signed_at = timestamp(checkpoint.signed_at);
    let body = json!({
        "type": "checkpoint.signed",
        "timestamp": signed_at,
        "data": { "number": checkpoint.number, "size": checkpoint.size, "checkpoint": checkpoint.note },
    })
    .to_string();
    // A number for each, so that a receiver that has seen one knows it again.
    let id = uuid::Uuid::from_u128(checkpoint.number.into());
    let now = service.clock.now();
    let headers = [
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", now.timestamp().to_string()),
        ("webhook-signature", endpoint.key.sign(id, now, &body)),
    ];
    match webhooks.client.post(&endpoint.url, &headers, body).await {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err(format!("status {status}")),
        Err(error) => Err(error.to_string()),
    }
}
