//! Rows as the databases hold them, and their mapping to and from the domain, which names no diesel.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{StoreError, schema};
use crate::domain::{
    audit::{ChainHead, Event},
    request::{Kind, Outcome, Request, RunError, State, Status},
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::requests, treat_none_as_default_value = false)]
pub(super) struct RequestRow {
    id: String,
    kind: String,
    plan: String,
    external_id: Option<String>,
    created_by: String,
    submitted_at: NaiveDateTime,
    created_at: NaiveDateTime,
    epoch: i64,
    lease_until: Option<NaiveDateTime>,
    cancelled_by: Option<String>,
    hold_id: Option<String>,
    #[diesel(embed)]
    state: StateRow,
}

/// The columns that a save writes. `epoch` is the claim's alone; `lease_until`, `cancelled_by` and `hold_id`
/// are also written by others while a worker holds the request, so a save sets them only where it means to.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = schema::requests, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(super) struct StateRow {
    status: String,
    outcome: Option<String>,
    plan_version: String,
    due_at: NaiveDateTime,
    started_at: Option<NaiveDateTime>,
    finished_at: Option<NaiveDateTime>,
    run_at: NaiveDateTime,
    attempt: i32,
    strikes: i32,
    failures: i32,
    waits: i32,
    resolved: bool,
    touched: bool,
    error: Option<String>,
    subject_ref: Option<String>,
    steps: String,
    audit_seq: i64,
    audit_hash: String,
    answering: String,
    answered_at: Option<NaiveDateTime>,
    reminded_at: Option<NaiveDateTime>,
}

impl StateRow {
    pub(super) fn of(request: &Request) -> Result<Self, StoreError> {
        Ok(Self {
            status: request.status().as_str().to_owned(),
            outcome: request.state.outcome().map(|outcome| outcome.as_str().to_owned()),
            plan_version: request.plan_version.clone(),
            due_at: request.urgency().naive_utc(),
            started_at: request.started_at.map(|at| at.naive_utc()),
            finished_at: request.state.finished_at().map(|at| at.naive_utc()),
            run_at: request.claimable_from().naive_utc(),
            attempt: request.attempt,
            strikes: request.strikes,
            failures: request.failures,
            waits: request.waits,
            resolved: request.resolved,
            touched: request.touched,
            error: request.state.error().map(to_json).transpose()?,
            subject_ref: request.subject_ref.clone(),
            steps: to_json(&request.steps)?,
            audit_seq: request.head.seq,
            audit_hash: request.head.hash.clone(),
            answering: to_json(&request.answering)?,
            answered_at: request.answering.answered.as_ref().map(|answered| answered.at.naive_utc()),
            reminded_at: request.answering.reminded_at.map(|at| at.naive_utc()),
        })
    }

    fn state(&self, cancelled_by: Option<String>) -> Result<State, StoreError> {
        let error = self.error.as_deref().map(from_json::<RunError>).transpose()?;
        let finished_at = || self.finished_at.map(|at| at.and_utc()).ok_or_else(|| unreadable("finished_at"));
        let outcome = || {
            from_text(&Outcome::ALL, Outcome::as_str, self.outcome.as_deref().unwrap_or_default(), "outcome")
        };
        Ok(match from_text(&Status::ALL, Status::as_str, &self.status, "status")? {
            Status::Pending => State::Pending,
            Status::Approved => State::Approved,
            Status::InProgress => State::InProgress { error, cancelled_by },
            Status::OnHold => State::OnHold,
            Status::Paused => State::Paused { error: error.ok_or_else(|| unreadable("error"))? },
            Status::Completed => State::Completed { finished_at: finished_at()?, outcome: outcome()? },
            Status::Failed => State::Failed {
                finished_at: finished_at()?,
                outcome: outcome()?,
                error: error.ok_or_else(|| unreadable("error"))?,
            },
            Status::Denied => State::Denied { finished_at: finished_at()?, outcome: outcome()? },
            Status::Cancelled => State::Cancelled { finished_at: finished_at()?, outcome: outcome()? },
        })
    }
}

impl RequestRow {
    pub(super) fn of(request: &Request) -> Result<Self, StoreError> {
        Ok(Self {
            id: request.id.to_string(),
            kind: request.kind.as_str().to_owned(),
            plan: request.plan.clone(),
            external_id: request.external_id.clone(),
            created_by: request.created_by.clone(),
            submitted_at: request.submitted_at.naive_utc(),
            created_at: request.created_at.naive_utc(),
            epoch: request.epoch,
            lease_until: request.lease_until.map(|at| at.naive_utc()),
            cancelled_by: cancelled_by(request).map(str::to_owned),
            hold_id: request.hold.map(|hold| hold.to_string()),
            state: StateRow::of(request)?,
        })
    }

