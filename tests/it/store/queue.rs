//! Claims, leases and epochs.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use rightful::{
    domain::{
        audit::EventName,
        certificate::Statement,
        clock::Clock,
        request::{Outcome, RunCode, State, Status},
    },
    store::StoreError,
};
use serde_json::json;

use super::support::{cancel, error, insert, new_request};
use crate::support::stores::stores;

const LEASE: Duration = Duration::from_secs(30);
/// A lease that is over when it begins: as if its worker had died.
const OVER: Duration = Duration::ZERO;

#[tokio::test]
async fn the_oldest_due_request_is_claimed_first_and_once() {
    for fresh in stores().await {
        let store = &fresh.store;
        let mut ids = Vec::new();
        for age in [1, 3, 2] {
            let mut request = new_request();
            request.run_at = Clock.now() - TimeDelta::minutes(age);
            ids.push(insert(store, request, &[]).await.id);
        }
        let mut later = new_request();
        later.run_at = Clock.now() + TimeDelta::hours(1);
        insert(store, later, &[]).await;
        let cancelled = insert(store, new_request(), &[]).await;
        cancel(store, cancelled.id).await;

        for expected in [ids[1], ids[2], ids[0]] {
            let claimed = store.claim(1, "worker:a", LEASE, 8).await.unwrap().taken.pop().unwrap();
            assert_eq!(claimed.request.id, expected);
            assert_eq!(claimed.lease.epoch, 1);
            assert_eq!((claimed.request.attempt, claimed.request.strikes), (1, 1));
            assert!(claimed.request.started_at.is_some());
            assert!(claimed.request.lease_until > Some(Clock.now() + TimeDelta::seconds(20)));
            assert_eq!(store.request(expected).await.unwrap(), Some(claimed.request));
        }
        assert!(store.claim(1, "worker:a", LEASE, 8).await.unwrap().taken.is_empty());
    }
}

#[tokio::test]
async fn several_are_claimed_in_one_go() {
    for fresh in stores().await {
        for _ in 0..5 {
            insert(&fresh.store, new_request(), &[]).await;
        }
        let first = fresh.store.claim(3, "worker:a", LEASE, 8).await.unwrap().taken;
        let second = fresh.store.claim(3, "worker:a", LEASE, 8).await.unwrap().taken;
        assert_eq!((first.len(), second.len()), (3, 2));
        let ids: HashSet<_> = first.iter().chain(&second).map(|claimed| claimed.request.id).collect();
        assert_eq!(ids.len(), 5);
    }
}

#[tokio::test]
async fn a_paused_request_is_claimed_with_its_error_when_its_time_has_come() {
    for fresh in stores().await {
        let store = &fresh.store;
        insert(store, new_request(), &[]).await;
        let claimed = store.claim(1, "worker:a", LEASE, 8).await.unwrap().taken.pop().unwrap();
        let mut request = claimed.request;
        request.state = State::Paused { error: error(RunCode::ConnectionUnavailable) };
        request.run_at = Clock.now() + TimeDelta::hours(1);
        request.lease_until = None;
        let mut tx = store.begin().await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.claim(1, "worker:a", LEASE, 8).await.unwrap().taken.is_empty());
        request.run_at = Clock.now() - TimeDelta::seconds(1);
        let mut tx = store.begin().await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
        let again = store.claim(1, "worker:b", LEASE, 8).await.unwrap().taken.pop().unwrap();
        assert_eq!(again.request.state.error(), Some(&error(RunCode::ConnectionUnavailable)));
        let events = store.request_events(request.id, 0, 10).await.unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.event.as_str(), &event.details)).collect();
        assert_eq!(told[1], ("request.started", &json!({ "attempt": 1 })));
        assert_eq!(told[2], ("request.resumed", &json!({ "attempt": 2 })));
        assert_eq!(events[2].actor, "worker:b");
    }
}

#[tokio::test]
async fn who_lost_the_lease_writes_nothing() {
    for fresh in stores().await {
        let store = &fresh.store;
        insert(store, new_request(), &[]).await;
        let old = store.claim(1, "worker:a", OVER, 8).await.unwrap().taken.pop().unwrap();
        let new = store.claim(1, "worker:b", LEASE, 8).await.unwrap().taken.pop().unwrap();
        assert_eq!((new.lease.epoch, new.request.attempt, new.request.strikes), (2, 2, 2));
        assert!(!store.renew(&old.lease, LEASE).await.unwrap());

        let mut stale = old.request;
        stale.touched = true;
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.save(&stale).await, Err(StoreError::LeaseLost));
        drop(tx);
        // Nor can it slip an event in: its place in the chain is taken.
        let mut tx = store.begin().await.unwrap();
        let event = stale.event(EventName::StepBatch, "worker:a", json!({}));
        assert!(tx.append(&mut stale, vec![event]).await.is_err());
        drop(tx);
        assert_eq!(store.request(stale.id).await.unwrap(), Some(new.request));
    }
}

#[tokio::test]
async fn a_renewed_lease_holds_and_a_save_does_not_shorten_it() {
    for fresh in stores().await {
        let store = &fresh.store;
        insert(store, new_request(), &[]).await;
        let claimed = store.claim(1, "worker:a", OVER, 8).await.unwrap().taken.pop().unwrap();
        assert!(store.renew(&claimed.lease, LEASE).await.unwrap(), "expired, but nobody else came");
        let mut tx = store.begin().await.unwrap();
        tx.save(&claimed.request).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.claim(1, "worker:b", LEASE, 8).await.unwrap().taken.is_empty());

        let mut request = claimed.request;
        request.lease_until = None;
        request.attempt -= 1;
        let mut tx = store.begin().await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!store.renew(&claimed.lease, LEASE).await.unwrap(), "given back");
        assert_eq!(
            store.claim(1, "worker:b", LEASE, 8).await.unwrap().taken.pop().unwrap().request.attempt,
            1
        );
    }
}

