//! The audit log: whom a person is in it, and its export. Its verification: see [`verification`] and, of an export,
//! [`offline`]. Readings are told of: see [`super::audit_readings`].

pub mod offline;
mod sorter;
pub mod verification;

use futures::{StreamExt, stream, stream::BoxStream};

use crate::{
    domain::audit::exported::Exported,
    store::{EventFilter, Snapshot, Store, StoreError},
};

pub use verification::{Verification, verify};

/// All events that pass the filter, oldest first and with their places, chunk by chunk on one consistent state.
#[must_use]
pub fn export(store: &Store, filter: EventFilter) -> BoxStream<'static, Result<Vec<Exported>, StoreError>> {
    stream::try_unfold((store.clone(), None::<Snapshot>), move |(store, begun)| {
        let filter = filter.clone();
        async move {
            let mut snapshot = match begun {
                Some(snapshot) => snapshot,
                None => store.snapshot().await?,
            };
            let chunk = snapshot.next_exported(&filter).await?;
            if chunk.is_empty() {
                snapshot.close().await?;
                return Ok(None);
            }
            Ok(Some((chunk, (store, Some(snapshot)))))
        }
    })
    .boxed()
}
