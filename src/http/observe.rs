//! What every answer carries and leaves behind: `x-request-id`, security headers, one line in the access log, and
//! the metrics. Paths appear as the route's pattern, never as they were sent: a path or a query may hold what
//! identifies a person.

use std::{fmt, time::Instant};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tracing::Instrument;

use super::api::Api;
use crate::service::Service;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a caller that is echoed, in characters.
const MAX_REQUEST_ID: usize = 128;
/// Upper bounds of the durations, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
/// Answers are data, never pages that load something.
const CONTENT_SECURITY: &str = "default-src 'none'; frame-ancestors 'none'";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    method: &'static str,
    /// The pattern, such as `/v1/requests/{id}`; `unknown` for paths that are no route.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    method: &'static str,
    route: String,
}

/// Counters of this process, and the registry that shows them.
pub struct HttpMetrics {
    registry: Registry,
    requests: Family<Handled, Counter>,
    seconds: Family<Endpoint, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
}

impl HttpMetrics {
    #[must_use]
    pub fn new(service: &Service) -> Self {
        let mut registry = Registry::with_prefix("rightful");
        let requests = Family::default();
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("http_requests", "Answered calls", requests.clone());
        registry.register("http_request_seconds", "Time to the answer's head", seconds.clone());
        let in_flight = Gauge::default();
        registry.register("http_requests_in_flight", "Calls that are being answered", in_flight.clone());
        let worker = &service.metrics;
        for (name, help, counter) in [
            ("batches", "Batches committed in target databases", &worker.batches),
            ("rows_affected", "Rows erased, masked or unlinked", &worker.rows_affected),
            ("requests_completed", "Requests completed by this process", &worker.requests_completed),
            ("requests_failed", "Requests failed in this process", &worker.requests_failed),
            ("requests_paused", "Pauses in this process", &worker.requests_paused),
            ("webhooks_delivered", "Webhook deliveries that were confirmed", &worker.webhooks_delivered),
            ("webhooks_failed", "Attempts at webhook deliveries that failed", &worker.webhooks_failed),
            ("checkpoints_signed", "Checkpoints signed by this process", &worker.checkpoints_signed),
            ("checkpoints_published", "Checkpoints published by this process", &worker.checkpoints_published),
            (
                "checkpoints_failed",
                "Attempts to publish a checkpoint that failed",
                &worker.checkpoints_failed,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        Self { registry, requests, seconds, in_flight }
    }

    /// In the OpenMetrics text format.
    ///
    /// # Errors
    /// When a metric cannot be written down.
    pub fn encode(&self, text: &mut String) -> fmt::Result {
        prometheus_client::encoding::text::encode_registry(text, &self.registry)
    }

    fn record(&self, method: &Method, route: &str, status: u16, seconds: f64) {
        let method = known(method);
        self.seconds.get_or_create(&Endpoint { method, route: route.to_owned() }).observe(seconds);
        self.requests.get_or_create(&Handled { method, route: route.to_owned(), status }).inc();
    }
}

/// Methods that callers make up must not become new label values.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts a call for as long as it lives, also when its caller hangs up.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The outermost layer.
///
/// # Errors
/// Those of the inner services.
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let api = request.app_data::<web::Data<Api>>().cloned();
    let id = request_id(request.headers(), api.as_ref().map(|api| api.get_ref()));
    let span = tracing::info_span!("http", request_id = %id);
    let _in_flight = api.as_ref().map(|api| InFlight::new(&api.metrics.in_flight));
    let mut response = next.call(request).instrument(span.clone()).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    if let Some(api) = api {
        api.metrics.record(&method, &route, status, elapsed.as_secs_f64());
    }
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(method = known(&method), route, status, ms, "answered"));
    common_headers(response.headers_mut(), &id);
    Ok(response)
}

/// The caller's own id where it is harmless to log, else a new one.
fn request_id(headers: &HeaderMap, api: Option<&Api>) -> String {
    let sent = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| {
        (1..=MAX_REQUEST_ID).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    });
    match (sent, api) {
        (Some(text), _) => text.to_owned(),
        (None, Some(api)) => api.service.clock.new_id().to_string(),
        (None, None) => "none".to_owned(),
    }
}

fn common_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        // Answers name people: no cache between the service and its caller may keep them.
        (header::CACHE_CONTROL, "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
