//! Consents: recorded as they are given and withdrawn, and read by whom a decision depends on them (GDPR Art. 7).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Service,
    error::ServiceError,
    holds::{Known, known},
    intake::{CLOCK_SKEW, Idempotency, registered, seal},
    readings::{Reader, open},
};
use crate::{
    domain::{
        audit::ChainHead,
        consent::{Consent, ConsentConfidential, ConsentState, ShownText, Source},
        pseudonym::shown,
        request::{Refusal, Subject},
    },
    points::{self, Point},
    store::{self, ConsentFilter, NewConsent, StoreError, WholeConsent},
};

/// What a person did, as it was told.
pub struct Act {
    pub plan: String,
    pub subject: Subject,
    pub purpose: String,
    pub state: ConsentState,
    pub text: ShownText,
    pub source: Source,
    /// Default now.
    pub at: Option<DateTime<Utc>>,
    pub note: Option<String>,
    pub idempotency: Option<Idempotency>,
}

/// A consent as its reader may see it.
pub struct ConsentReading {
    pub consent: Consent,
    /// `None` for who may not see identities, once the person was erased, or when it was sealed under another
    /// `pseudonym_key`.
    pub confidential: Option<ConsentConfidential>,
    /// Identities and shown pseudonyms.
    pub refs: Vec<(String, String)>,
    pub is_pseudonymised: bool,
}

/// What became of a consent that was told.
pub enum Recorded {
    /// Also whether the person's row was there; `None` when its database could not be asked, or did not say which it is.
    New(ConsentReading, Option<bool>),
    /// The same key and body as before: the same consent.
    Again(ConsentReading),
}

/// Records a consent, sealed and audited in one transaction.
///
/// # Errors
/// When the plan, subject or time is not acceptable, or the idempotency key is taken.
pub async fn record(service: &Service, reader: &Reader, act: Act) -> Result<Recorded, ServiceError> {
    // Before the person is looked for: an erasure that ends meanwhile comes after the act.
    let now = service.clock.now();
    let idempotency = act.idempotency.as_ref();
    if let Some(again) = again(service, reader, idempotency).await? {
        return Ok(Recorded::Again(again));
    }
    let at = match act.at {
        Some(at) if at > now + CLOCK_SKEW => return Err(Refusal::InFuture("at").into()),
        Some(at) => at.min(now),
        None => now,
    };
    let plan = registered(service, &act.plan)?.compiled;
    let Known { refs, found: subject_found, .. } = known(service, &plan, &act.subject).await?;
    let consent = Consent {
        id: service.clock.new_id(),
        plan: act.plan,
        purpose: act.purpose,
        state: act.state,
        text: act.text,
        source: act.source,
        at,
        recorded_by: reader.sub.clone(),
        recorded_at: now,
        head: ChainHead::default(),
    };
    let confidential = ConsentConfidential { subject: act.subject, note: act.note };
    let secrets = seal(service, &confidential)?;
    let key = idempotency.map(|given| (given.key.as_str(), given.fingerprint.as_str()));
    let keys = service.pseudonyms.of(service, now).await?;
    let new = NewConsent { consent, secrets, refs: &refs, keys: &keys, idempotency: key };
    let mut tx = service.store.begin().await?;
    let (consent, confidential) = match tx.record_consent(new).await? {
        store::Recorded::Whole(consent) => (consent, Some(confidential)),
        store::Recorded::Pseudonymised(consent) => (consent, None),
        store::Recorded::IdempotencyConflict => {
            tx.rollback().await?;
            let again = again_under(service, reader, idempotency).await?;
            // Its time was over in this very moment.
            return again.ok_or(ServiceError::Store(StoreError::Busy));
        }
    };
    tx.commit().await?;
    points::reached(Point::ConsentRecorded);
    let is_pseudonymised = confidential.is_none();
    let shown = |(identity, r): (String, String)| Some((identity, keys.shown_of_consent(now, &r)?));
    let refs = refs.into_iter().filter_map(shown).collect();
    Ok(Recorded::New(ConsentReading { consent, confidential, refs, is_pseudonymised }, subject_found))
}

async fn again_under(
    service: &Service,
    reader: &Reader,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Recorded>, ServiceError> {
    Ok(again(service, reader, idempotency).await?.map(Recorded::Again))
}

/// The consent that this principal recorded with this key before.
async fn again(
    service: &Service,
    reader: &Reader,
    idempotency: Option<&Idempotency>,
) -> Result<Option<ConsentReading>, ServiceError> {
    let Some(given) = idempotency else { return Ok(None) };
    let Some((id, fingerprint)) = service.store.find_idempotent_consent(&reader.sub, &given.key).await?
    else {
        return Ok(None);
    };
    if fingerprint != given.fingerprint {
        return Err(ServiceError::IdempotencyKeyReused);
    }
    let whole = service.store.consent(id).await?;
    let whole = whole.ok_or(ServiceError::Internal("an idempotency key has no consent"))?;
    Ok(Some(reading(service, reader, whole)))
}

/// A page of consents, the latest act first. A program sees all of a person whom it names, because a state without another
/// program's withdrawal would be wrong; else what it recorded itself.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    service: &Service,
    reader: &Reader,
    mut filter: ConsentFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<ConsentReading>, ServiceError> {
    if !reader.every_request && filter.subject_refs.is_none() {
        filter.recorded_by = Some(reader.sub.clone());
    }
    let found = service.store.consents(&filter, after, limit).await?;
    Ok(found.into_iter().map(|whole| reading(service, reader, whole)).collect())
}

/// The last act of a person for each purpose, by purpose.
///
/// # Errors
/// When the store does not answer.
pub async fn current(
    service: &Service,
    reader: &Reader,
    subject_refs: &[String],
) -> Result<Vec<ConsentReading>, ServiceError> {
    let found = service.store.current_consents(subject_refs).await?;
    Ok(found.into_iter().map(|whole| reading(service, reader, whole)).collect())
}

fn reading(service: &Service, reader: &Reader, whole: WholeConsent) -> ConsentReading {
    let WholeConsent { consent, secrets, refs } = whole;
    let is_pseudonymised = secrets.is_none();
    let is_own = reader.own && consent.recorded_by == reader.sub;
    let confidential = secrets
        .filter(|_| reader.identities || is_own)
        .and_then(|sealed| open(service, consent.id, &sealed.wrapped_key, &sealed.confidential));
    ConsentReading { consent, confidential, refs: shown(refs), is_pseudonymised }
}
