//! Values that point at personal data. They are personal data themselves, so neither `Debug` nor `Display`
//! shows them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One value of a key column in its canonical form: the database's own text for it, or raw bytes for binary
/// columns. `42` of an `integer` and `42` of a `bigint` in another database are the same key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    Text(String),
    Bytes(#[serde(with = "base64_bytes")] Vec<u8>),
}

impl Key {
    /// NULL and empty text match nothing; NULL is the absence of a `Key`, this is the other half.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    /// The form over which a `subject_ref` is taken and two keys are compared: lower case where the identity
    /// ignores case.
    #[must_use]
    pub fn compared(&self, ignore_case: bool) -> Self {
        match self {
            Self::Text(text) if ignore_case => Self::Text(text.to_lowercase()),
            other => other.clone(),
        }
    }

    /// The bytes that are hashed; a tag keeps text and binary apart.
    #[must_use]
    pub fn tagged_bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => [b"t", text.as_bytes()].concat(),
            Self::Bytes(bytes) => [b"b", bytes.as_slice()].concat(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The key columns of one row, in the order that its key set or root declares; `None` is NULL.
pub type Tuple = Vec<Option<Key>>;

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
