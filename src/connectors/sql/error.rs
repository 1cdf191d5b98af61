//! What a database said, sorted by what to do about it. Messages never leave this file: drivers quote values.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error};

use super::dialect::Dialect;
use crate::connectors::{ConnectorError, ErrorKind};

pub(super) fn unavailable(detail: impl Into<String>) -> ConnectorError {
    ConnectorError { kind: ErrorKind::Unavailable, detail: detail.into() }
}

/// A connection that could not be made.
pub(super) fn of_connecting(error: &ConnectionError) -> ConnectorError {
    let detail = match error {
        ConnectionError::CouldntSetupConfiguration(_) => "the session could not be set up",
        _ => "cannot connect",
    };
    unavailable(detail)
}

/// `state`: PostgreSQL's SQLSTATE of this error, read off the wire.
pub(super) fn of(error: &Error, dialect: Dialect, state: Option<&str>) -> ConnectorError {
    let (kind, detail) = match error {
        Error::DatabaseError(kind, information) => {
            let message = information.message();
            let place = [information.constraint_name(), information.table_name()]
                .into_iter()
                .flatten()
                .map(|name| format!(" ({name})"))
                .collect::<String>();
            let sorted = match dialect {
                Dialect::Postgres => postgres(state),
                Dialect::MySql => mysql(message),
                Dialect::Sqlite => sqlite(message),
            };
            let kind_told = sorted.unwrap_or_else(|| diesel_kind(kind));
            let told = match state {
                Some(state) => format!("{}{place}, SQLSTATE {state}", kind_told.1),
                None => format!("{}{place}", kind_told.1),
            };
            (kind_told.0, told)
        }
        Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. } => {
            (ErrorKind::Unavailable, "the session was lost".to_owned())
        }
        Error::DeserializationError(_) | Error::SerializationError(_) => {
            (ErrorKind::Internal, "a value could not be converted".to_owned())
        }
        _ => (ErrorKind::Internal, "the statement could not be carried out".to_owned()),
    };
    ConnectorError { kind, detail }
}

type Sorted = (ErrorKind, &'static str);

const LOST: Sorted = (ErrorKind::Unavailable, "the session was lost");
const NO_ROOM: Sorted = (ErrorKind::Unavailable, "the server's disk or memory is full");
const READ_ONLY: Sorted = (ErrorKind::Unavailable, "the server can only be read at the moment");
const LOCKED: Sorted = (ErrorKind::LockTimeout, "a lock was not granted in time");
const CONFLICT: Sorted = (ErrorKind::Conflict, "a deadlock or serialization failure");
const SLOW: Sorted = (ErrorKind::StatementTimeout, "the statement took longer than it may");
const CHANGED: Sorted = (ErrorKind::SchemaChanged, "a table, column, type or right is not what it was");
const CONSTRAINT: Sorted = (ErrorKind::ConstraintViolation, "a constraint refused it");
const CHECK: Sorted = (ErrorKind::CheckViolation, "a CHECK constraint refused it");
const UNFIT: Sorted = (ErrorKind::UnfitValue, "a value does not fit its column");
const OTHER: Sorted = (ErrorKind::Internal, "the database refused the statement");

/// PostgreSQL documentation, appendix A.
fn postgres(state: Option<&str>) -> Option<Sorted> {
    let state = state?;
    Some(match state {
        "55P03" => LOCKED,
        "40001" | "40P01" => CONFLICT,
        "57014" => SLOW,
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => LOST,
        // A server that was the primary one and is none any more.
        "25006" => READ_ONLY,
        _ if state.starts_with("53") => NO_ROOM,
        // A syntax error is nobody's change of the schema.
        "42601" => OTHER,
        // Insufficient privilege, undefined or ambiguous objects, wrong types.
        _ if state.starts_with("42") => CHANGED,
        "23514" => CHECK,
        _ if state.starts_with("23") => CONSTRAINT,
        // Data exceptions, and values beyond the limits of an index.
        _ if state.starts_with("22") || state == "54000" => UNFIT,
        _ if state.starts_with("08") || state.starts_with("28") || state.starts_with("3D") => LOST,
        _ => OTHER,
    })
}

/// diesel hides MySQL's error number; its texts are fixed per message and begin alike in every version. The server
/// is asked to speak English (`lc_messages`).
fn mysql(message: &str) -> Option<Sorted> {
    const TEXTS: [(&str, Sorted); 30] = [
        ("Lock wait timeout exceeded", LOCKED),
        ("Statement aborted because lock(s) could not be acquired", LOCKED),
        ("Deadlock found", CONFLICT),
        ("Record has changed since last read", CONFLICT),
        ("Query execution was interrupted", SLOW),
        ("Server shutdown in progress", LOST),
        ("Lost connection", LOST),
        ("Connection was killed", LOST),
        ("Too many connections", LOST),
        ("Disk full", NO_ROOM),
        ("No space left on device", NO_ROOM),
        ("' is full", NO_ROOM),
        ("read-only option", READ_ONLY),
        ("Unknown column", CHANGED),
        ("Unknown table", CHANGED),
        ("denied to user", CHANGED),
        ("command denied", CHANGED),
        ("doesn't exist", CHANGED),
        ("a foreign key constraint fails", CONSTRAINT),
        ("Duplicate entry", CONSTRAINT),
        ("cannot be null", CONSTRAINT),
        ("doesn't have a default value", CONSTRAINT),
        ("Data too long", UNFIT),
        ("CONSTRAINT", CHECK),
        ("Check constraint", CHECK),
        ("Out of range value", UNFIT),
        ("Data truncated", UNFIT),
        ("Cannot get geometry object", UNFIT),
        ("Input/output error", LOST),
        ("connection closed", LOST),
    ];
    if message.contains("Incorrect ") && message.contains(" value") {
        return Some(UNFIT);
    }
    TEXTS.iter().find(|(text, _)| message.contains(text)).map(|(_, sorted)| *sorted)
}

/// MySQL's error 1193, and none but that: see [`mysql`].
pub(super) fn is_unknown_variable(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, information)
        if information.message().starts_with("Unknown system variable"))
}

