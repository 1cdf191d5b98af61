//! Why an attempt ends before the request does, and what every error below asks for.

use crate::{
    connectors::{ConnectorError, ErrorKind},
    domain::{
        request::{RunCode, RunError},
        vault::Unopened,
    },
    store::StoreError,
};

/// The end of an attempt.
#[derive(Debug)]
pub enum Interrupt {
    /// Recorded in the request's `error`; its code says whether to wait, to retry or to give up.
    Trouble(RunError),
    /// The same, and the other side says how long it wants to be left alone.
    Later(RunError, std::time::Duration),
    /// Another claim has taken over: nothing more may be written.
    LeaseLost,
    /// The worker stops; the claim is given back.
    Stopping,
    /// A person asked for the end.
    Cancelled(String),
    /// A legal hold; the request waits for its end.
    Held(uuid::Uuid),
    /// Another request of the same person runs; the claim is given back.
    Busy,
    /// The store does not answer: nothing can be recorded, the lease runs out by itself.
    Store(StoreError),
}

impl Interrupt {
    /// Trouble with one connection, at one step if any.
    pub fn at(error: &ConnectorError, connection: &str, step: Option<&str>) -> Self {
        let code = match error.kind {
            ErrorKind::Unavailable => RunCode::ConnectionUnavailable,
            ErrorKind::LockTimeout | ErrorKind::Conflict => RunCode::LockTimeout,
            ErrorKind::SchemaChanged => RunCode::SchemaChanged,
            ErrorKind::ConstraintViolation | ErrorKind::CheckViolation => RunCode::ConstraintViolation,
            ErrorKind::InvalidValue => RunCode::InvalidChanges,
            ErrorKind::StatementTimeout | ErrorKind::UnfitValue | ErrorKind::Internal => RunCode::Internal,
        };
        Self::trouble(code, error.detail.clone(), Some(connection), step)
    }

    /// Trouble that is not looked at again before that time has passed.
    pub fn again_in(self, wait: std::time::Duration) -> Self {
        match self {
            Self::Trouble(error) => Self::Later(error, wait),
            other => other,
        }
    }

    pub fn is(&self, code: RunCode) -> bool {
        matches!(self, Self::Trouble(error) | Self::Later(error, _) if error.code == code)
    }

    pub fn trouble(
        code: RunCode,
        detail: impl Into<String>,
        connection: Option<&str>,
        step: Option<&str>,
    ) -> Self {
        Self::Trouble(RunError {
            code,
            detail: detail.into(),
            connection: connection.map(str::to_owned),
            step: step.map(str::to_owned),
            cause: None,
        })
    }
}

impl From<StoreError> for Interrupt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost => Self::LeaseLost,
            other => Self::Store(other),
        }
    }
}

impl From<Unopened> for Interrupt {
    fn from(error: Unopened) -> Self {
        Self::trouble(RunCode::Internal, format!("{error}: was the key changed?"), None, None)
    }
}

/// Exponential backoff with full jitter: a random part of `base` · 2^`failures`, at most `cap`.
pub fn backoff(base: std::time::Duration, failures: i32, cap: std::time::Duration) -> std::time::Duration {
    let exponent = u32::try_from(failures.clamp(0, 16)).unwrap_or(0);
    let longest = base.saturating_mul(2_u32.saturating_pow(exponent)).min(cap);
    longest.mul_f64(jitter())
}

/// A random part in (0, 1], from the operating system; the middle if it gives none.
pub fn jitter() -> f64 {
    let mut bytes = [0_u8; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => (f64::from(u32::from_le_bytes(bytes)) + 1.0) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
