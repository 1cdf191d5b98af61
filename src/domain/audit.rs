//! Audit events: what they hold, the bytes that are hashed, the chain of a stream and its verification.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod canonical;
pub mod exported;
mod plain;
pub mod raw;
pub mod verify;

/// 64 hex digits.
pub type Hash = String;

/// The `prev_hash` of a stream's first event.
#[must_use]
pub fn genesis() -> Hash {
    "0".repeat(64)
}

/// What happened; the contract's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventName {
    RequestCreated,
    RequestIdentityChecked,
    RequestApproved,
    RequestDenied,
    RequestExtended,
    RequestAnswered,
    RequestReminded,
    RequestHeld,
    RequestReleased,
    RequestCancelled,
    RequestStarted,
    RequestPaused,
    RequestResumed,
    RequestRetried,
    RequestCompleted,
    RequestFailed,
    HoldPlaced,
    HoldEnded,
    HoldExpired,
    ConsentRecorded,
    ConsentPseudonymised,
    KeepEnded,
    PlanRegistered,
    SubjectResolved,
    SubjectChanged,
    StepStarted,
    StepBatch,
    StepCompleted,
    StepWithheld,
    StepFailed,
    StepVerified,
    ExportCreated,
    ExportLinked,
    ExportDownloaded,
    ExportExpired,
    RunCreated,
    RunApproved,
    RunDenied,
    RunStarted,
    RunPaused,
    RunResumed,
    RunRetried,
    RunCancelled,
    RunCompleted,
    RunFailed,
    BackupVerified,
    BackupFailed,
    FixturesLoaded,
    RetentionSwept,
    LedgerExpired,
    AuditRead,
    AuditSearched,
    AuditExported,
    AuditVerified,
    AuditSummarised,
}

impl EventName {
    pub const ALL: [Self; 55] = [
        Self::RequestCreated,
        Self::RequestIdentityChecked,
        Self::RequestApproved,
        Self::RequestDenied,
        Self::RequestExtended,
        Self::RequestAnswered,
        Self::RequestReminded,
        Self::RequestHeld,
        Self::RequestReleased,
        Self::RequestCancelled,
        Self::RequestStarted,
        Self::RequestPaused,
        Self::RequestResumed,
        Self::RequestRetried,
        Self::RequestCompleted,
        Self::RequestFailed,
        Self::HoldPlaced,
        Self::HoldEnded,
        Self::HoldExpired,
        Self::ConsentRecorded,
        Self::ConsentPseudonymised,
        Self::KeepEnded,
        Self::PlanRegistered,
        Self::SubjectResolved,
        Self::SubjectChanged,
        Self::StepStarted,
        Self::StepBatch,
        Self::StepCompleted,
        Self::StepWithheld,
        Self::StepFailed,
        Self::StepVerified,
        Self::ExportCreated,
        Self::ExportLinked,
        Self::ExportDownloaded,
        Self::ExportExpired,
        Self::RunCreated,
        Self::RunApproved,
        Self::RunDenied,
        Self::RunStarted,
        Self::RunPaused,
        Self::RunResumed,
        Self::RunRetried,
        Self::RunCancelled,
        Self::RunCompleted,
        Self::RunFailed,
        Self::BackupVerified,
        Self::BackupFailed,
        Self::FixturesLoaded,
        Self::RetentionSwept,
        Self::LedgerExpired,
        Self::AuditRead,
        Self::AuditSearched,
        Self::AuditExported,
        Self::AuditVerified,
        Self::AuditSummarised,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestCreated => "request.created",
            Self::RequestIdentityChecked => "request.identity_checked",
            Self::RequestApproved => "request.approved",
            Self::RequestDenied => "request.denied",
            Self::RequestExtended => "request.extended",
            Self::RequestAnswered => "request.answered",
            Self::RequestReminded => "request.reminded",
            Self::RequestHeld => "request.held",
            Self::RequestReleased => "request.released",
            Self::RequestCancelled => "request.cancelled",
            Self::RequestStarted => "request.started",
            Self::RequestPaused => "request.paused",
            Self::RequestResumed => "request.resumed",
            Self::RequestRetried => "request.retried",
            Self::RequestCompleted => "request.completed",
            Self::RequestFailed => "request.failed",
            Self::HoldPlaced => "hold.placed",
            Self::HoldEnded => "hold.ended",
            Self::HoldExpired => "hold.expired",
            Self::ConsentRecorded => "consent.recorded",
            Self::ConsentPseudonymised => "consent.pseudonymised",
            Self::KeepEnded => "keep.ended",
            Self::PlanRegistered => "plan.registered",
            Self::SubjectResolved => "subject.resolved",
            Self::SubjectChanged => "subject.changed",
            Self::StepStarted => "step.started",
            Self::StepBatch => "step.batch",
            Self::StepCompleted => "step.completed",
            Self::StepWithheld => "step.withheld",
            Self::StepFailed => "step.failed",
            Self::StepVerified => "step.verified",
            Self::ExportCreated => "export.created",
            Self::ExportLinked => "export.linked",
            Self::ExportDownloaded => "export.downloaded",
            Self::ExportExpired => "export.expired",
            Self::RunCreated => "run.created",
            Self::RunApproved => "run.approved",
            Self::RunDenied => "run.denied",
            Self::RunStarted => "run.started",
            Self::RunPaused => "run.paused",
            Self::RunResumed => "run.resumed",
            Self::RunRetried => "run.retried",
            Self::RunCancelled => "run.cancelled",
            Self::RunCompleted => "run.completed",
            Self::RunFailed => "run.failed",
            Self::BackupVerified => "backup.verified",
            Self::BackupFailed => "backup.failed",
            Self::FixturesLoaded => "fixtures.loaded",
            Self::RetentionSwept => "retention.swept",
            Self::LedgerExpired => "ledger.expired",
            Self::AuditRead => "audit.read",
            Self::AuditSearched => "audit.searched",
            Self::AuditExported => "audit.exported",
            Self::AuditVerified => "audit.verified",
            Self::AuditSummarised => "audit.summarised",
        }
    }
}

