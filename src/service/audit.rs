//! Readings of the audit log: by filter, by person, and its verification.

use futures::stream::BoxStream;

use super::{Service, error::ServiceError};
use crate::{
    domain::audit::{
        Event,
        verify::{Broken, OwnerHead, Verified, Verifier},
    },
    store::{EventFilter, EventOrder, EventPage, Snapshot, Store, StoreError},
};

/// What a walk over the whole log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Intact(Verified),
    /// The first broken place; what follows was not looked at.
    Broken(Broken),
}

/// A page of events, newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    service: &Service,
    filter: &EventFilter,
    page: &EventPage,
) -> Result<Vec<Event>, ServiceError> {
    Ok(service.store.events(filter, page).await?)
}

/// All events that pass the filter, oldest first, chunk by chunk on one consistent state.
#[must_use]
pub fn export(store: &Store, filter: EventFilter) -> BoxStream<'static, Result<Vec<Event>, StoreError>> {
    store.stream_events(filter, EventOrder::Oldest)
}

/// Walks every stream's chain, in constant memory, also in a mere copy of the store.
///
/// # Errors
/// When the store does not answer; a broken chain is an answer.
pub async fn verify(store: &Store) -> Result<Verification, StoreError> {
    let mut snapshot = store.snapshot().await?;
    let mut walk = Walk { verifier: Verifier::default(), heads: Heads::default() };
    let verdict = walk.through(&mut snapshot).await?;
    snapshot.close().await?;
    Ok(match verdict {
        Ok(()) => Verification::Intact(walk.verifier.finish()),
        Err(broken) => Verification::Broken(broken),
    })
}

struct Walk {
    verifier: Verifier,
    heads: Heads,
}

impl Walk {
    async fn through(&mut self, log: &mut Snapshot) -> Result<Result<(), Broken>, StoreError> {
        let everything = EventFilter::default();
        loop {
            let events = log.next_events(&everything, EventOrder::Chain).await?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                if self.verifier.stream().is_some_and(|stream| stream != event.stream)
                    && let Err(broken) = self.close(log).await?
                {
                    return Ok(Err(broken));
                }
                if let Err(broken) = self.verifier.event(event) {
                    return Ok(Err(broken));
                }
            }
        }
        if let Err(broken) = self.close(log).await? {
            return Ok(Err(broken));
        }
        while let Some(owner) = self.heads.next(log).await? {
            if let Err(broken) = self.verifier.empty(&owner) {
                return Ok(Err(broken));
            }
        }
        Ok(Ok(()))
    }

    /// Compares the stream that has ended with its owner's head; owners before it hold streams without events.
    async fn close(&mut self, log: &mut Snapshot) -> Result<Result<(), Broken>, StoreError> {
        let Some(stream) = self.verifier.stream().map(str::to_owned) else { return Ok(Ok(())) };
        while let Some(owner) = self.heads.next(log).await? {
            if owner.stream == stream {
                return Ok(self.verifier.close(Some(&owner)));
            }
            if owner.stream > stream {
                self.heads.put_back(owner);
                break;
            }
            if let Err(broken) = self.verifier.empty(&owner) {
                return Ok(Err(broken));
            }
        }
        Ok(self.verifier.close(None))
    }
}

/// The owners' heads one by one.
#[derive(Default)]
struct Heads {
    chunk: std::collections::VecDeque<OwnerHead>,
    ended: bool,
}

impl Heads {
    async fn next(&mut self, log: &mut Snapshot) -> Result<Option<OwnerHead>, StoreError> {
        if self.chunk.is_empty() && !self.ended {
            let heads = log.next_heads().await?;
            self.ended = heads.is_empty();
            self.chunk
                .extend(heads.into_iter().map(|head| OwnerHead { stream: head.stream, head: head.head }));
        }
        Ok(self.chunk.pop_front())
    }

    fn put_back(&mut self, head: OwnerHead) {
        self.chunk.push_front(head);
    }
}
