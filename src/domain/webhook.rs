//! What webhooks tell, and how it is signed, after the Standard Webhooks specification (standardwebhooks.com, 1.0).

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    audit::{EventName, timestamp},
    request::Request,
};

/// Pauses after the attempts, the first right after the first; then it is given up. About three days in all.
const SCHEDULE: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    TimeDelta::hours(24),
];

impl EventName {
    /// True for the events that tell of another status of a request.
    #[must_use]
    pub fn changes_status(self) -> bool {
        matches!(
            self,
            Self::RequestCreated
                | Self::RequestApproved
                | Self::RequestDenied
                | Self::RequestStarted
                | Self::RequestPaused
                | Self::RequestHeld
                | Self::RequestReleased
                | Self::RequestResumed
                | Self::RequestRetried
                | Self::RequestCompleted
                | Self::RequestFailed
                | Self::RequestCancelled
        )
    }
}

/// The text that tells of a change: which request is in which state. No identity, no reference of the submitter's, no
/// error text.
#[must_use]
pub fn body(event: EventName, request: &Request, at: DateTime<Utc>) -> String {
    json!({
        "type": event.as_str(),
        "timestamp": timestamp(at),
        "data": {
            "id": request.id,
            "kind": request.kind.as_str(),
            "plan": request.plan,
            "status": request.status().as_str(),
            "outcome": request.state.outcome().map(|outcome| outcome.as_str()),
            "links": { "self": format!("/v1/requests/{}", request.id) },
        },
    })
    .to_string()
}

/// A key that receivers share. No `Debug`.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Of `whsec_` and the key in base64: 24 to 64 bytes. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The header `webhook-signature` over id, time (Unix seconds) and body.
    #[must_use]
    pub fn sign(&self, id: Uuid, at: DateTime<Utc>, body: &str) -> String {
        let signed = format!("{id}.{}.{body}", at.timestamp());
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.0, signed.as_bytes())))
    }
}

/// When to try again after so many attempts; `None` when it is given up.
#[must_use]
pub fn next_attempt(attempts: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let position = usize::try_from(attempts).ok()?.checked_sub(1)?;
    SCHEDULE.get(position).map(|pause| now + *pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_reference() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let SigningKey(hmac) = &key;
        let signed = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let signature = STANDARD.encode(hmac::sign(hmac, signed));
        assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let at = DateTime::from_timestamp_secs(1_614_265_330).unwrap();
        let (id, body) = (Uuid::nil(), "{}");
        let expected = hmac::sign(hmac, format!("{id}.1614265330.{body}").as_bytes());
        assert_eq!(key.sign(id, at, body), format!("v1,{}", STANDARD.encode(expected)));
    }

    #[test]
    fn a_key_has_a_prefix_and_a_sensible_length() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, fits) in [
            (of(23), false),
            (of(24), true),
            (of(64), true),
            (of(65), false),
            (STANDARD.encode([7; 32]), false),
            ("whsec_!".to_owned(), false),
        ] {
            assert_eq!(SigningKey::parse(&text).is_some(), fits, "{text}");
        }
    }

    #[test]
    fn attempts_get_rarer_and_end() {
        let now = DateTime::from_timestamp_secs(0).unwrap();
        assert_eq!(next_attempt(1, now), Some(now + TimeDelta::seconds(5)));
        assert_eq!(next_attempt(9, now), Some(now + TimeDelta::hours(24)));
        assert_eq!(next_attempt(10, now), None);
    }
}
