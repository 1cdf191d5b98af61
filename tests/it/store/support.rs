//! Requests to store.

use std::path::Path;

use chrono::TimeDelta;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use rightful::{
    domain::{
        audit::{ChainHead, EventName},
        clock::Clock,
        pseudonym::PeriodKeys,
        request::{
            Answering, Kind, Outcome, Places, Request, RunCode, RunError, State, StepState, StepStatus,
        },
    },
    store::{Given, Inserted, NewSecrets, Store},
};
use serde_json::json;

use crate::support::stores::TestStore;

/// An approved request, due to be claimed at once.
pub fn new_request() -> Request {
    let now = Clock.now();
    let submitted_at = now - TimeDelta::hours(1);
    Request {
        id: Clock.new_id(),
        kind: Kind::Erasure,
        plan: "customer".to_owned(),
        plan_version: "sha256:1".to_owned(),
        external_id: Some("ZD-1".to_owned()),
        created_by: "alice".to_owned(),
        submitted_at,
        created_at: now,
        answering: Answering::default(),
        started_at: None,
        state: State::Approved,
        run_at: now,
        attempt: 0,
        strikes: 0,
        failures: 0,
        waits: 0,
        epoch: 0,
        lease_until: None,
        resolved: false,
        touched: false,
        hold: None,
        subject_ref: None,
        steps: vec![StepState {
            name: "shop.users".to_owned(),
            action: "delete".to_owned(),
            status: StepStatus::Pending,
            basis: None,
            rows_matched: None,
            rows_affected: 0,
            rows_remaining: None,
            rows_withheld: 0,
            batches: 0,
            started_at: None,
            finished_at: None,
            by_hand: None,
            kept: None,
        }],
        head: ChainHead::default(),
    }
}

pub fn pairs(refs: &[(&str, &str)]) -> Vec<(String, String)> {
    refs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// Where a request about this person stands, unless what it asks for makes it another.
pub fn places(refs: &[(String, String)]) -> Places {
    Places::new(refs.iter().map(|(_, pseudonym)| pseudonym.clone()))
}

pub fn secrets() -> NewSecrets {
    NewSecrets { wrapped_key: vec![1, 2], confidential: vec![3, 4, 5] }
}

/// Stores a request with its first event, as a submission does.
pub async fn insert(store: &Store, mut request: Request, refs: &[(&str, &str)]) -> Request {
    let mut tx = store.begin().await.unwrap();
    let event = request.event(EventName::RequestCreated, "alice", json!({ "plan": request.plan }));
    let refs = pairs(refs);
    let given = Given { refs: &refs, places: &places(&refs), keys: &PeriodKeys::default() };
    let inserted = tx.insert_request(&mut request, vec![event], &secrets(), None, given).await.unwrap();
    assert_eq!(inserted, Inserted::Ok);
    tx.commit().await.unwrap();
    request
}

/// Ends a request as cancelled, with its event, and gives back what it held.
pub async fn cancel(store: &Store, id: uuid::Uuid) {
    let mut tx = store.begin().await.unwrap();
    let mut request = tx.lock_request(id).await.unwrap().unwrap();
    request.state = State::Cancelled { finished_at: Clock.now(), outcome: Outcome::NothingDone };
    request.lease_until = None;
    let event = request.event(EventName::RequestCancelled, "alice", json!({}));
    tx.append(&mut request, vec![event]).await.unwrap();
    tx.save(&request).await.unwrap();
    tx.release(id).await.unwrap();
    tx.commit().await.unwrap();
}

/// SQL past the store, as somebody with the file or the role would run it; the error's text if it is refused.
pub async fn raw(fresh: &TestStore, sql: &str) -> Result<(), String> {
    let done = if fresh.is_sqlite() {
        let path = fresh.file().unwrap();
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute(&format!("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; {sql}"))
    } else {
        let mut conn = AsyncPgConnection::establish(&fresh.url).await.unwrap();
        conn.batch_execute(sql).await
    };
    done.map_err(|error| error.to_string())
}

/// Takes back that migration and all after it.
pub async fn back_before(fresh: &TestStore, version: u32) {
    let database = if fresh.is_sqlite() { "sqlite" } else { "postgres" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let first = format!("{version:04}");
    let mut later: Vec<_> =
        all.filter(|path| path.file_name().unwrap().to_str().unwrap() >= first.as_str()).collect();
    later.sort();
    for migration in later.iter().rev() {
        let down = std::fs::read_to_string(migration.join("down.sql")).unwrap();
        raw(fresh, &down).await.unwrap();
    }
    raw(fresh, &format!("DELETE FROM schema_migrations WHERE version >= {version}")).await.unwrap();
}

pub fn error(code: RunCode) -> RunError {
    RunError {
        code,
        detail: "said so".to_owned(),
        connection: Some("shop".to_owned()),
        step: None,
        cause: None,
    }
}