fn sqlite(message: &str) -> Option<Sorted> {
    const TEXTS: [(&str, Sorted); 16] = [
        ("database is locked", LOCKED),
        ("database table is locked", LOCKED),
        ("interrupted", SLOW),
        ("no such table", CHANGED),
        ("no such column", CHANGED),
        ("no such function", CHANGED),
        ("has no column named", CHANGED),
        ("database schema has changed", CHANGED),
        ("CHECK constraint failed", CHECK),
        ("constraint failed", CONSTRAINT),
        // Into a column of a STRICT table.
        ("cannot store", UNFIT),
        ("unable to open database file", LOST),
        ("disk I/O error", LOST),
        ("database or disk is full", NO_ROOM),
        ("attempt to write a readonly database", CHANGED),
        ("foreign key mismatch", CHANGED),
    ];
    TEXTS.iter().find(|(text, _)| message.contains(text)).map(|(_, sorted)| *sorted)
}

fn diesel_kind(kind: &DatabaseErrorKind) -> Sorted {
    match kind {
        DatabaseErrorKind::UniqueViolation
        | DatabaseErrorKind::ForeignKeyViolation
        | DatabaseErrorKind::NotNullViolation
        | DatabaseErrorKind::RestrictViolation
        | DatabaseErrorKind::ExclusionViolation => CONSTRAINT,
        DatabaseErrorKind::CheckViolation => CHECK,
        DatabaseErrorKind::SerializationFailure => CONFLICT,
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => LOST,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(dialect: Dialect, message: &str, state: Option<&str>) -> ErrorKind {
        let error = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()));
        of(&error, dialect, state).kind
    }

    /// Such a server is waited for: no attempt is used up.
    #[test]
    fn a_server_without_room_or_without_a_right_to_write_is_not_there() {
        for state in ["53100", "53200", "53300", "25006", "57P01"] {
            assert_eq!(kind(Dialect::Postgres, "", Some(state)), ErrorKind::Unavailable, "{state}");
        }
        for message in [
            "The table 'visits' is full",
            "Got error 28 \"No space left on device\" from storage engine InnoDB",
            "The MariaDB server is running with the --read-only option so it cannot execute this statement",
        ] {
            assert_eq!(kind(Dialect::MySql, message, None), ErrorKind::Unavailable, "{message}");
        }
        assert_eq!(kind(Dialect::Sqlite, "database or disk is full", None), ErrorKind::Unavailable);
        assert_eq!(kind(Dialect::Postgres, "", Some("XX000")), ErrorKind::Internal);
    }
}
