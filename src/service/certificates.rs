//! Certificates of requests that have ended: made from the request, its last event and the log whenever one is asked for,
//! so that it needs no key, and can still be had when everything that was sealed with the request is destroyed.

use uuid::Uuid;

use super::{
    Service,
    error::ServiceError,
    readings::{Reader, visible},
};
use crate::domain::{
    audit::Event,
    certificate::{Certificate, FORMAT, Proof, Statement},
    request::InvalidState,
};

/// Why a request that has ended has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    #[error("no signed checkpoint covers its end yet: ask again in a moment")]
    NotYet,
    #[error("no checkpoint of the log is signed that could prove it: the configuration has no evidence.key")]
    NoKey,
    #[error("it ended before there were certificates: the event of its end does not say what became of it")]
    TooOld,
}

/// The certificate of a request that the reader may see.
///
/// # Errors
/// Before the end, and where there is none.
pub async fn of(service: &Service, reader: &Reader, id: Uuid) -> Result<Certificate, ServiceError> {
    let request = visible(service, reader, id).await?;
    let open = InvalidState { status: request.status(), action: "certified" };
    let statement = Statement::of(&request).ok_or(open)?;
    let lost = ServiceError::Internal("the end of a request is not in its stream");
    let event = service.store.end_event(id).await?.ok_or(lost)?;
    // Meanwhile it went on, and came to another end.
    if event.seq > request.head.seq {
        return Err(NoCertificate::NotYet.into());
    }
    match event.details.get("statement") {
        None => return Err(NoCertificate::TooOld.into()),
        Some(bound) if *bound == statement.hash() => {}
        Some(_) => return Err(ServiceError::Internal("a request is not what the event of its end says")),
    }
    let proof = prove(service, &event).await?.to_string();
    Ok(Certificate { format: FORMAT.to_owned(), statement, event, proof })
}

/// That the event is in the log, by the newest checkpoint.
async fn prove(service: &Service, event: &Event) -> Result<Proof, ServiceError> {
    let index = service.store.leaf_index(event.id).await?;
    let newest = service.store.newest_checkpoint().await?;
    let covered = index.zip(newest).filter(|(index, checkpoint)| *index < checkpoint.size);
    let Some((index, checkpoint)) = covered else {
        let is_coming = service.evidence.signer.is_some();
        return Err(if is_coming { NoCertificate::NotYet } else { NoCertificate::NoKey }.into());
    };
    let hashes = service.store.inclusion_proof(index, checkpoint.size).await?;
    let hashes = hashes.ok_or(ServiceError::Internal("an entry of the log has no proof"))?;
    Ok(Proof { index, hashes, checkpoint: checkpoint.note })
}
