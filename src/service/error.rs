//! What a use case answers when it cannot do what was asked; `http` gives each a code.

use uuid::Uuid;

use super::preview::PreviewError;
use crate::{
    domain::{
        compile::subject::SubjectFault,
        request::{InvalidState, Status},
    },
    store::StoreError,
};

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("not found")]
    NotFound,
    #[error("no plan of this name is registered")]
    UnknownPlan,
    /// A connection was down when the plan was loaded, and no version of it was ever compiled.
    #[error("the plan could not be compiled yet: one of its connections is down")]
    NeverCompiled,
    #[error(transparent)]
    Subject(#[from] SubjectFault),
    #[error("submitted_at lies in the future")]
    SubmittedInFuture,
    #[error("the idempotency key was used with another body")]
    IdempotencyKeyReused,
    /// `None` where the caller may not see the open request.
    #[error("an open request for this subject exists")]
    Duplicate(Option<Uuid>),
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// Its keys would be destroyed, and the rest could never be found again.
    #[error("what is left of it can no longer be found without its sealed keys, so it must be finished")]
    MustBeFinished(Status),
    #[error(transparent)]
    Preview(PreviewError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug or damaged data; the text is constant.
    #[error("{0}")]
    Internal(&'static str),
}

impl From<PreviewError> for ServiceError {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Subject(fault) => Self::Subject(fault),
            other => Self::Preview(other),
        }
    }
}
