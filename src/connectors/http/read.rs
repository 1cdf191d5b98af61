//! What a resource holds, for the package of an access request (GDPR Art. 15).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::CONTENT_TYPE;
use serde::de::IgnoredAny;

use super::{CallError, Session, Target};
use crate::domain::call::CallTemplate;

/// More of one resource is refused.
const LARGEST: usize = 64 * 1024 * 1024;
/// A large one takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A resource as the service gave it out. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    pub content_type: Option<String>,
    pub body: Body,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// One JSON text (RFC 8259) to the letter, so that numbers stay what they are.
    Json(String),
    Text(String),
    /// Anything else, in base64.
    Base64(String),
}

impl Session<'_> {
    /// Reads a resource; `None` when nothing is there, as [`is_there`](Session::is_there) means it.
    ///
    /// # Errors
    /// As that, and when the answer is larger than 64 MiB.
    pub async fn read(
        &mut self,
        lookup: &CallTemplate,
        target: &Target,
    ) -> Result<Option<Content>, CallError> {
        let answer = self.service.send(lookup, target, None, None, TIMEOUT).await?;
        if !self.means_there(&answer).await? {
            return Ok(None);
        }
        let content_type = answer.header(CONTENT_TYPE).map(str::to_owned);
        let bytes = answer.body(LARGEST).await?;
        let body = body(content_type.as_deref(), bytes);
        Ok(Some(Content { content_type, body }))
    }
}

fn body(content_type: Option<&str>, bytes: Vec<u8>) -> Body {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    let is_json = media == "application/json" || media.ends_with("+json");
    match String::from_utf8(bytes) {
        Ok(text) if is_json && serde_json::from_str::<IgnoredAny>(&text).is_ok() => Body::Json(text),
        Ok(text) if is_json || media.starts_with("text/") => Body::Text(text),
        Ok(text) => Body::Base64(STANDARD.encode(text)),
        Err(error) => Body::Base64(STANDARD.encode(error.into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_stays_json_and_bytes_are_kept() {
        let text = |text: &str| text.to_owned();
        for (content_type, bytes, expected) in [
            (Some("application/json"), &b"{\"a\": 1.10}"[..], Body::Json(text("{\"a\": 1.10}"))),
            (Some("application/hal+json; charset=utf-8"), b"[]", Body::Json(text("[]"))),
            (Some("application/json"), b"{", Body::Text(text("{"))),
            (Some("text/vcard"), "é".as_bytes(), Body::Text(text("é"))),
            (Some("text/plain"), b"\xff", Body::Base64(text("/w=="))),
            (Some("image/png"), b"ab", Body::Base64(text("YWI="))),
            (None, b"{}", Body::Base64(text("e30="))),
        ] {
            assert!(body(content_type, bytes.to_vec()) == expected, "{content_type:?} {bytes:?}");
        }
    }
}
