//! HTTP services as members of a plan: one resource per key. A service says of itself whether a resource is there; what
//! it says counts only as far as it is known to be itself that speaks.

use std::time::{Duration, Instant};

use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue, LOCATION},
};

use super::{
    ConnectorError, ErrorKind,
    web::{Answer, Outgoing, TIMEOUT, WebClient, WebError},
};
use crate::domain::call::{CallTemplate, Method as PlanMethod};

mod read;
mod rectify;
mod retry_after;
mod target;

pub use read::Content;
pub use rectify::Correction;
pub use retry_after::RetryAfter;
pub use target::{Target, targets};

/// How long the answer of a probe is believed.
const PROBE_AGE: Duration = Duration::from_secs(10);
/// Ours, on every call: no configuration sets it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A service as the configuration names it.
pub struct HttpService {
    client: WebClient,
    base: Url,
    /// Sent with every call; they hold its secrets.
    headers: HeaderMap,
    probe: Option<CallTemplate>,
}

/// A call that came to nothing, and when the service wants to be asked again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct CallError {
    pub error: ConnectorError,
    pub retry_after: Option<RetryAfter>,
}

/// What became of a call that changes something.
#[derive(Clone, PartialEq, Eq)]
pub enum Sent {
    /// 2xx, or nothing was there. Only a lookup proves what came of it.
    Done,
    /// 202 (RFC 9110 §15.3.3): it will be done.
    Accepted(Accepted),
}

/// Where to ask what became of a call that was accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted {
    /// On the service itself; it may name the person. `None`: only a lookup tells.
    pub location: Option<String>,
    pub retry_after: Option<RetryAfter>,
}

/// What became of a call that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Running(Option<RetryAfter>),
    /// Well or not: only a lookup tells.
    Ended,
}

impl HttpService {
    /// `headers` are names and values; `probe` is a GET that answers 2xx as long as address and credentials are right.
    ///
    /// # Errors
    /// What is wrong with a part; never quotes a value.
    pub fn new(
        client: WebClient,
        base: &str,
        headers: &[(String, String)],
        probe: Option<CallTemplate>,
    ) -> Result<Self, String> {
        let base: Url = base.parse().map_err(|error| format!("this is no URL: {error}"))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let wrong = |what: &str| format!("header `{name}` {what}");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("has no proper name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong("holds what no header can"))?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        Ok(Self { client, base, headers: map, probe })
    }

    /// Asks whether the service is there and takes the credentials; without a probe nobody can know.
    ///
    /// # Errors
    /// When it does not answer, or not with 2xx.
    pub async fn is_up(&self) -> Result<(), CallError> {
        let Some(probe) = &self.probe else { return Ok(()) };
        let answer = self.send(probe, &Target::default(), None, None, TIMEOUT).await?;
        match answer.status {
            200..=299 => Ok(()),
            429 | 503 => Err(fault(&answer)),
            status => Err(unavailable(format!("its probe answered with status {status}"))),
        }
    }

    async fn send(
        &self,
        call: &CallTemplate,
        target: &Target,
        idempotency_key: Option<&str>,
        body: Option<String>,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let url = self.url(call, target)?;
        let method = match call.method {
            PlanMethod::Get => Method::GET,
            PlanMethod::Post => Method::POST,
            PlanMethod::Put => Method::PUT,
            PlanMethod::Patch => Method::PATCH,
            PlanMethod::Delete => Method::DELETE,
        };
        let mut headers = self.headers.clone();
        if let Some(value) = idempotency_key.and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        self.client.send(Outgoing { method, url, headers, body, timeout }).await.map_err(CallError::from)
    }

    fn url(&self, call: &CallTemplate, target: &Target) -> Result<Url, CallError> {
        let path = call
            .path(|name| target.value(name))
            .ok_or_else(|| internal("the plan gives no value for a name in the path of a call"))?;
        let prefix = self.base.path().trim_end_matches('/');
        let url = format!("{}{prefix}{path}", self.base.origin().ascii_serialization());
        let url: Url = url.parse().map_err(|_| internal("the path of a call makes no URL"))?;
        let route = path.split('?').next().unwrap_or_default();
        // A segment of dots would be taken out, and the call would mean another resource.
        match url.path().strip_prefix(prefix) == Some(route) {
            true => Ok(url),
            false => Err(internal("a key of this person cannot stand in a path, because it is made of dots")),
        }
    }

    /// A `Location` on the service itself: the credentials go nowhere else.
    fn own_location(&self, call: &CallTemplate, target: &Target, text: &str) -> Result<String, CallError> {
        let url = self.url(call, target)?.join(text).ok();
        match url.filter(|url| url.origin() == self.base.origin()) {
            Some(url) => Ok(url.into()),
            None => Err(internal("it answered with status 202 and a Location that is not its own")),
        }
    }
}

/// The talk of one attempt with a service.
pub struct Session<'s> {
    service: &'s HttpService,
    /// When its probe was last answered.
    proved: Option<Instant>,
}

