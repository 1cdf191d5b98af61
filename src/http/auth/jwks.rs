//! The issuer's key set, fetched and cached. An unknown `kid` asks the issuer again, but at most once a
//! minute, so that nobody can make this service flood it; a set that cannot be refreshed is served stale for
//! a day at most.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use reqwest::{Client, redirect::Policy};
use serde_json::Value;
use tokio::sync::Mutex;

use super::keys::{UnusableKey, VerificationKey};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;
/// Between two fetches, whatever the outcome of the first.
const REFETCH_AFTER: Duration = Duration::from_secs(60);
/// From then on the set is refreshed although every `kid` is known, so that withdrawn keys go.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);
const STALE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

struct Cached {
    keys: Arc<Vec<VerificationKey>>,
    at: Instant,
}

/// A cached key set.
pub struct Jwks {
    url: reqwest::Url,
    client: Client,
    cached: RwLock<Option<Cached>>,
    /// When the last fetch began; held during a fetch, so that callers wait for one instead of starting many.
    last_try: Mutex<Option<Instant>>,
}

impl Jwks {
    /// # Errors
    /// When the URL is not http or https.
    pub fn new(url: &str) -> Result<Self, UnusableKey> {
        let url: reqwest::Url = url.parse().map_err(|_| UnusableKey::BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UnusableKey::BadUrl);
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(FETCH_TIMEOUT)
            .build()
            .map_err(|_| UnusableKey::BadUrl)?;
        Ok(Self { url, client, cached: RwLock::new(None), last_try: Mutex::new(None) })
    }

    /// The present keys; fetched when there are none, when they are old, or when `kid` is not among them.
    /// `None` when no key set is at hand: neither a fresh one nor one that is less than a day old.
    pub async fn keys(self: &Arc<Self>, kid: Option<&str>) -> Option<Arc<Vec<VerificationKey>>> {
        if let Some((keys, age)) = self.current()
            && age < FRESH_FOR
            && knows(&keys, kid)
        {
            return Some(keys);
        }
        // On a task of its own: a caller who hangs up must not take this minute's fetch with him.
        let this = Arc::clone(self);
        let _ = tokio::spawn(async move { this.refresh().await }).await;
        self.current().filter(|(_, age)| *age < STALE_FOR).map(|(keys, _)| keys)
    }

    fn current(&self) -> Option<(Arc<Vec<VerificationKey>>, Duration)> {
        let cached = self.cached.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        cached.as_ref().map(|cached| (Arc::clone(&cached.keys), cached.at.elapsed()))
    }

    async fn refresh(&self) {
        let mut last_try = self.last_try.lock().await;
        // This minute's fetch was made, perhaps by a caller that this one waited for.
        if last_try.is_some_and(|at| at.elapsed() < REFETCH_AFTER) {
            return;
        }
        *last_try = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                let mut cached = self.cached.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                *cached = Some(Cached { keys: Arc::new(keys), at: Instant::now() });
            }
            Err(cause) => tracing::warn!(cause, "the issuer's key set could not be fetched"),
        }
    }

    async fn fetch(&self) -> Result<Vec<VerificationKey>, &'static str> {
        let mut response =
            self.client.get(self.url.clone()).send().await.map_err(|_| "not reachable in time")?;
        if response.status() != reqwest::StatusCode::OK {
            return Err("answered with another status than 200");
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "broke off")? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err("larger than 256 KiB");
            }
            body.extend_from_slice(&chunk);
        }
        let set: Value = serde_json::from_slice(&body).map_err(|_| "not JSON")?;
        let members = set.get("keys").and_then(Value::as_array).ok_or("no \"keys\" in it")?;
        let keys: Vec<_> = members.iter().take(MAX_KEYS).filter_map(VerificationKey::from_jwk).collect();
        if keys.is_empty() { Err("no usable signature key in it") } else { Ok(keys) }
    }
}

fn knows(keys: &[VerificationKey], kid: Option<&str>) -> bool {
    kid.is_none_or(|kid| keys.iter().any(|key| key.kid.as_deref() == Some(kid)))
}
