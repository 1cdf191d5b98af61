//! Consents: that a person gave one, or withdrew it, and which text was shown (GDPR Art. 7(1)). Each is recorded once and
//! never changed; an erasure of the person takes away what is sealed, and the proof stays.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    audit::{ChainHead, EventName, NewEvent, timestamp},
    request::Subject,
};

/// What the person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsentState {
    Given,
    /// Art. 7(3).
    Withdrawn,
}

impl ConsentState {
    pub const ALL: [Self; 2] = [Self::Given, Self::Withdrawn];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Where the person did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Web,
    App,
    Email,
    Paper,
    Phone,
    InPerson,
    Other,
}

impl Source {
    pub const ALL: [Self; 7] =
        [Self::Web, Self::App, Self::Email, Self::Paper, Self::Phone, Self::InPerson, Self::Other];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::App => "app",
            Self::Email => "email",
            Self::Paper => "paper",
            Self::Phone => "phone",
            Self::InPerson => "in_person",
            Self::Other => "other",
        }
    }
}

/// The text that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownText {
    pub version: String,
    /// Lower-case hex SHA-256.
    pub hash: String,
}

/// One act of a person. Who it is lies sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Of one person's a later one has the greater id.
    pub id: Uuid,
    /// The plan whose identities name the person.
    pub plan: String,
    pub purpose: String,
    pub state: ConsentState,
    pub text: ShownText,
    pub source: Source,
    /// When the person did it.
    pub at: DateTime<Utc>,
    pub recorded_by: String,
    pub recorded_at: DateTime<Utc>,
    /// Of the one audit event of `consent:<id>`.
    pub head: ChainHead,
}

/// The sealed part of a consent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentConfidential {
    pub subject: Subject,
    pub note: Option<String>,
}

impl Consent {
    /// The stream of its audit event.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("consent:{}", self.id)
    }

    /// The event that commits with it.
    #[must_use]
    pub fn recorded(&self, subject_ref: Option<String>) -> NewEvent {
        let details = json!({
            "plan": self.plan, "purpose": self.purpose, "state": self.state.as_str(),
            "text_version": self.text.version, "text_hash": self.text.hash, "source": self.source.as_str(),
            "at": timestamp(self.at),
        });
        let event = NewEvent::new(EventName::ConsentRecorded, &self.recorded_by, details);
        NewEvent { subject_ref, ..event }
    }
}

/// True for a purpose, or a version of a text: it stands in the audit log, which holds no address and no free text.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/');
    !text.is_empty() && text.chars().all(is_part)
}

/// A hex SHA-256 in small letters.
#[must_use]
pub fn sha256_hex(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// False where a consent that shares a pseudonym with a person knows another row by one of `keys`, identities that are the
/// primary key: then an address has changed hands, and it must not be handed out to who has it now.
#[must_use]
pub fn may_be_of(consent: &[(String, String)], person: &[(String, String)], keys: &[&str]) -> bool {
    keys.iter().all(|key| {
        let knows = |refs: &[(String, String)]| refs.iter().any(|(identity, _)| identity == key);
        let share = || consent.iter().any(|known| known.0 == *key && person.contains(known));
        !knows(consent) || !knows(person) || share()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(identity, pseudonym)| ((*identity).to_owned(), (*pseudonym).to_owned())).collect()
    }

    #[test]
    fn names_hold_no_address_and_no_sentence() {
        for name in ["newsletter", "2026-01", "ads/v1.2:eu_west"] {
            assert!(is_name(name), "{name}");
        }
        for text in ["", "jane@example.com", "she said so", "naïve"] {
            assert!(!is_name(text), "{text}");
        }
        assert_eq!(sha256_hex(&"AB".repeat(32)), Some("ab".repeat(32)));
        assert_eq!((sha256_hex("ab"), sha256_hex(&"g".repeat(64))), (None, None));
    }

    #[test]
    fn an_address_that_changed_hands_takes_no_consent_along() {
        let jane = refs(&[("email", "x"), ("user_id", "1")]);
        for (person, expected) in [
            (refs(&[("email", "x"), ("user_id", "1")]), true),
            (refs(&[("email", "y"), ("user_id", "1")]), true),
            (refs(&[("email", "x"), ("user_id", "2")]), false),
            (refs(&[("email", "x")]), true),
        ] {
            assert_eq!(may_be_of(&jane, &person, &["user_id"]), expected, "{person:?}");
        }
        let given = refs(&[("email", "x")]);
        assert!(may_be_of(&given, &refs(&[("email", "x"), ("user_id", "2")]), &["user_id"]));
        assert!(may_be_of(&jane, &refs(&[("email", "x"), ("user_id", "2")]), &[]));
    }
}