impl<'s> Session<'s> {
    #[must_use]
    pub fn new(service: &'s HttpService) -> Self {
        Self { service, proved: None }
    }

    /// True for 2xx. 410 is gone, and 404 too if the probe answers as well: an address or a tenant that is wrong
    /// looks the same.
    ///
    /// # Errors
    /// Every other answer, and none.
    pub async fn is_there(&mut self, lookup: &CallTemplate, target: &Target) -> Result<bool, CallError> {
        let answer = self.service.send(lookup, target, None, None, TIMEOUT).await?;
        self.means_there(&answer).await
    }

    async fn means_there(&mut self, answer: &Answer) -> Result<bool, CallError> {
        match answer.status {
            200..=299 => Ok(true),
            410 => Ok(false),
            404 => self.prove().await.map(|()| false),
            _ => Err(fault(answer)),
        }
    }

    /// Makes sure that it is the service that answers, and that it knows us.
    async fn prove(&mut self) -> Result<(), CallError> {
        if self.proved.is_some_and(|at| at.elapsed() < PROBE_AGE) {
            return Ok(());
        }
        if self.service.probe.is_none() {
            return Err(unavailable(
                "it answered with status 404, which may mean anything: give the connection a `probe`, such as GET \
                 /health, that answers 2xx",
            ));
        }
        self.service.is_up().await?;
        self.proved = Some(Instant::now());
        Ok(())
    }

    /// Makes a call that changes something; `body` is JSON. The same key says that it is the same call again.
    ///
    /// # Errors
    /// Every answer but 2xx, 404 and 410, and none: then it may have been done all the same.
    pub async fn change(
        &self,
        call: &CallTemplate,
        target: &Target,
        idempotency_key: &str,
        body: Option<String>,
        timeout: Duration,
    ) -> Result<Sent, CallError> {
        let timeout = timeout.min(TIMEOUT);
        let answer = self.service.send(call, target, Some(idempotency_key), body, timeout).await?;
        match answer.status {
            202 => {
                let location = answer.header(LOCATION);
                let location = location.map(|text| self.service.own_location(call, target, text));
                let retry_after = RetryAfter::of(&answer);
                Ok(Sent::Accepted(Accepted { location: location.transpose()?, retry_after }))
            }
            200..=299 | 404 | 410 => Ok(Sent::Done),
            _ => Err(fault(&answer)),
        }
    }

    /// Asks what became of a call that was accepted, at the place that it named.
    ///
    /// # Errors
    /// No answer, or one that says that it went wrong.
    pub async fn poll(&self, location: &str) -> Result<Progress, CallError> {
        let url: Url = location.parse().map_err(|_| internal("a Location is no URL"))?;
        let headers = self.service.headers.clone();
        let outgoing = Outgoing { method: Method::GET, url, headers, body: None, timeout: TIMEOUT };
        let answer = self.service.client.send(outgoing).await?;
        match answer.status {
            202 => Ok(Progress::Running(RetryAfter::of(&answer))),
            // 303 names the result (RFC 9110 §15.4.4), and what has ended may be forgotten.
            200..=299 | 303 | 404 | 410 => Ok(Progress::Ended),
            _ => Err(fault(&answer)),
        }
    }
}

/// An answer that is none of those that a call is made for.
fn fault(answer: &Answer) -> CallError {
    let status = answer.status;
    match status {
        401 | 403 => unavailable(format!(
            "it refused the credentials with status {status}: correct the connection's `headers`"
        )),
        429 | 503 => {
            let busy = unavailable(format!("it is busy and answered with status {status}"));
            CallError { retry_after: RetryAfter::of(answer), ..busy }
        }
        // Of a gateway, which did not reach the service.
        502 | 504 => unavailable(format!("it answered with status {status}")),
        300..=399 => internal(&format!(
            "it answered with a redirect (status {status}), which is not followed: correct the connection's `url` or \
             the path in the plan"
        )),
        _ => internal(&format!("it answered with status {status}")),
    }
}

fn unavailable(detail: impl Into<String>) -> CallError {
    CallError {
        error: ConnectorError { kind: ErrorKind::Unavailable, detail: detail.into() },
        retry_after: None,
    }
}

fn internal(detail: &str) -> CallError {
    CallError {
        error: ConnectorError { kind: ErrorKind::Internal, detail: detail.to_owned() },
        retry_after: None,
    }
}

impl From<WebError> for CallError {
    fn from(error: WebError) -> Self {
        match error {
            WebError::TooLarge => internal(&error.to_string()),
            WebError::Private | WebError::TimedOut | WebError::Unreachable => unavailable(error.to_string()),
        }
    }
}
