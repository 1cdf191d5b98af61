//! Evidence for people who need not trust whoever owns the database: the sequencer of the Merkle log and its signed
//! checkpoints. Where they are published: see [`publish`].

pub mod publish;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use super::Service;
use crate::{
    domain::checkpoint::Signer,
    points::{self, Point},
    store::{Checkpoint, StoreError, Tx},
};
use publish::Sink;

/// How often is looked for events without a place: with the pause between checkpoints less than a second in all.
const LOOK: Duration = Duration::from_millis(250);
/// Events that are given their place in one transaction.
const BATCH: usize = 500;
/// Between two checkpoints at least, so that a busy service does not sign one for every batch.
const PAUSE: TimeDelta = TimeDelta::milliseconds(500);
/// An old checkpoint is signed anew by then also when nothing has happened.
const IDLE: TimeDelta = TimeDelta::minutes(1);

/// Who signs, and where that is published.
#[derive(Default)]
pub struct Evidence {
    /// Without one the log is kept all the same, and nothing is signed.
    pub signer: Option<Signer>,
    pub sinks: Vec<Sink>,
}

/// Sequences, signs and publishes from now on, until `stop` turns true. Several processes may do so: one of them at a
/// time is the sequencer, and one at a time publishes to a place.
pub async fn run(service: Arc<Service>, stop: watch::Receiver<bool>) {
    let publishing = service.evidence.sinks.iter().map(|sink| publish::run(&service, sink, stop.clone()));
    let publishing = futures::future::join_all(publishing);
    futures::join!(run_sequencer(&service, stop.clone()), publishing);
}

async fn run_sequencer(service: &Service, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match sequence(service).await {
            // There may be more. After fewer it rests, so that it does not come between the writers all the time.
            Ok(events) if events >= BATCH => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "events could not be added to the log; tried again"),
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Gives some of the events that wait for it their place in the log, and signs a checkpoint where one is due; how many
/// events it were. Does nothing where another process is at it.
///
/// # Errors
/// When the store does not answer.
pub async fn sequence(service: &Service) -> Result<usize, StoreError> {
    let state = service.store.log_state().await?;
    if !state.is_behind && !is_due(service, state.size).await? {
        return Ok(0);
    }
    let mut tx = service.store.begin().await?;
    match take_turn(service, &mut tx).await {
        Ok(events) => {
            tx.commit().await?;
            points::reached(Point::CheckpointSigned);
            Ok(events)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

async fn is_due(service: &Service, size: u64) -> Result<bool, StoreError> {
    if service.evidence.signer.is_none() {
        return Ok(false);
    }
    let newest = service.store.newest_checkpoint().await?;
    Ok(is_older(newest.as_ref(), size, service.clock.now()))
}

async fn take_turn(service: &Service, tx: &mut Tx) -> Result<usize, StoreError> {
    if !tx.lock_log().await? {
        return Ok(0);
    }
    let sequenced = tx.sequence(BATCH).await?;
    let Some(signer) = &service.evidence.signer else { return Ok(sequenced.events) };
    let (size, now) = (sequenced.edge.size(), service.clock.now());
    let newest = tx.newest_checkpoint().await?;
    if is_older(newest.as_ref(), size, now) {
        let checkpoint = Checkpoint {
            number: newest.as_ref().map_or(1, |newest| newest.number + 1),
            size,
            signed_at: newest.map_or(now, |newest| newest.signed_at.max(now)),
            note: signer.sign(size, &sequenced.edge.root()),
        };
        tx.add_checkpoint(&checkpoint).await?;
        service.metrics.checkpoints_signed.inc();
        tracing::debug!(number = checkpoint.number, size, "a checkpoint was signed");
    }
    Ok(sequenced.events)
}

/// True where the newest checkpoint is to be followed by another one. Clocks of several processes may differ either way.
fn is_older(newest: Option<&Checkpoint>, size: u64, now: DateTime<Utc>) -> bool {
    newest.is_none_or(|newest| {
        let age = (now - newest.signed_at).abs();
        age >= IDLE || (size > newest.size && age >= PAUSE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_with_new_entries_and_every_minute() {
        let now = DateTime::from_timestamp_secs(1_790_000_000).unwrap();
        let of = |size, age| {
            let signed_at = now - TimeDelta::milliseconds(age);
            Checkpoint { number: 1, size, signed_at, note: String::new() }
        };
        assert!(is_older(None, 0, now));
        for (size, age, expected) in [
            (6, 100, false),
            (6, 500, true),
            (6, -500, true),
            (7, 500, false),
            (7, 59_999, false),
            (7, 60_000, true),
        ] {
            assert_eq!(is_older(Some(&of(size, age)), 7, now), expected, "{size} {age}");
        }
    }
}
