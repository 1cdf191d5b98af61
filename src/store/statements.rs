//! The statements that several transactions share. They take a shared connection, so that those that do not need
//! each other's answers can be joined into one round trip.

use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::try_join;

use super::{
    StoreError,
    conn::{Conn, each, shared},
    event_columns::EventColumns,
    prepared::Prepared,
    rows::{EventRow, StateRow, cancelled_by, uuid},
    schema::{audit_events, open_requests, request_refs, requests, subject_locks},
    tx::Saved,
};
use crate::domain::{
    audit::{ChainHead, Event, NewEvent},
    clock::Clock,
    pseudonym::PeriodKeys,
    request::{Places, Request, Status},
};

/// Chains events and moves the head.
pub(super) fn chain(
    clock: Clock,
    stream: &str,
    head: &mut ChainHead,
    events: Vec<NewEvent>,
) -> Result<Vec<EventRow>, StoreError> {
    let at = clock.now();
    events
        .into_iter()
        .map(|event| EventRow::of(Event::chained(event, clock.new_id(), stream, at, head)))
        .collect()
}

pub(super) async fn insert_events(conn: &Conn, rows: &[EventRow]) -> Result<(), StoreError> {
    match conn {
        Conn::Sqlite(_) => {
            each!(conn, rows, |row| diesel::insert_into(audit_events::table).values(row));
        }
        Conn::Postgres(c) => {
            EventColumns::of(rows).execute(&mut &**c).await?;
        }
    }
    Ok(())
}

pub(super) async fn save(conn: &Conn, request: &Request) -> Result<Saved, StoreError> {
    let row = StateRow::of(request)?;
    let free = request.lease_until.is_none().then(|| requests::lease_until.eq(None::<NaiveDateTime>));
    let cancel = match cancelled_by(request) {
        Some(by) => Some(requests::cancelled_by.eq(Some(by))),
        None if request.status().is_end() => Some(requests::cancelled_by.eq(None::<&str>)),
        None => None,
    };
    let hold = match request.status() {
        Status::OnHold => Some(requests::hold_id.eq(request.hold.map(|hold| hold.to_string()))),
        status if status.is_end() => Some(requests::hold_id.eq(None::<String>)),
        _ => None,
    };
    let same_claim = requests::id.eq(request.id.to_string()).and(requests::epoch.eq(request.epoch));
    let update = diesel::update(requests::table.filter(same_claim))
        .set((&row, free, cancel, hold))
        .returning((requests::cancelled_by, requests::hold_id));
    let update = Prepared(update);
    let saved: Option<(Option<String>, Option<String>)> =
        shared!(conn, |c| update.get_result(c).await.optional())?;
    let (cancelled_by, hold) = saved.ok_or(StoreError::LeaseLost)?;
    Ok(Saved { cancelled_by, hold: hold.as_deref().map(uuid).transpose()? })
}

pub(super) async fn put_refs(
    conn: &Conn,
    request: &Request,
    refs: &[(String, String)],
    keys: &PeriodKeys,
) -> Result<(), StoreError> {
    let id = &request.id.to_string();
    each!(conn, refs, |named| {
        let row = (
            request_refs::request_id.eq(id),
            request_refs::identity.eq(&named.0),
            request_refs::pseudonym.eq(&named.1),
            request_refs::shown.eq(keys.shown(request.created_at, &named.1)),
        );
        diesel::insert_into(request_refs::table).values(row).on_conflict_do_nothing()
    });
    Ok(())
}

/// Takes the free ones of these places among the open requests and says how many they were.
pub(super) async fn open(
    conn: &Conn,
    request: &Request,
    id: &str,
    places: &Places,
) -> Result<usize, StoreError> {
    Ok(each!(conn, places.all(), |place| {
        let row = (
            open_requests::kind.eq(request.kind.as_str()),
            open_requests::plan.eq(&request.plan),
            open_requests::place.eq(place),
            open_requests::request_id.eq(id),
        );
        diesel::insert_into(open_requests::table).values(row).on_conflict_do_nothing()
    }))
}

pub(super) async fn close(conn: &Conn, id: &str) -> Result<(), StoreError> {
    let open = open_requests::table.filter(open_requests::request_id.eq(id));
    shared!(conn, |c| diesel::delete(open).execute(c).await)?;
    Ok(())
}

/// Takes the free ones of these locks and says how many they were.
pub(super) async fn lock(conn: &Conn, id: &str, pseudonyms: &[&str]) -> Result<usize, StoreError> {
    Ok(each!(conn, pseudonyms, |pseudonym| {
        let row = (subject_locks::pseudonym.eq(*pseudonym), subject_locks::request_id.eq(id));
        diesel::insert_into(subject_locks::table).values(row).on_conflict_do_nothing()
    }))
}

pub(super) async fn unlock(conn: &Conn, id: &str) -> Result<(), StoreError> {
    let locks = subject_locks::table.filter(subject_locks::request_id.eq(id));
    shared!(conn, |c| diesel::delete(locks).execute(c).await)?;
    Ok(())
}

pub(super) async fn release(conn: &Conn, id: &str) -> Result<(), StoreError> {
    try_join!(unlock(conn, id), close(conn, id))?;
    Ok(())
}
