//! Which problem each error of the service is.

use actix_web::http::header;
use serde_json::json;

use super::{
    body::pointer,
    problem::{Code, FieldError, Problem},
};
use crate::{
    domain::{
        compile::subject::{SubjectCode, SubjectError, SubjectFault},
        hold::CannotEnd,
        request::Refusal,
        run::CannotDecide,
    },
    service::{
        certificates::NoCertificate, error::ServiceError, preview::PreviewError, retention::PolicyError,
    },
    store::StoreError,
};

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => Self::not_found(),
            ServiceError::Gone => Self::new(
                Code::Gone,
                "The package has expired, or the link was used: submit a new export, or make a new link.",
            ),
            ServiceError::NothingToExport => Self::invalid(vec![FieldError::new(
                "/right",
                "the plan hands out nothing under it: list columns under `export`, or `portable`",
            )]),
            ServiceError::UnknownPlan => Self::faults(
                Code::UnknownPlan,
                vec![FieldError::new("/plan", "no plan of this name is registered")],
            ),
            ServiceError::NeverCompiled => {
                unavailable("The plan could not be compiled yet: a connection is down.")
            }
            ServiceError::Subject(fault) => subject(fault),
            ServiceError::Changes(fault) | ServiceError::Preview(PreviewError::Changes(fault)) => {
                Self::faults(Code::InvalidChanges, field_errors(fault.errors))
            }
            ServiceError::SubmittedInFuture => {
                Self::invalid(vec![FieldError::new("/submitted_at", "must not lie in the future")])
            }
            ServiceError::IdempotencyKeyReused => {
                Self::new(Code::IdempotencyKeyReused, "This Idempotency-Key was used with another body.")
            }
            ServiceError::Duplicate(request_id) => Self::new(
                Code::DuplicateRequest,
                "An open request of this kind and plan exists for this subject.",
            )
            .with("request_id", json!(request_id)),
            ServiceError::Refused(refusal) => refused(&refusal),
            ServiceError::IdentityCheck(refusal) => {
                Self::invalid(vec![FieldError::new("/identity_check", refusal.to_string())])
            }
            ServiceError::MustBeFinished(_)
            | ServiceError::PlanChanged { .. }
            | ServiceError::SubjectDoesNotFit => invalid_state(&error),
            ServiceError::NoCertificate(reason @ NoCertificate::NotYet) => {
                sentence(Code::Unavailable, &reason).header(header::RETRY_AFTER, "1")
            }
            ServiceError::NoCertificate(reason) => sentence(Code::NotFound, &reason),
            ServiceError::Hold(CannotEnd::OwnHold) => {
                Self::new(Code::Forbidden, "A hold is ended by somebody else than who placed it.")
            }
            ServiceError::Hold(CannotEnd::HasEnded) | ServiceError::BackupUnderWay => invalid_state(&error),
            ServiceError::DuplicateRun(run_id) => {
                Self::new(Code::DuplicateRun, "Another run of this task is not over.")
                    .with("run_id", json!(run_id))
            }
            ServiceError::Run(CannotDecide::OwnRun) => {
                Self::new(Code::Forbidden, "A run is decided by somebody else than who asked for it.")
            }
            ServiceError::Run(CannotDecide::State { .. }) => invalid_state(&error),
            ServiceError::Policy(PolicyError::Unavailable { name, .. }) => {
                unavailable(&format!("Connection {name} cannot be asked at the moment."))
            }
            ServiceError::Policy(error) => Self::new(Code::PolicyRefused, error.to_string()),
            ServiceError::SinceInFuture => {
                Self::invalid(vec![FieldError::new("/since", "must not lie in the future")])
            }
            ServiceError::ExpiresInPast => {
                Self::invalid(vec![FieldError::new("/expires_at", "must lie in the future")])
            }
            ServiceError::UnknownTable => Self::invalid(vec![FieldError::new(
                "/table",
                "the plan has no step on this table: write it as its steps do, such as shop.orders",
            )]),
            ServiceError::Preview(PreviewError::Connection { connection, .. }) => {
                unavailable(&format!("Connection {connection} cannot be asked at the moment."))
            }
            ServiceError::Preview(PreviewError::Subject(fault)) => subject(fault),
            ServiceError::Store(StoreError::Internal(cause)) => Self::internal(cause),
            ServiceError::Store(cause) => {
                tracing::warn!(%cause, "the store could not be asked");
                unavailable("The service's own store does not answer at the moment.")
            }
            ServiceError::Internal(cause) => Self::internal(cause),
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::OwnRequest => {
            Problem::new(Code::Forbidden, "A request is decided by somebody else than who submitted it.")
        }
        Refusal::IdentitiesDestroyed => sentence(Code::IdentitiesDestroyed, refusal),
        Refusal::NoSuchStep => Problem::not_found(),
        Refusal::InFuture(name) | Refusal::BeforeReceipt(name) => {
            Problem::invalid(vec![FieldError::new(pointer(name), refusal.to_string())])
        }
        Refusal::ConfirmedBeforeAsked => {
            Problem::invalid(vec![FieldError::new("/confirmed_at", refusal.to_string())])
        }
        _ => invalid_state(refusal),
    }
}

fn invalid_state(reason: &impl std::fmt::Display) -> Problem {
    sentence(Code::InvalidState, reason)
}

fn sentence(code: Code, reason: &impl std::fmt::Display) -> Problem {
    let mut detail = reason.to_string();
    if let Some(first) = detail.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Problem::new(code, format!("{detail}."))
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(Code::Unavailable, detail).header(header::RETRY_AFTER, "5")
}

fn subject(fault: SubjectFault) -> Problem {
    let code = match fault.code {
        SubjectCode::UnknownIdentity => Code::UnknownIdentity,
        SubjectCode::InvalidIdentity => Code::InvalidIdentity,
    };
    Problem::faults(code, field_errors(fault.errors))
}

fn field_errors(errors: Vec<SubjectError>) -> Vec<FieldError> {
    errors.into_iter().map(|error| FieldError::new(error.pointer, error.detail)).collect()
}
