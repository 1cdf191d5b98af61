//! The log: chained, append-only, found by person, readable from a copy.

use std::fs;

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt};
use rightful::{
    domain::{
        audit::{Event, EventName, genesis},
        clock::Clock,
        pseudonym::PeriodKeys,
        request::Request,
    },
    store::{EventFilter, EventOrder, EventPage, Head, NewPlan, Store, StoreError},
};
use serde_json::json;

use super::support::{insert, new_request, pairs, raw};
use crate::support::stores::{sqlite_store, stores};

async fn append(store: &Store, mut request: Request, names: &[EventName]) -> Request {
    let mut tx = store.begin().await.unwrap();
    let events = names.iter().map(|name| request.event(*name, "worker:a", json!({ "batch": 1 }))).collect();
    tx.append(&mut request, events).await.unwrap();
    tx.save(&request).await.unwrap();
    tx.commit().await.unwrap();
    request
}

async fn all(store: &Store, filter: EventFilter, order: EventOrder) -> Vec<Event> {
    store.stream_events(filter, order).try_concat().await.unwrap()
}

async fn all_heads(store: &Store) -> Vec<Head> {
    let mut snapshot = store.snapshot().await.unwrap();
    let mut heads = Vec::new();
    loop {
        let chunk = snapshot.next_heads().await.unwrap();
        if chunk.is_empty() {
            return heads;
        }
        heads.extend(chunk);
    }
}

