//! Who waits for a change of a request. Changes that this process makes are told at once, with the request as it then
//! is; those of other processes are found by looking at the store now and then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::request::Request;

/// The last change that was told; none yet at the start.
type Told = Option<Arc<Request>>;

/// The requests that somebody waits for.
#[derive(Clone, Default)]
pub struct Watchers(Arc<Mutex<HashMap<Uuid, watch::Sender<Told>>>>);

/// One who waits; forgotten when dropped.
pub struct Watch {
    id: Uuid,
    told: watch::Receiver<Told>,
    watchers: Watchers,
}

impl Watchers {
    /// Starts to watch a request.
    #[must_use]
    pub fn watch(&self, id: Uuid) -> Watch {
        let told = self.lock().entry(id).or_default().subscribe();
        Watch { id, told, watchers: self.clone() }
    }

    /// This change of a request has been committed.
    pub fn changed(&self, request: &Request) {
        if let Some(sender) = self.lock().get(&request.id) {
            sender.send_replace(Some(Arc::new(request.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Ends with the next change after the last call: none is missed that was made since this watch began.
    pub async fn next_change(&mut self) -> Told {
        // The sender lives as long as this watch does.
        let _ = self.told.changed().await;
        self.told.borrow_and_update().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.watchers.lock();
        // Only this one is left, and a new one would have to take the same lock.
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() == 1) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_watcher_of_a_request_is_told_and_then_forgotten() {
        let watchers = Watchers::default();
        let (request, other) = (Request::sample(Uuid::from_u128(1)), Uuid::from_u128(2));
        let (mut first, mut second, mut third) =
            (watchers.watch(request.id), watchers.watch(request.id), watchers.watch(other));
        watchers.changed(&request);
        for told in [first.next_change().await, second.next_change().await] {
            assert_eq!(told.as_deref(), Some(&request));
        }
        assert!(futures::FutureExt::now_or_never(first.next_change()).is_none(), "told twice");
        assert!(futures::FutureExt::now_or_never(third.next_change()).is_none(), "told of another one");
        drop((first, third));
        assert_eq!(watchers.lock().len(), 1);
        drop(second);
        assert!(watchers.lock().is_empty());
    }
}
