//! Readings of the audit log, each of which stands in it: no page, no export and no verdict leaves the service without its
//! event. An event tells what was looked for, never what was found, and no identity: the log keeps it for ever.

use futures::stream::BoxStream;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Service,
    audit::{
        self, Verification,
        verification::{Anchors, Keys, verify_against},
    },
    audit_export::Format,
    audit_summary::{self, Style},
    error::ServiceError,
};
use crate::{
    domain::{
        audit::{Event, EventName, NewEvent, exported::Exported, timestamp},
        summary::Summary,
    },
    store::{EventFilter, EventPage, Store, StoreError, SummaryFilter},
};

/// A person as somebody has named them.
pub struct Person {
    pub plan: String,
    /// Names of the identities that were given.
    pub identities: Vec<String>,
    pub pseudonyms: Vec<String>,
}

/// What was read.
pub enum Reading<'a> {
    Listed(&'a EventFilter),
    /// The events of one request.
    Request(Uuid),
    Searched(&'a Person),
    Exported(Format, &'a EventFilter),
    Verified(&'a Verification),
    Summarised(Style, &'a SummaryFilter),
}

/// A page of events, newest first.
///
/// # Errors
/// When the store does not answer, or cannot be written.
pub async fn list(
    service: &Service,
    reader: &str,
    filter: &EventFilter,
    page: &EventPage,
) -> Result<Vec<Event>, ServiceError> {
    let events = service.store.events(filter, page).await?;
    // Afterwards, so that a page does not begin with itself.
    record(&service.store, reader, Reading::Listed(filter)).await?;
    Ok(events)
}

/// A page of a person's events, newest first.
///
/// # Errors
/// As [`list`].
pub async fn search(
    service: &Service,
    reader: &str,
    person: &Person,
    page: &EventPage,
) -> Result<Vec<Event>, ServiceError> {
    let filter = EventFilter { subject_refs: Some(person.pseudonyms.clone()), ..EventFilter::default() };
    let events = service.store.events(&filter, page).await?;
    record(&service.store, reader, Reading::Searched(person)).await?;
    Ok(events)
}

/// [`audit::export`], which begins only when it is on record that it does: its own event is in it, where it passes the filter.
///
/// # Errors
/// As [`list`].
pub async fn export(
    service: &Service,
    reader: &str,
    format: Format,
    filter: EventFilter,
) -> Result<BoxStream<'static, Result<Vec<Exported>, StoreError>>, ServiceError> {
    record(&service.store, reader, Reading::Exported(format, &filter)).await?;
    Ok(audit::export(&service.store, filter))
}

/// [`verify_against`] the keys that the service signs with.
///
/// # Errors
/// As [`list`].
pub async fn verify(service: &Service, reader: &str) -> Result<Verification, ServiceError> {
    let anchors = Anchors { keys: Keys::of(service), checkpoints: Vec::new() };
    let verification = verify_against(&service.store, &anchors).await?;
    record(&service.store, reader, Reading::Verified(&verification)).await?;
    Ok(verification)
}

/// [`audit_summary::summarise`].
///
/// # Errors
/// As [`list`].
pub async fn summarise(
    service: &Service,
    reader: &str,
    style: Style,
    filter: &SummaryFilter,
) -> Result<Summary, ServiceError> {
    let summary = audit_summary::summarise(service, filter).await?;
    record(&service.store, reader, Reading::Summarised(style, filter)).await?;
    Ok(summary)
}

/// Puts a reading into the log.
///
/// # Errors
/// When the store does not answer, or cannot be written.
pub async fn record(store: &Store, reader: &str, reading: Reading<'_>) -> Result<(), StoreError> {
    let (event, details) = match reading {
        Reading::Listed(filter) => (EventName::AuditRead, Value::Object(filters(store, filter).await?)),
        Reading::Request(id) => (EventName::AuditRead, json!({ "request_id": id })),
        Reading::Searched(person) => {
            (EventName::AuditSearched, json!({ "plan": person.plan, "identities": person.identities }))
        }
        Reading::Exported(format, filter) => {
            let mut details = filters(store, filter).await?;
            details.insert("format".to_owned(), json!(format.as_str()));
            (EventName::AuditExported, Value::Object(details))
        }
        Reading::Verified(Verification::Intact(found)) => {
            (EventName::AuditVerified, json!({ "ok": true, "events": found.events, "head": found.head }))
        }
        Reading::Verified(Verification::Broken(broken)) => {
            (EventName::AuditVerified, json!({ "ok": false, "broken": broken }))
        }
        Reading::Summarised(style, filter) => {
            let mut details = Map::new();
            let times = [("from", filter.from), ("to", filter.to)];
            details.extend(
                times.into_iter().filter_map(|(name, at)| Some((name.to_owned(), json!(timestamp(at?))))),
            );
            if !filter.kind.is_empty() {
                details.insert("kind".to_owned(), json!(filter.kind));
            }
            details.insert("format".to_owned(), json!(style.as_str()));
            (EventName::AuditSummarised, Value::Object(details))
        }
    };
    store.record_reading(NewEvent::new(event, reader, details)).await
}

/// The filters that were used. Where an actor or a pseudonym belongs, somebody may have typed a person's address: what the
/// log does not know, and what is no pseudonym, stands as null.
async fn filters(store: &Store, filter: &EventFilter) -> Result<Map<String, Value>, StoreError> {
    let mut used = Map::new();
    let mut put = |name: &str, value: Option<Value>| used.extend(value.map(|value| (name.to_owned(), value)));
    put("request_id", filter.request_id.map(|id| json!(id)));
    put("event", filter.event.map(|event| json!(event.as_str())));
    put("from", filter.from.map(|at| json!(timestamp(at))));
    put("to", filter.to.map(|at| json!(timestamp(at))));
    put("subject_ref", filter.subject_refs.as_deref().map(known));
    if let Some(actor) = &filter.actor {
        let known = store.knows_actor(actor).await?;
        put("actor", Some(json!(known.then_some(actor))));
    }
    Ok(used)
}

/// The pseudonym that was asked for, where it is somebody's: only then there are others of the same person.
fn known(refs: &[String]) -> Value {
    match refs {
        [given, _, ..] => json!(given),
        _ => Value::Null,
    }
}
