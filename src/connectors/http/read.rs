//! What a resource holds, for the package of an access request (GDPR Art. 15).

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;

use super::{CallError, Session, Target};
use crate::domain::{call::CallTemplate, package::Value};

/// More of one resource is refused.
const LARGEST: usize = 64 * 1024 * 1024;
/// A large one takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A resource as the service gave it out. Personal data.
#[derive(Clone, PartialEq)]
pub struct Content {
    pub content_type: Option<String>,
    pub body: Value,
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

/// JSON stays JSON to the letter and text stays text; everything else is bytes.
fn body(content_type: Option<&str>, bytes: Vec<u8>) -> Value {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    let is_json = media == "application/json" || media.ends_with("+json");
    if !is_json && !media.starts_with("text/") {
        return Value::Bytes(bytes);
    }
    match String::from_utf8(bytes) {
        Ok(text) if is_json => Value::json(text),
        Ok(text) => Value::Text(text),
        Err(error) => Value::Bytes(error.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_stays_json_and_bytes_are_kept() {
        let text = |text: &str| text.to_owned();
        for (content_type, bytes, expected) in [
            (Some("application/json"), &b"{\"a\": 1.10}"[..], Value::Json(text("{\"a\": 1.10}"))),
            (Some("application/hal+json; charset=utf-8"), b"[]", Value::Json(text("[]"))),
            (Some("application/json"), b"{", Value::Text(text("{"))),
            (Some("text/vcard"), "é".as_bytes(), Value::Text(text("é"))),
            (Some("text/plain"), b"\xff", Value::Bytes(vec![255])),
            (Some("image/png"), b"ab", Value::Bytes(b"ab".to_vec())),
            (None, b"{}", Value::Bytes(b"{}".to_vec())),
        ] {
            assert!(body(content_type, bytes.to_vec()) == expected, "{content_type:?} {bytes:?}");
        }
    }
}
