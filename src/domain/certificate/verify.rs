//! Verification of a certificate, without anything but the log's public keys. It comes from whoever is not trusted: only
//! what can be read in one way is read at all.

use serde_json::Value;

use super::{Certificate, FORMAT, Proof};
use crate::domain::{
    audit::unhex,
    checkpoint::{self, BadNote, PublicKey},
    json::Strict,
    tree,
};

/// Of a certificate, in bytes.
pub const MAX_SIZE: usize = 16 * 1024 * 1024;

/// Numbers that every reader of JSON takes for the same.
const EXACT: u64 = 1 << 53;

/// The first thing about a certificate that is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("it is larger than {} MiB", MAX_SIZE >> 20)]
    TooLarge,
    #[error("it is no JSON that can be read in one way only")]
    Json,
    #[error("it is no certificate of the form {FORMAT}, or holds more than one")]
    Form,
    #[error("the statement is not the one that the event was made with")]
    Statement,
    #[error("the event is not the one that its hash was made of")]
    Event,
    #[error("the event is not the end of the request that the statement is about")]
    OtherEvent,
    #[error("the proof is no C2SP tlog-proof without extra data")]
    Proof,
    #[error("the checkpoint is not to be relied on: {0}")]
    Checkpoint(#[from] BadNote),
    #[error("the proof does not lead from the event to the root of the checkpoint")]
    NotIncluded,
}

impl Invalid {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Json => "json",
            Self::Form => "form",
            Self::Statement => "statement",
            Self::Event => "event",
            Self::OtherEvent => "other_event",
            Self::Proof => "proof",
            Self::Checkpoint(_) => "checkpoint",
            Self::NotIncluded => "inclusion",
        }
    }
}

/// A certificate that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub certificate: Certificate,
    /// The log that it was proved from.
    pub origin: String,
    /// Of its entry, from 0.
    pub index: u64,
    /// Entries of the log at the checkpoint.
    pub size: u64,
}

/// Whether it is true what the JSON of a certificate says, as far as the log's owner, who has one of the keys, has not lied
/// from the start.
///
/// # Errors
/// The first check that fails.
pub fn verify(bytes: &[u8], keys: &[PublicKey]) -> Result<Verified, Invalid> {
    let certificate = read(bytes)?;
    let Certificate { statement, event, .. } = &certificate;
    if event.details["statement"] != statement.hash() {
        return Err(Invalid::Statement);
    }
    if !is_hash(&event.prev_hash) || event.hash != event.computed_hash() {
        return Err(Invalid::Event);
    }
    let is_its_end = event.request_id == Some(statement.request_id)
        && event.stream == format!("request:{}", statement.request_id)
        && statement.status.end_event().is_some_and(|name| name.as_str() == event.event)
        && event.details["outcome"] == statement.outcome.as_str();
    if !is_its_end {
        return Err(Invalid::OtherEvent);
    }
    let proof = Proof::parse(&certificate.proof).ok_or(Invalid::Proof)?;
    let head = checkpoint::open(&proof.checkpoint, keys)?;
    let leaf = tree::leaf(&unhex(&event.hash));
    if tree::root_by(&leaf, proof.index, head.size, &proof.hashes) != Some(head.root) {
        return Err(Invalid::NotIncluded);
    }
    let origin = proof.checkpoint.lines().next().unwrap_or_default().to_owned();
    Ok(Verified { origin, index: proof.index, size: head.size, certificate })
}

/// A certificate whose values are those that every other reader finds in it.
fn read(bytes: &[u8]) -> Result<Certificate, Invalid> {
    if bytes.len() > MAX_SIZE {
        return Err(Invalid::TooLarge);
    }
    let Strict(json) = serde_json::from_slice(bytes).map_err(|_| Invalid::Json)?;
    if !is_exact(&json) {
        return Err(Invalid::Json);
    }
    let certificate: Certificate = serde_json::from_value(json.clone()).map_err(|_| Invalid::Form)?;
    // Nothing was left out, filled in, or written in another way.
    let is_whole = serde_json::to_value(&certificate).is_ok_and(|again| again == json);
    if is_whole && certificate.format == FORMAT { Ok(certificate) } else { Err(Invalid::Form) }
}

/// No number but whole ones that a float holds exactly.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() < EXACT),
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
