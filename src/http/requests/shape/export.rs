//! How an export and its package look from outside.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::audit::timestamp,
    service::readings::{Reader, Reading},
};

/// How an export is made, and its package.
#[derive(Serialize, ToSchema)]
pub struct ExportBody {
    /// `json` or `csv`; null for auditors.
    format: Option<&'static str>,
    /// `access` or `portability`; null for auditors.
    right: Option<&'static str>,
    /// Null until the request is completed, and where nothing of the person was found.
    package: Option<PackageBody>,
}

/// A package, for `GET …/export`.
#[derive(Serialize, ToSchema)]
struct PackageBody {
    /// In bytes.
    size: u64,
    /// Hex, over the package as it is handed out.
    sha256: String,
    /// To a recipient's key: the package is an age file.
    encrypted: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    expired: bool,
}

/// Asks for a link that hands a package out once, without a token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct LinkRequest {
    /// At most, and by default, `1h`.
    #[schema(example = "15m")]
    ttl: Option<String>,
}

/// A link that hands a package out once.
#[derive(Serialize, ToSchema)]
pub struct LinkBody {
    /// Relative to this service.
    #[schema(example = "/exports/…")]
    pub url: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// The export of a reading, as this reader may see it.
pub(super) fn of(reading: &Reading, reader: &Reader, now: DateTime<Utc>) -> ExportBody {
    let confidential = reading.confidential.as_ref().filter(|_| reader.sees_identities(&reading.request));
    let options = confidential.and_then(|confidential| confidential.export.as_ref());
    ExportBody {
        format: options.map(|options| options.format.as_str()),
        right: options.map(|options| options.right.as_str()),
        package: reading.package.as_ref().map(|package| PackageBody {
            size: package.size,
            sha256: package.sha256.clone(),
            encrypted: package.encrypted,
            created_at: timestamp(package.created_at),
            expires_at: timestamp(package.expires_at),
            expired: !package.is_available(now),
        }),
    }
}