    /// Who asked to cancel, whatever the status: a claim carries it on.
    pub(super) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.as_deref()
    }

    pub(super) fn into_request(self) -> Result<Request, StoreError> {
        let row = self.state;
        Ok(Request {
            id: uuid(&self.id)?,
            kind: from_text(&Kind::ALL, Kind::as_str, &self.kind, "kind")?,
            state: row.state(self.cancelled_by)?,
            plan: self.plan,
            external_id: self.external_id,
            created_by: self.created_by,
            submitted_at: self.submitted_at.and_utc(),
            created_at: self.created_at.and_utc(),
            epoch: self.epoch,
            lease_until: self.lease_until.map(|at| at.and_utc()),
            plan_version: row.plan_version,
            answering: from_json(&row.answering)?,
            hold: self.hold_id.as_deref().map(uuid).transpose()?,
            started_at: row.started_at.map(|at| at.and_utc()),
            run_at: row.run_at.and_utc(),
            attempt: row.attempt,
            strikes: row.strikes,
            failures: row.failures,
            waits: row.waits,
            resolved: row.resolved,
            touched: row.touched,
            subject_ref: row.subject_ref,
            steps: from_json(&row.steps)?,
            head: ChainHead { seq: row.audit_seq, hash: row.audit_hash },
        })
    }
}

/// Who asked to cancel, as far as the state in memory knows.
pub(super) fn cancelled_by(request: &Request) -> Option<&str> {
    match &request.state {
        State::InProgress { cancelled_by, .. } => cancelled_by.as_deref(),
        _ => None,
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::audit_events, treat_none_as_default_value = false)]
pub(super) struct EventRow {
    id: String,
    stream: String,
    seq: i64,
    at: String,
    event: String,
    request_id: Option<String>,
    subject_ref: Option<String>,
    actor: String,
    step: Option<String>,
    action: Option<String>,
    counts: Option<String>,
    details: String,
    prev_hash: String,
    hash: String,
}

impl EventRow {
    pub(super) fn of(event: Event) -> Result<Self, StoreError> {
        Ok(Self {
            id: event.id.to_string(),
            stream: event.stream,
            seq: event.seq,
            at: event.at,
            event: event.event,
            request_id: event.request_id.map(|id| id.to_string()),
            subject_ref: event.subject_ref,
            actor: event.actor,
            step: event.step,
            action: event.action,
            counts: event.rows.as_ref().map(to_json).transpose()?,
            details: to_json(&event.details)?,
            prev_hash: event.prev_hash,
            hash: event.hash,
        })
    }

    /// Columns other than `seq`.
    pub(super) const TEXTS: usize = 13;

    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// The columns but `seq`, in the table's order.
    pub(super) fn texts(&self) -> [Option<&str>; Self::TEXTS] {
        [
            Some(&self.id),
            Some(&self.stream),
            Some(&self.at),
            Some(&self.event),
            self.request_id.as_deref(),
            self.subject_ref.as_deref(),
            Some(&self.actor),
            self.step.as_deref(),
            self.action.as_deref(),
            self.counts.as_deref(),
            Some(&self.details),
            Some(&self.prev_hash),
            Some(&self.hash),
        ]
    }

    pub(super) fn into_event(self) -> Result<Event, StoreError> {
        Ok(Event {
            id: uuid(&self.id)?,
            stream: self.stream,
            seq: self.seq,
            at: self.at,
            event: self.event,
            request_id: self.request_id.as_deref().map(uuid).transpose()?,
            subject_ref: self.subject_ref,
            actor: self.actor,
            step: self.step,
            action: self.action,
            rows: self.counts.as_deref().map(from_json).transpose()?,
            details: from_json(&self.details)?,
            prev_hash: self.prev_hash,
            hash: self.hash,
        })
    }
}

pub(super) fn uuid(text: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text).map_err(|_| unreadable("id"))
}

pub(super) fn utc(at: Option<NaiveDateTime>) -> Option<DateTime<Utc>> {
    at.map(|at| at.and_utc())
}

/// The value whose word this is.
pub(super) fn from_text<T: Copy>(
    all: &[T],
    word: impl Fn(T) -> &'static str,
    text: &str,
    column: &str,
) -> Result<T, StoreError> {
    all.iter().copied().find(|value| word(*value) == text).ok_or_else(|| unreadable(column))
}

pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::internal("a value could not be written as JSON"))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable("JSON column"))
}

fn unreadable(column: &str) -> StoreError {
    StoreError::Internal(format!("{column} of a row holds what this program cannot read"))
}
