//! One call: who makes it, what it asks, and the way into the service.

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    api::Api,
    auth::{Principal, Role},
    body::{Fields, Strict},
    problem::{Code, FieldError, Problem},
    query::Query,
};
use crate::service::{Service, error::ServiceError, readings::Reader};

/// The largest body, in bytes: a request names one person, nothing more.
const MAX_BODY: usize = 64 * 1024;
/// For the whole body, so that a caller who sends a byte now and then holds nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a handler answers.
pub type Answer = Result<HttpResponse, Problem>;

/// A call by an authenticated principal whose roles allow the route's operation.
pub struct Call {
    pub api: web::Data<Api>,
    pub principal: Principal,
    pub request: HttpRequest,
    pub payload: web::Payload,
}

impl Call {
    /// Runs one service function on the service's own runtime. A caller who hangs up does not cancel it, so that
    /// no store transaction is torn in the middle; and connections of the store live as long as the service does,
    /// not as long as one HTTP worker.
    ///
    /// # Errors
    /// The service's error as a problem.
    pub async fn run<T, F, Run>(&self, work: F) -> Result<T, Problem>
    where
        F: FnOnce(Arc<Service>) -> Run,
        Run: Future<Output = Result<T, ServiceError>> + Send + 'static,
        T: Send + 'static,
    {
        let task = self.api.runtime.spawn(work(Arc::clone(&self.api.service)));
        match task.await {
            Ok(result) => result.map_err(Problem::from),
            Err(_) => Err(Problem::internal("a handler's task ended early")),
        }
    }

    /// What this principal may see of requests.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {
            sub: self.principal.sub.clone(),
            every_request: self.principal.has_any(&[Role::Admin, Role::Approver, Role::Auditor]),
            identities: self.principal.has_any(&[Role::Admin, Role::Approver]),
            own: self.principal.has_any(&[Role::Service]),
        }
    }

    /// A part of the path, decoded.
    ///
    /// # Errors
    /// `not_found` for what is not UTF-8.
    pub fn path(&self, name: &str) -> Result<String, Problem> {
        let raw = self.request.match_info().get(name).unwrap_or_default();
        percent_decode_str(raw).decode_utf8().map(Into::into).map_err(|_| Problem::not_found())
    }

    /// The id in the path.
    ///
    /// # Errors
    /// `not_found` for what is no UUID: nothing has such an id.
    pub fn id(&self) -> Result<uuid::Uuid, Problem> {
        self.path("id")?.parse().map_err(|_| Problem::not_found())
    }

    /// # Errors
    /// For parameters that are not among `known`.
    pub fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(self.request.query_string(), known)
    }

    /// A header that may stand once.
    ///
    /// # Errors
    /// When it stands twice, or is not visible ASCII.
    pub fn header(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.request.headers().get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => match value.to_str() {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(Problem::parameter(name, "must be visible ASCII")),
            },
            _ => Err(Problem::parameter(name, "stands twice")),
        }
    }

    /// The body's bytes, read to the end.
    ///
    /// # Errors
    /// `payload_too_large`, or `invalid_body` when it does not arrive.
    async fn bytes(&mut self) -> Result<Vec<u8>, Problem> {
        let too_large =
            || Problem::new(Code::PayloadTooLarge, format!("A body holds at most {MAX_BODY} bytes."));
        let announced = self.request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_BODY) {
            return Err(too_large());
        }
        let slow = || Problem::invalid(vec![FieldError::new("", "the body did not arrive in time")]);
        let mut body = Vec::new();
        let until = Instant::now() + BODY_TIMEOUT;
        while let Some(chunk) = timeout_at(until, self.payload.next()).await.map_err(|_| slow())? {
            let broken_off = |_| Problem::invalid(vec![FieldError::new("", "the body broke off")]);
            let chunk = chunk.map_err(broken_off)?;
            if body.len() + chunk.len() > MAX_BODY {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A JSON body.
    ///
    /// # Errors
    /// `payload_too_large`, `unsupported_media_type`, `invalid_body`.
    pub async fn json(&mut self) -> Result<Value, Problem> {
        let bytes = self.bytes().await?;
        self.require_json()?;
        Strict::parse(&bytes)
    }

    /// A JSON object, or nothing at all where every member is optional.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub async fn optional_fields(&mut self) -> Result<Fields, Problem> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Fields::of(Value::Object(serde_json::Map::new()));
        }
        self.require_json()?;
        Fields::of(Strict::parse(&bytes)?)
    }

    fn require_json(&self) -> Result<(), Problem> {
        let headers = self.request.headers();
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let mut parts = kind.split(';').map(str::trim);
        let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        let plain =
            text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
        if is_json && is_utf8 && plain {
            return Ok(());
        }
        let detail = "Send the body as application/json in UTF-8, without a content encoding.";
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    }
}

/// A JSON answer.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            HttpResponse::build(status).insert_header((header::CONTENT_TYPE, "application/json")).body(bytes)
        }
        Err(_) => actix_web::ResponseError::error_response(&Problem::internal("an answer is no JSON")),
    }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// For `?cursor=`; null on the last page.
    pub next_cursor: Option<String>,
}
