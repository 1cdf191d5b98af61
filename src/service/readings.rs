//! Readings of requests: a row, what is sealed with it, and who may see which part.

use std::{collections::HashMap, sync::Arc};

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Service, error::ServiceError};
use crate::{
    domain::{
        audit::Event,
        pseudonym::{Ref, compared},
        request::{Confidential, InvalidState, Kind, Places, Request, letter},
        vault::Vault,
    },
    store::{Counts, Package, Page, RequestFilter, SweptRequest, Whole},
};

/// The place under which subject and reason are sealed.
pub const CONFIDENTIAL: &str = "confidential";

/// A caller, as far as the sight of requests goes.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The token's `sub`; also the actor of what the caller does.
    pub sub: String,
    pub every_request: bool,
    /// Subjects and reasons of every request that may be read.
    pub identities: bool,
    /// Its own requests, whole.
    pub own: bool,
}

impl Reader {
    #[must_use]
    pub fn may_read(&self, request: &Request) -> bool {
        self.every_request || self.owns(request)
    }

    #[must_use]
    pub fn sees_identities(&self, request: &Request) -> bool {
        self.identities || self.owns(request)
    }

    fn owns(&self, request: &Request) -> bool {
        // A replay is the run's, whoever asked for that: it holds people whom they may never have named.
        self.own && request.created_by == self.sub && request.answering.replay.is_none()
    }
}

/// A request with all that belongs to it.
#[derive(Clone, PartialEq)]
pub struct Reading {
    pub request: Request,
    /// `None` once it was destroyed, or when it was sealed under another `pseudonym_key`.
    pub confidential: Option<Confidential>,
    /// What is known of the person, by identity.
    pub refs: Vec<Ref>,
    /// Of a completed export.
    pub package: Option<Package>,
    /// What of it has gone, and when.
    pub swept: Option<SweptRequest>,
}

impl Reading {
    /// Where it stands among the open requests.
    pub(super) fn places(&self, vault: &Vault) -> Places {
        match &self.confidential {
            Some(confidential) => confidential.places(vault, &compared(&self.refs)),
            None => Places::new(self.refs.iter().map(|known| known.compared.clone())),
        }
    }

    /// Of a request that was just made: nothing has to be read again.
    #[must_use]
    pub fn of_new(request: Request, confidential: Confidential, mut refs: Vec<Ref>) -> Self {
        refs.sort_by(|one, other| one.identity.cmp(&other.identity));
        Self { request, confidential: Some(confidential), refs, package: None, swept: None }
    }
}

/// One request.
///
/// # Errors
/// `NotFound` also for what the reader may not see.
pub async fn read(service: &Service, reader: &Reader, id: Uuid) -> Result<Reading, ServiceError> {
    let whole = service.store.whole(id).await?;
    let Whole { request, secrets, refs } =
        whole.filter(|whole| reader.may_read(&whole.request)).ok_or(ServiceError::NotFound)?;
    let confidential = secrets.and_then(|(key, text)| open(service, id, &key, &text));
    with_all(service, request, confidential, refs).await
}

/// Adds what only requests have that have ended: the package of an export, and what of it has gone.
async fn with_all(
    service: &Service,
    request: Request,
    confidential: Option<Confidential>,
    refs: Vec<Ref>,
) -> Result<Reading, ServiceError> {
    let has_ended = request.status().is_end();
    let package = match request.kind == Kind::Export && has_ended {
        true => service.store.package(request.id).await?,
        false => None,
    };
    let swept = match confidential.is_none() && has_ended {
        true => service.store.swept_requests(&[request.id]).await?.remove(&request.id),
        false => None,
    };
    Ok(Reading { request, confidential, refs, package, swept })
}

/// What became of a request that was read before: as this process was told, or else as the store has it. What is sealed
/// changes only with the answer and with what people say of their steps, and pseudonyms when the person gets known or
/// another version of the plan is pinned.
///
/// # Errors
/// As [`read`].
pub async fn refresh(
    service: &Service,
    known: Reading,
    told: Option<Arc<Request>>,
) -> Result<Reading, ServiceError> {
    let request = match told {
        // What was told before the last look at the store may be older than that.
        Some(told) if told.head.seq >= known.request.head.seq => Request::clone(&told),
        _ => service.store.request(known.request.id).await?.ok_or(ServiceError::NotFound)?,
    };
    let same_plan = known.request.plan_version == request.plan_version;
    let same_attempt = known.request.resolved == request.resolved && known.request.epoch == request.epoch;
    let refs = match same_plan && same_attempt {
        true => known.refs,
        false => service.store.refs(request.id).await?,
    };
    let said = |request: &Request| request.steps.iter().filter(|step| step.result().is_some()).count();
    let same_texts = known.request.answering == request.answering && said(&known.request) == said(&request);
    let confidential = match same_texts {
        true => known.confidential,
        false => unsealed(service, request.id).await?,
    };
    with_all(service, request, confidential, refs).await
}

