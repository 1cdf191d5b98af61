//! The audit log: whom a person is in it, and its export. Its verification: see [`verification`] and, of an export,
//! [`offline`]. Readings are told of: see [`super::audit_readings`].

pub mod offline;
mod sorter;
pub mod verification;

use futures::{StreamExt, stream, stream::BoxStream};

use super::{
    Service,
    error::ServiceError,
    intake::{given_refs, registered},
};
use crate::{
    domain::{audit::exported::Exported, request::Subject},
    store::{EventFilter, Snapshot, Store, StoreError},
};

pub use verification::{Verification, verify};

/// The pseudonyms under which a person appears in the log.
///
/// # Errors
/// When the plan or the subject is not known.
pub fn pseudonyms(service: &Service, plan: &str, subject: &Subject) -> Result<Vec<String>, ServiceError> {
    let plan = registered(service, plan)?.compiled;
    let refs = given_refs(service, &plan, subject)?;
    Ok(refs.into_iter().map(|(_, pseudonym)| pseudonym).collect())
}

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
