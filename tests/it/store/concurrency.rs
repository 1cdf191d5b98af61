//! Writers beside each other, and futures that are dropped in the middle.

use std::{collections::HashSet, pin::pin, task::Poll, time::Duration};

use futures::{TryStreamExt, future::join_all};
use rightful::{
    domain::{audit::EventName, pseudonym::PeriodKeys},
    store::{EventFilter, EventOrder, Given, Inserted, Store},
};
use serde_json::json;

use super::support::{insert, new_request, pairs, places, secrets};
use crate::support::stores::stores;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_all_get_through() {
    for fresh in stores().await {
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let store = fresh.store.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        insert(&store, new_request(), &[]).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let events = fresh.store.stream_events(EventFilter::default(), EventOrder::Chain);
        assert_eq!(events.try_concat().await.unwrap().len(), 80);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_equal_submissions_one_is_accepted() {
    for fresh in stores().await {
        // While it is open the others gather behind it, where SQLite commits them together.
        let before = fresh.store.begin().await.unwrap();
        // Half of them are repeats under one key, the others the same person without a key.
        let submissions = (0..8).map(|n| submit_once(&fresh.store, (n % 2 == 0).then_some(("key", "print"))));
        let (done, ended) = futures::join!(join_all(submissions), before.commit());
        ended.unwrap();
        assert_eq!(done.iter().filter(|inserted| **inserted == Inserted::Ok).count(), 1);
    }
}

/// Submits, and looks for the reason of a refusal as soon as it is known.
async fn submit_once(store: &Store, key: Option<(&str, &str)>) -> Inserted {
    let mut request = new_request();
    let refs = pairs(&[("email", "e"), ("user_id", "u")]);
    let mut tx = store.begin().await.unwrap();
    let given = Given { refs: &refs, places: &places(&refs), keys: &PeriodKeys::default() };
    let done = tx.insert_request(&mut request, Vec::new(), &secrets(), key, given).await.unwrap();
    if done == Inserted::Ok {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    match done {
        Inserted::Ok => {}
        Inserted::Duplicate(open) => assert!(store.request(open).await.unwrap().is_some()),
        Inserted::IdempotencyConflict => {
            assert!(store.find_idempotent(&request.created_by, "key").await.unwrap().is_some());
        }
    }
    done
}

/// What a submission does, and then nothing more: its transaction stays open.
async fn submit(store: Store) {
    let mut request = new_request();
    let mut tx = store.begin().await.unwrap();
    let event = request.event(EventName::RequestCreated, "alice", json!({}));
    let refs = pairs(&[("email", "e")]);
    let given = Given { refs: &refs, places: &places(&refs), keys: &PeriodKeys::default() };
    tx.insert_request(&mut request, vec![event], &secrets(), None, given).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_dropped_anywhere_in_a_transaction_leaves_neither_rows_nor_locks() {
    for fresh in stores().await {
        for polls in 1..=25 {
            let mut dropped = Box::pin(submit(fresh.store.clone()));
            let mut left = polls;
            // Dropped after so many polls: somewhere between BEGIN and the last statement.
            let cut = std::future::poll_fn(|context| {
                left -= 1;
                match dropped.as_mut().poll(context) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            });
            let _ = tokio::time::timeout(Duration::from_millis(50), cut).await;
            drop(dropped);
            let next = pin!(insert(&fresh.store, new_request(), &[]));
            let written = tokio::time::timeout(Duration::from_secs(3), next).await;
            assert!(written.is_ok(), "the next writer hung after {polls} polls");
        }
        let events = fresh.store.stream_events(EventFilter::default(), EventOrder::Chain);
        assert_eq!(events.try_concat().await.unwrap().len(), 25, "only the committed ones are there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_task_gives_its_place_in_the_pool_back() {
    for fresh in stores().await {
        // More of them than any pool has connections.
        for _ in 0..20 {
            let task = tokio::spawn(submit(fresh.store.clone()));
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
        }
        let request = insert(&fresh.store, new_request(), &[("email", "e")]).await;
        assert!(fresh.store.request(request.id).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_people_shared_by_two_requests_are_locked_without_deadlock() {
    for fresh in stores().await {
        let mut requests = Vec::new();
        for _ in 0..6 {
            requests.push(insert(&fresh.store, new_request(), &[]).await);
        }
        let mut refs = ["x", "y", "z"].map(|name| (name.to_owned(), name.to_owned()));
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|request| {
                refs.rotate_left(1);
                let (store, refs) = (fresh.store.clone(), refs.clone());
                tokio::spawn(async move {
                    let mut tx = store.begin().await.unwrap();
                    let (all, _) = tx.take_locks(&request, &refs).await.unwrap();
                    if !all {
                        tx.rollback().await.unwrap();
                        return None;
                    }
                    tx.commit().await.unwrap();
                    Some(request.id)
                })
            })
            .collect();
        let mut holders = HashSet::new();
        for task in tasks {
            holders.extend(task.await.unwrap());
        }
        assert_eq!(holders.len(), 1);
    }
}