/// A page of requests that the reader may see.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    service: &Service,
    reader: &Reader,
    mut filter: RequestFilter,
    page: &Page,
) -> Result<Vec<Reading>, ServiceError> {
    if !reader.every_request {
        filter.created_by = Some(reader.sub.clone());
    }
    let requests = service.store.list(&filter, page).await?;
    let ids: Vec<Uuid> = requests.iter().map(|request| request.id).collect();
    let mut refs = service.store.refs_of(&ids).await?;
    // What nobody here may see is not opened at all.
    let mut sealed = match requests.iter().any(|request| reader.sees_identities(request)) {
        true => service.store.confidential_of(&ids).await?,
        false => HashMap::new(),
    };
    let ended: Vec<Uuid> =
        requests.iter().filter(|request| request.status().is_end()).map(|request| request.id).collect();
    let mut swept = service.store.swept_requests(&ended).await?;
    let reading = |request: Request| Reading {
        confidential: sealed
            .remove(&request.id)
            .and_then(|(key, text)| open(service, request.id, &key, &text)),
        refs: refs.remove(&request.id).unwrap_or_default(),
        // A list shows no packages.
        package: None,
        swept: swept.remove(&request.id),
        request,
    };
    Ok(requests.into_iter().map(reading).collect())
}

/// How many requests the reader may see, of what.
///
/// # Errors
/// When the store does not answer.
pub async fn counts(service: &Service, reader: &Reader) -> Result<Counts, ServiceError> {
    let own = (!reader.every_request).then_some(reader.sub.as_str());
    Ok(service.store.counts(own).await?)
}

/// A draft of the answer to the person.
///
/// # Errors
/// Before the request has ended.
pub async fn letter(service: &Service, reader: &Reader, id: Uuid) -> Result<String, ServiceError> {
    let Reading { request, confidential, .. } = read(service, reader, id).await?;
    let open = InvalidState { status: request.status(), action: "answered" };
    letter::draft(&request, confidential.as_ref()).ok_or_else(|| open.into())
}

/// The audit events of one request after `after_seq`, oldest first.
///
/// # Errors
/// `NotFound` also for what the reader may not see.
pub async fn events(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<Event>, ServiceError> {
    visible(service, reader, id).await?;
    Ok(service.store.request_events(id, after_seq, limit).await?)
}

pub(super) async fn visible(service: &Service, reader: &Reader, id: Uuid) -> Result<Request, ServiceError> {
    let request = service.store.request(id).await?;
    request.filter(|request| reader.may_read(request)).ok_or(ServiceError::NotFound)
}

/// Adds to a row what belongs to it.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn complete(service: &Service, request: Request) -> Result<Reading, ServiceError> {
    let confidential = unsealed(service, request.id).await?;
    let refs = service.store.refs(request.id).await?;
    with_all(service, request, confidential, refs).await
}

/// Subject and reason of a request.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn unsealed(service: &Service, id: Uuid) -> Result<Option<Confidential>, ServiceError> {
    let sealed = service.store.confidential(id).await?;
    Ok(sealed.and_then(|(key, text)| open(service, id, &key, &text)))
}

/// What is sealed with a request or a hold; `None` when that was done under another key.
pub(super) fn open<T: DeserializeOwned>(
    service: &Service,
    id: Uuid,
    wrapped_key: &[u8],
    sealed: &[u8],
) -> Option<T> {
    // They are destroyed.
    if sealed.is_empty() {
        return None;
    }
    let opened = service.vault.unwrap_data_key(wrapped_key).and_then(|key| key.open(sealed, CONFIDENTIAL));
    let Ok(plain) = opened else {
        tracing::error!(%id, "sealed under another pseudonym_key than the configured one");
        return None;
    };
    serde_json::from_slice(&plain).ok()
}
