//! Submissions: a request, what is sealed with it, and its place among the open ones.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::try_join;
use uuid::Uuid;

use super::{
    StoreError, Tx,
    conn::{Conn, on, shared},
    outbox::Announcement,
    rows::{RequestRow, uuid},
    schema::{idempotency_keys, open_requests, request_secrets, requests},
    statements::{chain, close, insert_events, open, put_refs},
};
use crate::domain::{
    audit::NewEvent,
    pseudonym::PeriodKeys,
    request::{Places, Request},
};

/// What is sealed with a new request.
#[derive(Debug, Clone)]
pub struct NewSecrets {
    /// The request's data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// Subject and reason, sealed under it.
    pub confidential: Vec<u8>,
}

/// The person of a new request, as they are named.
pub struct Given<'a> {
    /// Identities and pseudonyms.
    pub refs: &'a [(String, String)],
    /// What follows from them.
    pub places: &'a Places,
    /// Under which they are shown.
    pub keys: &'a PeriodKeys,
}

/// How [`Tx::insert_request`] went. Anything but `Ok` leaves the transaction to be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    Ok,
    /// This request of the same kind and plan, at the same place, is open.
    Duplicate(Uuid),
    /// The key was used by this principal before: see [`find_idempotent`](super::Store::find_idempotent).
    IdempotencyConflict,
}

impl Tx {
    /// Inserts a request with its first events, in one round trip. The idempotency key is checked before duplicates.
    /// `idempotency` is the key and the body's fingerprint.
    ///
    /// # Errors
    /// `Internal` when the request's id exists.
    pub async fn insert_request(
        &mut self,
        request: &mut Request,
        events: Vec<NewEvent>,
        secrets: &NewSecrets,
        idempotency: Option<(&str, &str)>,
        Given { refs, places, keys }: Given<'_>,
    ) -> Result<Inserted, StoreError> {
        let announcement = Announcement::of(&self.endpoints, self.clock, request, &events);
        let events = chain(self.clock, &request.stream(), &mut request.head, events)?;
        let (id, request) = (request.id.to_string(), &*request);
        let row = RequestRow::of(request)?;
        let sealed = (
            request_secrets::request_id.eq(&id),
            request_secrets::wrapped_key.eq(&secrets.wrapped_key),
            request_secrets::confidential.eq(&secrets.confidential),
        );
        let (conn, start) = self.opening();
        let insert_request = async {
            shared!(conn, |c| diesel::insert_into(requests::table).values(&row).execute(c).await)?;
            Ok(())
        };
        let insert_secrets = async {
            shared!(conn, |c| diesel::insert_into(request_secrets::table).values(sealed).execute(c).await)?;
            Ok(())
        };
        let (_, is_first, taken, ..) = try_join!(
            conn.start(start),
            take_idempotency_key(conn, request, &id, idempotency),
            open(conn, request, &id, places),
            insert_request,
            insert_secrets,
            put_refs(conn, request, refs, keys),
            insert_events(conn, &events),
            announcement.write(conn)
        )?;
        if !is_first {
            return Ok(Inserted::IdempotencyConflict);
        }
        let other = if taken == places.all().len() { None } else { self.reopen(request, places).await? };
        Ok(other.map_or(Inserted::Ok, Inserted::Duplicate))
    }

    /// The wrapped data key of a request and what is sealed under it, as this transaction sees them.
    ///
    /// # Errors
    /// As every statement.
    pub async fn secrets(&mut self, id: Uuid) -> Result<Option<NewSecrets>, StoreError> {
        let query = request_secrets::table
            .find(id.to_string())
            .select((request_secrets::wrapped_key, request_secrets::confidential));
        let row: Option<(Vec<u8>, Vec<u8>)> =
            on!(self.conn().await?, |c| query.get_result(c).await.optional())?;
        Ok(row.map(|(wrapped_key, confidential)| NewSecrets { wrapped_key, confidential }))
    }

    /// Replaces what is sealed with a request.
    ///
    /// # Errors
    /// As every statement.
    pub async fn reseal(&mut self, id: Uuid, confidential: &[u8]) -> Result<(), StoreError> {
        let replace = diesel::update(request_secrets::table.find(id.to_string()))
            .set(request_secrets::confidential.eq(confidential));
        on!(self.conn().await?, |c| replace.execute(c).await)?;
        Ok(())
    }

    /// Makes a request the open one of its kind and plan at its places; `Some` is the other request that is it
    /// already, and then nothing was taken. Needed again when a `retry` opens a request that had ended.
    ///
    /// # Errors
    /// As every statement.
    pub async fn reopen(&mut self, request: &Request, places: &Places) -> Result<Option<Uuid>, StoreError> {
        let id = request.id.to_string();
        loop {
            if open(self.conn().await?, request, &id, places).await? == places.all().len() {
                return Ok(None);
            }
            let taken = open_requests::table
                .filter(open_requests::kind.eq(request.kind.as_str()))
                .filter(open_requests::plan.eq(&request.plan))
                .filter(open_requests::place.eq_any(places.all()));
            let taken = taken.select(open_requests::request_id);
            let holders: Vec<String> = on!(self.conn().await?, |c| taken.load(c).await)?;
            if let Some(other) = holders.iter().find(|holder| **holder != id) {
                close(self.conn().await?, &id).await?;
                return Ok(Some(uuid(other)?));
            }
            if holders.len() == places.all().len() {
                return Ok(None);
            }
            // The other one ended between the two statements: take its place.
        }
    }
}

/// Takes the principal's key; false when it was used before.
async fn take_idempotency_key(
    conn: &Conn,
    request: &Request,
    id: &str,
    idempotency: Option<(&str, &str)>,
) -> Result<bool, StoreError> {
    let Some((key, fingerprint)) = idempotency else { return Ok(true) };
    let row = (
        idempotency_keys::created_by.eq(&request.created_by),
        idempotency_keys::key.eq(key),
        idempotency_keys::fingerprint.eq(fingerprint),
        idempotency_keys::request_id.eq(id),
    );
    let insert = diesel::insert_into(idempotency_keys::table).values(row).on_conflict_do_nothing();
    Ok(shared!(conn, |c| insert.execute(c).await)? == 1)
}