#[tokio::test]
async fn a_request_that_takes_its_workers_down_fails_and_the_search_goes_on() {
    for fresh in stores().await {
        let store = &fresh.store;
        let deadly = insert(store, new_request(), &[("email", "e")]).await;
        for _ in 0..3 {
            assert_eq!(
                store.claim(1, "worker:a", OVER, 3).await.unwrap().taken.pop().unwrap().request.id,
                deadly.id
            );
        }
        let next = insert(store, new_request(), &[]).await;
        let claims = store.claim(1, "worker:a", LEASE, 3).await.unwrap();
        let taken: Vec<_> = claims.taken.iter().map(|claimed| claimed.request.id).collect();
        let given_up: Vec<_> = claims.given_up.iter().map(|request| request.id).collect();
        assert_eq!((taken, given_up), (vec![next.id], vec![deadly.id]));
        let failed = store.request(deadly.id).await.unwrap().unwrap();
        assert_eq!(failed.status(), Status::Failed);
        assert_eq!(failed.state.outcome(), Some(Outcome::NothingDone));
        let why = failed.state.error().unwrap();
        assert_eq!((why.code, why.cause), (RunCode::AttemptsExhausted, Some(RunCode::Internal)));
        let events = store.request_events(deadly.id, 0, 10).await.unwrap();
        let end = store.end_event(deadly.id).await.unwrap().unwrap();
        assert_eq!((events.last(), end.event.as_str()), (Some(&end), "request.failed"));
        assert_eq!(end.details["statement"], Statement::of(&failed).unwrap().hash());
        assert_eq!(events.len(), 5);
        // Its person is free for a new request.
        insert(store, new_request(), &[("email", "e")]).await;
    }
}

#[tokio::test]
async fn crashes_with_progress_in_between_end_no_request() {
    for fresh in stores().await {
        let store = &fresh.store;
        insert(store, new_request(), &[]).await;
        for attempt in 1..=6 {
            let claims = store.claim(1, "worker:a", OVER, 3).await.unwrap();
            let mut request = claims.taken.into_iter().next().expect("it gets on").request;
            assert_eq!((request.attempt, request.strikes), (attempt, 1));
            request.progressed();
            let mut tx = store.begin().await.unwrap();
            tx.save(&request).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
}

/// SQLite has one writer at a time, which another one waits for.
#[tokio::test]
async fn a_row_that_somebody_is_at_is_passed_by() {
    for fresh in stores().await.into_iter().filter(|fresh| !fresh.is_sqlite()) {
        let store = &fresh.store;
        let first = insert(store, new_request(), &[]).await;
        let second = insert(store, new_request(), &[]).await;
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.lock_request(first.id).await.unwrap().map(|locked| locked.id), Some(first.id));
        let claim = store.claim(1, "worker:a", LEASE, 8);
        let claims = tokio::time::timeout(LEASE, claim).await.expect("nobody is waited for").unwrap();
        assert_eq!(claims.taken[0].request.id, second.id);
        tx.rollback().await.unwrap();
        let claims = store.claim(1, "worker:a", LEASE, 8).await.unwrap();
        assert_eq!(claims.taken[0].request.id, first.id);
    }
}

#[tokio::test]
async fn a_cancel_that_was_asked_meanwhile_reaches_the_worker_and_is_not_written_over() {
    for fresh in stores().await {
        let store = &fresh.store;
        let id = insert(store, new_request(), &[]).await.id;
        let mut worker = store.claim(1, "worker:a", LEASE, 8).await.unwrap().taken.pop().unwrap().request;

        let mut tx = store.begin().await.unwrap();
        let mut asked = tx.lock_request(id).await.unwrap().unwrap();
        asked.state = State::InProgress { error: None, cancelled_by: Some("alice".to_owned()) };
        tx.save(&asked).await.unwrap();
        tx.commit().await.unwrap();

        worker.touched = true;
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.save(&worker).await.unwrap().cancelled_by.as_deref(), Some("alice"));
        tx.commit().await.unwrap();
        // Also through a pause and the next claim.
        worker.state = State::Paused { error: error(RunCode::LockTimeout) };
        worker.lease_until = None;
        let mut tx = store.begin().await.unwrap();
        tx.save(&worker).await.unwrap();
        tx.commit().await.unwrap();
        let again = store.claim(1, "worker:b", LEASE, 8).await.unwrap().taken.pop().unwrap();
        let State::InProgress { cancelled_by, .. } = &again.request.state else { panic!() };
        assert_eq!(cancelled_by.as_deref(), Some("alice"));
        cancel(store, id).await;
        assert_eq!(store.request(id).await.unwrap().unwrap().status(), Status::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_never_claim_the_same_request() {
    for fresh in stores().await {
        for _ in 0..40 {
            insert(&fresh.store, new_request(), &[]).await;
        }
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let store = fresh.store.clone();
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    let name = format!("worker:{n}");
                    while let Some(claimed) = store.claim(1, &name, LEASE, 8).await.unwrap().taken.pop() {
                        ids.push(claimed.request.id);
                    }
                    ids
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.await.unwrap());
        }
        assert_eq!(all.len(), 40);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 40);
    }
}