#[tokio::test]
async fn events_form_a_chain_that_ends_in_the_owners_head() {
    for fresh in stores().await {
        let store = &fresh.store;
        let request = insert(store, new_request(), &[]).await;
        let names = [EventName::StepStarted, EventName::StepBatch, EventName::StepCompleted];
        let request = append(store, request, &names).await;
        let events = store.request_events(request.id, 0, 100).await.unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let mut previous = genesis();
        for event in &events {
            assert_eq!(event.prev_hash, previous);
            assert_eq!(event.hash, event.computed_hash());
            previous = event.hash.clone();
        }
        assert_eq!(request.head.hash, previous);
        assert_eq!(store.request(request.id).await.unwrap().unwrap().head, request.head);
        assert_eq!(store.request_events(request.id, 3, 100).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_lies_in_the_log_cannot_be_changed() {
    for fresh in stores().await {
        insert(&fresh.store, new_request(), &[]).await;
        let columns = "id, stream, seq, at, event, actor, details, prev_hash, hash";
        let copy = |id: &str, stream: &str, seq: &str| {
            format!(
                "INTO audit_events ({columns}) SELECT {id}, {stream}, {seq}, at, 'forged', actor, details, \
                 prev_hash, hash FROM audit_events"
            )
        };
        let mut forbidden = vec![
            "UPDATE audit_events SET actor = 'somebody'".to_owned(),
            "UPDATE audit_events SET actor = 'somebody' WHERE seq = 99".to_owned(),
            "DELETE FROM audit_events".to_owned(),
            format!("INSERT {}", copy("'x'", "stream", "seq")),
        ];
        if fresh.is_sqlite() {
            // A WHERE that no row passes never fires SQLite's row triggers, and changes nothing either.
            forbidden.remove(1);
            forbidden.extend([
                format!("INSERT OR REPLACE {}", copy("id", "'other'", "1")),
                format!("INSERT OR REPLACE {}", copy("'x'", "stream", "seq")),
                format!("REPLACE {}", copy("id", "stream", "seq")),
                "UPDATE OR REPLACE audit_events SET id = id".to_owned(),
                format!("PRAGMA recursive_triggers = OFF; REPLACE {}", copy("id", "stream", "seq")),
                format!(
                    "INSERT {} WHERE true ON CONFLICT DO UPDATE SET actor = 'x'",
                    copy("id", "stream", "seq")
                ),
            ]);
        } else {
            forbidden.extend([
                "TRUNCATE audit_events".to_owned(),
                "SET session_replication_role = replica; DELETE FROM audit_events".to_owned(),
                format!("INSERT {} ON CONFLICT (id) DO UPDATE SET actor = 'x'", copy("id", "stream", "seq")),
            ]);
        }
        let before = all(&fresh.store, EventFilter::default(), EventOrder::Chain).await;
        for statement in &forbidden {
            assert!(raw(&fresh, statement).await.is_err(), "{statement} was allowed");
        }
        assert_eq!(all(&fresh.store, EventFilter::default(), EventOrder::Chain).await, before);
    }
}

#[tokio::test]
async fn a_stale_head_cannot_fork_a_chain() {
    for fresh in stores().await {
        let stale = insert(&fresh.store, new_request(), &[]).await;
        append(&fresh.store, stale.clone(), &[EventName::StepStarted]).await;
        let mut stale = stale;
        let mut tx = fresh.store.begin().await.unwrap();
        let event = stale.event(EventName::StepBatch, "worker:b", json!({}));
        assert!(matches!(tx.append(&mut stale, vec![event]).await, Err(StoreError::Internal(_))));
    }
}

#[tokio::test]
async fn filters_find_what_they_name() {
    for fresh in stores().await {
        let store = &fresh.store;
        let a = insert(store, new_request(), &[("email", "jane")]).await;
        let middle = Clock.now() + TimeDelta::microseconds(1);
        let mut b = insert(store, new_request(), &[("email", "joe")]).await;
        let mut tx = store.begin().await.unwrap();
        tx.add_refs(&b, &pairs(&[("user_id", "7")]), &PeriodKeys::default()).await.unwrap();
        tx.commit().await.unwrap();
        b.subject_ref = Some("7".to_owned());
        append(store, b.clone(), &[EventName::SubjectResolved, EventName::StepBatch]).await;

        let count = async |filter: EventFilter| {
            let page = EventPage { limit: 100, before: None };
            let events = store.events(&filter, &page).await.unwrap();
            assert!(events.is_sorted_by_key(|event| std::cmp::Reverse(event.id)));
            events.len()
        };
        let refs = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(count(EventFilter::default()).await, 4);
        assert_eq!(count(EventFilter { request_id: Some(a.id), ..Default::default() }).await, 1);
        assert_eq!(count(EventFilter { event: Some(EventName::StepBatch), ..Default::default() }).await, 1);
        assert_eq!(count(EventFilter { actor: Some("worker:a".to_owned()), ..Default::default() }).await, 2);
        assert_eq!(count(EventFilter { from: Some(middle), ..Default::default() }).await, 3);
        assert_eq!(count(EventFilter { to: Some(middle), ..Default::default() }).await, 1);
        assert_eq!(
            count(EventFilter { subject_refs: refs(&["7"]), ..Default::default() }).await,
            3,
            "before, too"
        );
        assert_eq!(count(EventFilter { subject_refs: refs(&["jane", "7"]), ..Default::default() }).await, 4);
        assert_eq!(count(EventFilter { subject_refs: refs(&[]), ..Default::default() }).await, 0);
    }
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    for fresh in stores().await {
        let store = &fresh.store;
        let request = insert(store, new_request(), &[]).await;
        append(store, request, &[EventName::StepBatch; 11]).await;
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = store.events(&EventFilter::default(), &EventPage { limit: 5, before }).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            seen.extend(page);
        }
        seen.reverse();
        assert_eq!(seen.len(), 12);
        assert_eq!(seen, all(store, EventFilter::default(), EventOrder::Oldest).await);
    }
}

#[tokio::test]
async fn a_long_log_is_read_in_chunks_and_in_the_order_of_the_heads() {
    for fresh in stores().await {
        let store = &fresh.store;
        let mut tx = store.begin().await.unwrap();
        let plan = NewPlan { name: "customer", version: "sha256:1", source: "", compiled: "{}" };
        assert!(tx.register_plan(plan, "system").await.unwrap());
        tx.commit().await.unwrap();
        for _ in 0..3 {
            let request = insert(store, new_request(), &[]).await;
            append(store, request, &[EventName::StepBatch; 399]).await;
        }
        let mut chunks = store.stream_events(EventFilter::default(), EventOrder::Chain);
        let mut events = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.unwrap();
            assert!(chunk.len() <= 500);
            events.extend(chunk);
        }
        assert_eq!(events.len(), 1201);
        assert!(events.is_sorted_by_key(|event| (event.stream.clone(), event.seq)));
        let heads = all_heads(store).await;
        let ends: Vec<_> = events
            .chunk_by(|a, b| a.stream == b.stream)
            .filter_map(|stream| stream.last())
            .map(|last| (last.stream.clone(), last.seq, last.hash.clone()))
            .collect();
        let heads: Vec<_> =
            heads.into_iter().map(|head| (head.stream, head.head.seq, head.head.hash)).collect();
        assert_eq!(heads, ends);
        assert_eq!(heads[0].0, "plan:customer");
    }
}

#[tokio::test]
async fn a_snapshot_does_not_see_what_comes_later() {
    for fresh in stores().await {
        let store = &fresh.store;
        let request = insert(store, new_request(), &[]).await;
        let mut snapshot = store.snapshot().await.unwrap();
        let heads = snapshot.next_heads().await.unwrap();
        append(store, request, &[EventName::StepBatch]).await;
        insert(store, new_request(), &[]).await;
        let events = snapshot.next_events(&EventFilter::default(), EventOrder::Chain).await.unwrap();
        assert_eq!((heads.len(), events.len()), (1, 1));
        assert_eq!(heads[0].head.hash, events[0].hash);
        assert!(snapshot.next_heads().await.unwrap().is_empty());
        snapshot.close().await.unwrap();
        assert_eq!(all_heads(store).await.len(), 2);
    }
}

#[tokio::test]
async fn a_copy_of_the_file_is_read_without_being_touched() {
    let fresh = sqlite_store().await;
    insert(&fresh.store, new_request(), &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let source = fresh.file().unwrap();
    // With the log beside it, as a plain `cp` of a running service's files has it; and checkpointed, alone.
    let with_log = folder.path().join("with-log.db");
    fs::copy(&source, &with_log).unwrap();
    fs::copy(source.with_extension("db-wal"), folder.path().join("with-log.db-wal")).unwrap();
    raw(&fresh, "PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let alone = folder.path().join("alone.db");
    fs::copy(&source, &alone).unwrap();
    let listing = || {
        let mut files: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = listing();
    for copy in [&with_log, &alone] {
        let store = Store::open_read_only(&format!("sqlite:{}", copy.display()), Clock).await.unwrap();
        assert!(store.is_migrated().await.unwrap());
        assert_eq!(all(&store, EventFilter::default(), EventOrder::Chain).await.len(), 1);
        drop(store);
        assert!(listing() == before, "{} or a file beside it was changed", copy.display());
    }
    let live = Store::open_read_only(&fresh.url, Clock).await.unwrap();
    assert_eq!(all_heads(&live).await.len(), 1);
    let absent = folder.path().join("absent.db");
    let missing = Store::open_read_only(&format!("sqlite:{}", absent.display()), Clock).await;
    assert!(matches!(missing, Err(StoreError::Unavailable(_))));
    assert!(!absent.exists());
}
