//! What can go wrong in the store, sorted by what the caller does about it.

use diesel::result::{DatabaseErrorKind, Error};

/// No text of these quotes a value: driver messages are mapped, never passed on, because drivers quote rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Cannot be reached, or the session was lost; a commit may or may not have happened.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Another claim has raised the epoch: stop working on this request.
    #[error("the lease on this request was lost")]
    LeaseLost,
    /// A lock was not granted in time, or two transactions collided; trying again is safe.
    #[error("the store is busy")]
    Busy,
    /// The schema is missing or older than this program.
    #[error("{0}")]
    NotMigrated(String),
    #[error("the store failed: {0}")]
    Internal(String),
}

impl StoreError {
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }
}

/// SQLite's own texts (sqlite3_errstr), which name no value, and what they ask for.
const SQLITE_BUSY: [&str; 3] =
    ["database is locked", "database table is locked", "database schema is locked"];
const SQLITE_UNAVAILABLE: [&str; 6] = [
    "unable to open database file",
    "disk I/O error",
    "database or disk is full",
    "attempt to write a readonly database",
    "file is not a database",
    "database disk image is malformed",
];
/// PostgreSQL's texts for what diesel sorts under `Unknown` (40P01, 55P03, 57P01 to 57P03, 25P03).
const POSTGRES_BUSY: [&str; 2] = ["deadlock detected", "canceling statement due to lock timeout"];
const POSTGRES_UNAVAILABLE: [&str; 4] = [
    "terminating connection due to administrator command",
    "terminating connection due to idle-in-transaction timeout",
    "the database system is shutting down",
    "the database system is starting up",
];

/// What its texts of class 53 end with, whatever stands before it names.
const DISK_FULL: &str = "No space left on device";

const NO_SCHEMA: &str = "the store's tables are missing: run `rightful migrate`";

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Error::DatabaseError(kind, info) = error else {
            return Self::Internal(match error {
                Error::DeserializationError(_) => "a column holds what this program cannot read".to_owned(),
                Error::SerializationError(_) => "a value does not fit its column".to_owned(),
                Error::NotFound => "a row that must exist is missing".to_owned(),
                _ => "a statement could not be built".to_owned(),
            });
        };
        let message = info.message();
        let known = |texts: &[&'static str]| texts.iter().find(|text| message.starts_with(**text)).copied();
        match kind {
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                Self::Unavailable("the connection was lost".to_owned())
            }
            DatabaseErrorKind::SerializationFailure => Self::Busy,
            // The server that used to be the primary one is none any more.
            DatabaseErrorKind::ReadOnlyTransaction => {
                Self::Unavailable("the server is open for reading only".to_owned())
            }
            _ if message.ends_with(DISK_FULL) => Self::Unavailable("the server's disk is full".to_owned()),
            _ if known(&SQLITE_BUSY).or_else(|| known(&POSTGRES_BUSY)).is_some() => Self::Busy,
            _ if is_schema_missing(message) => Self::NotMigrated(NO_SCHEMA.to_owned()),
            _ => match known(&SQLITE_UNAVAILABLE).or_else(|| known(&POSTGRES_UNAVAILABLE)) {
                Some(text) => Self::Unavailable(text.to_owned()),
                None => Self::Internal(refusal(kind, info.table_name(), info.constraint_name())),
            },
        }
    }
}

/// SQLite's text, and PostgreSQL's for 42P01.
fn is_schema_missing(message: &str) -> bool {
    message.starts_with("no such table")
        || (message.starts_with("relation ") && message.ends_with("does not exist"))
}

/// Names of the schema are safe to show; everything else in a driver's error is not.
fn refusal(kind: DatabaseErrorKind, table: Option<&str>, constraint: Option<&str>) -> String {
    let what = match kind {
        DatabaseErrorKind::UniqueViolation => "a row exists already",
        DatabaseErrorKind::ForeignKeyViolation => "a referenced row is missing",
        DatabaseErrorKind::NotNullViolation => "a column must not be NULL",
        DatabaseErrorKind::CheckViolation => "a rule of the schema was violated",
        _ => "a statement was refused",
    };
    let mut text = what.to_owned();
    if let Some(table) = table {
        text.push_str(&format!(" (table {table})"));
    }
    if let Some(constraint) = constraint {
        text.push_str(&format!(" (constraint {constraint})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What callers are told to come again for, and what is a fault.
    #[test]
    fn a_store_without_room_or_without_a_right_to_write_is_not_available() {
        let of =
            |kind, message: &str| StoreError::from(Error::DatabaseError(kind, Box::new(message.to_owned())));
        for (kind, message) in [
            (DatabaseErrorKind::Unknown, "could not extend file \"base/1/2\": No space left on device"),
            (DatabaseErrorKind::Unknown, "terminating connection due to idle-in-transaction timeout"),
            (DatabaseErrorKind::Unknown, "database or disk is full"),
            (DatabaseErrorKind::ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction"),
        ] {
            let error = of(kind, message);
            assert!(matches!(error, StoreError::Unavailable(_)), "{message}: {error:?}");
        }
        assert!(matches!(of(DatabaseErrorKind::Unknown, "invalid memory alloc"), StoreError::Internal(_)));
    }
}