/// An event before it has its place in a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub event: EventName,
    pub request_id: Option<Uuid>,
    pub subject_ref: Option<String>,
    /// A token's `sub`, or `worker:HOST-PID`, or `system`.
    pub actor: String,
    pub step: Option<String>,
    pub action: Option<String>,
    /// Counts only: `matched`, `affected`, `remaining`, `withheld`.
    pub rows: Option<serde_json::Value>,
    /// No identity, no row value, no free text, no driver text.
    pub details: serde_json::Value,
}

impl NewEvent {
    /// An event about no request, person or step.
    #[must_use]
    pub fn new(event: EventName, actor: &str, details: serde_json::Value) -> Self {
        Self {
            event,
            request_id: None,
            subject_ref: None,
            actor: actor.to_owned(),
            step: None,
            action: None,
            rows: None,
            details,
        }
    }
}

/// Where a stream's chain stands; kept in the stream's owner row, so that a cut tail shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// Of the last event; 0 before the first.
    pub seq: i64,
    pub hash: Hash,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self { seq: 0, hash: genesis() }
    }
}

/// An event as it lies in the log and as the API shows it. `at` is text with microseconds and `Z`, because that
/// very text is hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub id: Uuid,
    pub stream: String,
    pub seq: i64,
    pub at: String,
    pub event: String,
    pub request_id: Option<Uuid>,
    pub subject_ref: Option<String>,
    pub actor: String,
    pub step: Option<String>,
    pub action: Option<String>,
    pub rows: Option<serde_json::Value>,
    pub details: serde_json::Value,
    pub prev_hash: Hash,
    pub hash: Hash,
}

impl Event {
    /// Gives an event its place after `head` and moves the head.
    #[must_use]
    pub fn chained(new: NewEvent, id: Uuid, stream: &str, at: DateTime<Utc>, head: &mut ChainHead) -> Self {
        let mut event = Self {
            id,
            stream: stream.to_owned(),
            seq: head.seq + 1,
            at: timestamp(at),
            event: new.event.as_str().to_owned(),
            request_id: new.request_id,
            subject_ref: new.subject_ref,
            actor: new.actor,
            step: new.step,
            action: new.action,
            rows: new.rows,
            details: new.details,
            prev_hash: head.hash.clone(),
            hash: String::new(),
        };
        event.hash = event.computed_hash();
        *head = ChainHead { seq: event.seq, hash: event.hash.clone() };
        event
    }

    /// Hex SHA-256 over the 32 raw bytes of `prev_hash` and the RFC 8785 JSON of the event without its two hashes.
    #[must_use]
    pub fn computed_hash(&self) -> Hash {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(&unhex(&self.prev_hash));
        context.update(&canonical::bytes(self));
        hex(context.finish().as_ref())
    }
}

/// RFC 3339, UTC, microseconds, `Z`: the one form in which times leave the service.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

/// The bytes of a text as [`hex`] writes it; what is none is left out.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    text.as_bytes().as_chunks().0.iter().filter_map(byte).collect()
}
