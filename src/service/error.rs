//! What a use case answers when it cannot do what was asked; `http` gives each a code.

use uuid::Uuid;

use super::{certificates::NoCertificate, preview::PreviewError, retention::PolicyError};
use crate::{
    domain::{
        compile::subject::SubjectFault,
        hold::CannotEnd,
        rectification::ChangesFault,
        request::{InvalidState, Refusal, Status},
        run::CannotDecide,
    },
    store::StoreError,
};

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("not found")]
    NotFound,
    /// Its time is over.
    #[error("it was there, and is gone for good")]
    Gone,
    #[error("the plan hands out nothing under this right")]
    NothingToExport,
    #[error("no plan of this name is registered")]
    UnknownPlan,
    /// A connection was down when the plan was loaded, and no version of it was ever compiled.
    #[error("the plan could not be compiled yet: one of its connections is down")]
    NeverCompiled,
    #[error(transparent)]
    Subject(#[from] SubjectFault),
    /// Of a rectification.
    #[error(transparent)]
    Changes(#[from] ChangesFault),
    #[error("submitted_at lies in the future")]
    SubmittedInFuture,
    #[error("the idempotency key was used with another body")]
    IdempotencyKeyReused,
    /// `None` where the caller may not see the open request.
    #[error("an open request for this subject exists")]
    Duplicate(Option<Uuid>),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Times of an identity check that a submission came with.
    #[error(transparent)]
    IdentityCheck(Refusal),
    /// The approver has seen another version than the one that would be carried out.
    #[error(
        "the plan has changed since that preview, to {current}: look at a new one and approve what it shows"
    )]
    PlanChanged { current: String },
    #[error(
        "the subject, or what it asks for, does not fit the plan's current version: deny the request, or correct the plan"
    )]
    SubjectDoesNotFit,
    /// Its keys would be destroyed, and the rest could never be found again.
    #[error("what is left of it can no longer be found without its sealed keys, so it must be finished")]
    MustBeFinished(Status),
    /// Of a request that has ended.
    #[error(transparent)]
    NoCertificate(#[from] NoCertificate),
    #[error(transparent)]
    Hold(#[from] CannotEnd),
    #[error("a run of this task is not over: {0}")]
    DuplicateRun(Uuid),
    /// Of a run.
    #[error(transparent)]
    Run(#[from] CannotDecide),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("since lies in the future")]
    SinceInFuture,
    #[error("a hold cannot end before it begins")]
    ExpiresInPast,
    #[error("the plan has no step on this table")]
    UnknownTable,
    #[error(transparent)]
    Preview(PreviewError),
    #[error("a verification of this backup is under way")]
    BackupUnderWay,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug or damaged data; the text is constant.
    #[error("{0}")]
    Internal(&'static str),
}

impl From<InvalidState> for ServiceError {
    fn from(state: InvalidState) -> Self {
        Self::Refused(Refusal::State(state))
    }
}

impl From<PreviewError> for ServiceError {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Subject(fault) => Self::Subject(fault),
            other => Self::Preview(other),
        }
    }
}
