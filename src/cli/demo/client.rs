//! A small client of the service's own API.

use std::time::Duration;

use reqwest::{Client as Http, RequestBuilder};
use serde_json::Value;

use crate::cli::Failure;

/// Longer than any `?wait` that the demo asks for.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Client {
    http: Http,
    base: String,
    token: String,
}

impl Client {
    pub fn new(base: &str, token: &str) -> Result<Self, Failure> {
        // The service is on this machine: a proxy of the environment would only be in the way.
        let http = Http::builder().no_proxy().timeout(TIMEOUT).build().map_err(failed)?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// An answer as it is.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.read(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.read(request).await?).unwrap_or_default())
    }

    async fn read(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        let answer = request.bearer_auth(&self.token).send().await.map_err(failed)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(Failure::new(format!(
            "the service answered {status}: {}",
            body["detail"].as_str().unwrap_or_default()
        )))
    }
}

fn failed(error: reqwest::Error) -> Failure {
    Failure::new(format!("no answer from the service: {}", error.without_url()))
}
