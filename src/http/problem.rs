//! Errors as the outside sees them: `application/problem+json` (RFC 9457), one line per code.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// In front of every code, for `type`. It names the problem and need not resolve.
const TYPE_PREFIX: &str = "https://rightful.dev/problems/";

macro_rules! codes {
    ($($name:ident = $status:ident $code:literal $title:literal;)*) => {
        /// Everything that can be wrong with a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($name,)* }

        impl Code {
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidBody = UNPROCESSABLE_ENTITY "invalid_body" "The request is not valid";
    UnknownPlan = UNPROCESSABLE_ENTITY "unknown_plan" "No such plan is registered";
    UnknownIdentity = UNPROCESSABLE_ENTITY "unknown_identity" "The plan does not know this identity";
    InvalidIdentity = UNPROCESSABLE_ENTITY "invalid_identity" "The value does not fit the identity's column";
    InvalidChanges = UNPROCESSABLE_ENTITY "invalid_changes" "The plan or a column does not allow these changes";
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" "The key was used with another body";
    Unauthenticated = UNAUTHORIZED "unauthenticated" "A valid bearer token is needed";
    Forbidden = FORBIDDEN "forbidden" "The token's roles do not allow this";
    NotFound = NOT_FOUND "not_found" "There is nothing here";
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "This method is not offered here";
    DuplicateRequest = CONFLICT "duplicate_request" "An open request for this subject exists";
    DuplicateRun = CONFLICT "duplicate_run" "Another run of this task is not over";
    PolicyRefused = CONFLICT "policy_refused" "The retention policy cannot be carried out";
    InvalidState = CONFLICT "invalid_state" "The request's state does not allow this";
    IdentitiesDestroyed = CONFLICT "identities_destroyed" "Nobody knows any more whom the request is about";
    Gone = GONE "gone" "It was there, and is gone for good";
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE "range_not_satisfiable" "The range lies outside";
    PayloadTooLarge = PAYLOAD_TOO_LARGE "payload_too_large" "The body is too large";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body must be application/json";
    RateLimited = TOO_MANY_REQUESTS "rate_limited" "Too many calls";
    Internal = INTERNAL_SERVER_ERROR "internal" "Something went wrong on our side";
    Unavailable = SERVICE_UNAVAILABLE "unavailable" "Not available at the moment";
}

/// One fault of a body or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; for a query parameter or header a slash and its name.
    #[schema(example = "/subject/email")]
    pub pointer: String,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// An answer other than the one hoped for. Never holds what a database or a key said.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), extensions: Map::new(), headers: Vec::new() }
    }

    /// Faults of a body or query, all at once.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::faults(Code::InvalidBody, errors)
    }

    /// Faults at places of a body, all at once.
    #[must_use]
    pub fn faults(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => format!("The body: {}.", only.detail),
            [only] => format!("{}: {}.", only.pointer, only.detail),
            several => format!("{} faults, see errors.", several.len()),
        };
        Self { errors, ..Self::new(code, detail) }
    }

    /// One fault of a query parameter or header.
    #[must_use]
    pub fn parameter(name: &str, detail: &str) -> Self {
        Self::invalid(vec![FieldError::new(format!("/{name}"), detail)])
    }

    /// The cause goes to the log and nowhere else.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "answered with an internal error");
        Self::new(Code::Internal, "The cause is in the service's log under this answer's x-request-id.")
    }

    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "No such resource, or not one that this token may see.")
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// A further member of the problem object (RFC 9457 §3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.extensions.insert(name.to_owned(), value);
        self
    }

    /// A header that this service composed itself; one with other than visible ASCII is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        let mut body = json!({
            "type": format!("{TYPE_PREFIX}{}", self.code.as_str()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "detail": self.detail,
            "code": self.code.as_str(),
        });
        if let Some(object) = body.as_object_mut() {
            if !self.errors.is_empty() {
                object.insert("errors".to_owned(), json!(self.errors));
            }
            object.extend(self.extensions.clone());
        }
        response.body(body.to_string())
    }
}

/// The problem object, for the API's description.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A stable URI that ends in the code.
    #[schema(example = "https://rightful.dev/problems/invalid_body")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    #[schema(example = "invalid_body")]
    code: String,
    /// Of validation faults.
    errors: Option<Vec<FieldError>>,
    /// Of `duplicate_request`: the open request, or null where the caller may not see it.
    request_id: Option<uuid::Uuid>,
}
