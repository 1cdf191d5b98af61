//! The Merkle log: every committed event has one place, and roots and proofs are those that two other implementations
//! of RFC 6962 compute.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use futures::{TryStreamExt, future::join_all};
use rightful::{
    domain::{
        audit::{EventName, unhex},
        clock::Clock,
        tree::Digest,
    },
    store::{EventFilter, EventOrder, Store},
};
use serde_json::json;
use sha2::Sha256;
use tlog_tiles::tlog;

use super::support::{back_before, insert, new_request, raw};
use crate::{
    properties::random::Random,
    support::stores::{TestStore, empty_stores, stores},
};

/// One turn of a sequencer; how many events it gave a place, `None` while another one is at it.
async fn turn(store: &Store, limit: usize) -> Option<usize> {
    let mut tx = store.begin().await.unwrap();
    if !tx.lock_log().await.unwrap() {
        tx.rollback().await.unwrap();
        return None;
    }
    let sequenced = tx.sequence(limit).await.unwrap();
    tx.commit().await.unwrap();
    Some(sequenced.events)
}

async fn sequence_all(store: &Store) {
    while store.log_state().await.unwrap().is_behind {
        turn(store, 7).await;
    }
}

/// The entries of the log by their place, as somebody computes them who has the events: each has one place, and none is
/// left out.
async fn entries(store: &Store) -> Vec<Vec<u8>> {
    let events = store.stream_events(EventFilter::default(), EventOrder::Oldest).try_concat().await.unwrap();
    let mut entries = vec![None; events.len()];
    for event in &events {
        assert_eq!(event.hash, event.computed_hash());
        let place = store.leaf_index(event.id).await.unwrap().expect("a place");
        let before = entries[usize::try_from(place).unwrap()].replace(unhex(&event.hash));
        assert_eq!(before, None, "two events at {place}");
    }
    assert_eq!(store.log_state().await.unwrap().size, events.len() as u64);
    entries.into_iter().flatten().collect()
}

struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

/// Compares roots and proofs of some sizes with those of others.
async fn compare(store: &Store, entries: &[Vec<u8>], random: &mut Random) {
    let mut theirs = Stored(Vec::new());
    let mut roots = Vec::new();
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    roots.push(tree.root());
    for (n, entry) in (0..).zip(entries) {
        let hashes = tlog::stored_hashes(n, entry, &theirs).unwrap();
        theirs.0.extend(hashes);
        tree.push(entry.clone());
        roots.push(tree.root());
    }
    let root_at = |size: usize| tlog::tree_hash(size as u64, &theirs).unwrap();
    let bytes = |digests: &[Digest]| digests.concat();
    let hashes = |digests: &[Digest]| digests.iter().map(|digest| tlog::Hash(*digest)).collect::<Vec<_>>();
    for _ in 0..40 {
        let size = random.between(1, entries.len());
        let root = store.log_root(size as u64).await.unwrap();
        assert_eq!(tlog::Hash(root), root_at(size));
        let own: RootHash<Sha256> = RootHash::new(root.into(), size as u64);
        assert_eq!(own, roots[size]);

        let leaf = random.below(size);
        let proof = store.inclusion_proof(leaf as u64, size as u64).await.unwrap().unwrap();
        let record = tlog::record_hash(&entries[leaf]);
        tlog::check_record(&hashes(&proof), size as u64, root_at(size), leaf as u64, record).unwrap();
        let theirs = InclusionProof::from_bytes(bytes(&proof));
        own.verify_inclusion(&entries[leaf], leaf as u64, &theirs).unwrap();

        let old = random.between(1, size);
        let proof = store.consistency_proof(old as u64, size as u64).await.unwrap().unwrap();
        tlog::check_tree(&hashes(&proof), size as u64, root_at(size), old as u64, root_at(old)).unwrap();
        let theirs = ConsistencyProof::try_from_bytes(bytes(&proof)).unwrap();
        own.verify_consistency(&roots[old], &theirs).unwrap();
    }
    assert_eq!(store.log_root(0).await.unwrap(), tlog::EMPTY_HASH.0);
    let size = entries.len() as u64;
    assert_eq!(store.inclusion_proof(size, size).await.unwrap(), None);
    assert_eq!(store.consistency_proof(size, size - 1).await.unwrap(), None);
    assert!(store.log_root(size + 1).await.is_err(), "it never had that size");
}

/// A few events of one stream.
async fn write(store: &Store, events: usize) {
    let mut request = insert(store, new_request(), &[]).await;
    for _ in 1..events {
        let mut tx = store.begin().await.unwrap();
        let event = request.event(EventName::StepBatch, "worker:a", json!({ "batch": 1 }));
        tx.append(&mut request, vec![event.clone(), event]).await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_of_writers_side_by_side_has_one_place() {
    for fresh in stores().await {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..6)
            .map(|_| {
                let store = fresh.store.clone();
                tokio::spawn(async move {
                    for events in 1..6 {
                        write(&store, events).await;
                    }
                })
            })
            .collect();
        let mut sequencers = Vec::new();
        for _ in 0..2 {
            // As a process of its own has it.
            let store = Store::open(&fresh.url, Clock).await.unwrap();
            let stop = stop.clone();
            sequencers.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) || store.log_state().await.unwrap().is_behind {
                    turn(&store, 5).await;
                    tokio::task::yield_now().await;
                }
            }));
        }
        // And one that is always killed before it has committed.
        for _ in 0..20 {
            let mut tx = fresh.store.begin().await.unwrap();
            if tx.lock_log().await.unwrap() {
                tx.sequence(5).await.unwrap();
            }
            drop(tx);
        }
        for writer in writers {
            writer.await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for sequencer in sequencers {
            sequencer.await.unwrap();
        }
        let entries = entries(&fresh.store).await;
        assert_eq!(entries.len(), 6 * (1 + 3 + 5 + 7 + 9));
        compare(&fresh.store, &entries, &mut Random::new(1)).await;
    }
}

#[tokio::test]
async fn roots_and_proofs_of_small_trees_are_those_of_others() {
    for fresh in stores().await {
        for size in 1..=17_u64 {
            write(&fresh.store, 1).await;
            sequence_all(&fresh.store).await;
            let entries = entries(&fresh.store).await;
            assert_eq!(entries.len() as u64, size);
            compare(&fresh.store, &entries, &mut Random::new(size)).await;
        }
    }
}

#[tokio::test]
async fn an_event_that_commits_later_than_a_younger_one_is_not_skipped() {
    // SQLite lets nobody write beside a transaction that is open.
    for fresh in stores().await.into_iter().filter(|fresh| !fresh.is_sqlite()) {
        let mut older = insert(&fresh.store, new_request(), &[]).await;
        sequence_all(&fresh.store).await;
        let mut tx = fresh.store.begin().await.unwrap();
        let event = older.event(EventName::StepBatch, "worker:a", json!({}));
        tx.append(&mut older, vec![event]).await.unwrap();
        insert(&fresh.store, new_request(), &[]).await;
        sequence_all(&fresh.store).await;
        assert_eq!(fresh.store.log_state().await.unwrap().size, 2, "the younger one");
        tx.save(&older).await.unwrap();
        tx.commit().await.unwrap();
        sequence_all(&fresh.store).await;
        assert_eq!(entries(&fresh.store).await.len(), 3);
    }
}

#[tokio::test]
async fn an_event_with_a_smaller_id_than_one_that_has_a_place_is_not_skipped() {
    // A clock that was set back, or another process.
    let early = "00000000-0000-7000-8000-000000000000";
    for fresh in stores().await {
        write(&fresh.store, 1).await;
        sequence_all(&fresh.store).await;
        let late = format!(
            "INSERT INTO audit_events (id, stream, seq, at, event, actor, details, prev_hash, hash)
             SELECT '{early}', 'plan:early', seq, at, event, actor, details, prev_hash, hash FROM audit_events"
        );
        raw(&fresh, &late).await.unwrap();
        write(&fresh.store, 1).await;
        for (place, behind) in [(1, true), (2, false)] {
            assert_eq!(turn(&fresh.store, 1).await, Some(1), "{place}");
            assert_eq!(fresh.store.log_state().await.unwrap().is_behind, behind);
        }
        let events = fresh.store.stream_events(EventFilter::default(), EventOrder::Oldest);
        let mut places = Vec::new();
        for event in events.try_concat().await.unwrap() {
            places.push(fresh.store.leaf_index(event.id).await.unwrap());
        }
        assert_eq!(places, [Some(1), Some(0), Some(2)]);
    }
}

#[tokio::test]
async fn what_waited_in_a_queue_before_still_waits() {
    for fresh in stores().await {
        write(&fresh.store, 2).await;
        turn(&fresh.store, 2).await;
        back_before(&fresh, 20).await;
        write(&fresh.store, 2).await;
        fresh.store.migrate().await.unwrap();
        write(&fresh.store, 1).await;
        assert_eq!(turn(&fresh.store, 9).await, Some(5));
        assert_eq!(entries(&fresh.store).await.len(), 7);
    }
}

#[tokio::test]
async fn one_sequencer_is_at_it_at_a_time() {
    for fresh in stores().await.into_iter().filter(|fresh| !fresh.is_sqlite()) {
        write(&fresh.store, 1).await;
        let mut tx = fresh.store.begin().await.unwrap();
        assert!(tx.lock_log().await.unwrap());
        assert_eq!(turn(&fresh.store, 5).await, None);
        tx.sequence(5).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(turn(&fresh.store, 5).await, Some(0), "it has its place");
    }
}

#[tokio::test]
async fn what_rolls_back_leaves_nothing_in_the_queue() {
    for fresh in stores().await {
        let mut request = insert(&fresh.store, new_request(), &[]).await;
        sequence_all(&fresh.store).await;
        let mut tx = fresh.store.begin().await.unwrap();
        let event = request.event(EventName::StepBatch, "worker:a", json!({}));
        tx.append(&mut request, vec![event]).await.unwrap();
        tx.rollback().await.unwrap();
        let state = fresh.store.log_state().await.unwrap();
        assert_eq!((state.size, state.is_behind), (1, false));
    }
}

#[tokio::test]
async fn a_store_that_has_events_is_sequenced_from_the_start_in_batches() {
    for fresh in empty_stores().await {
        fresh.store.migrate().await.unwrap();
        back_before(&fresh, 17).await;
        join_all((0..4).map(|_| write(&fresh.store, 3))).await;
        fresh.store.migrate().await.unwrap();
        // What is new meanwhile has to wait for its turn.
        write(&fresh.store, 1).await;
        let mut batches = Vec::new();
        while fresh.store.log_state().await.unwrap().is_behind {
            batches.push(turn(&fresh.store, 8).await.unwrap());
        }
        assert_eq!(batches, [8, 8, 5]);
        let events = fresh.store.stream_events(EventFilter::default(), EventOrder::Oldest);
        for (place, event) in (0_u64..).zip(events.try_concat().await.unwrap()) {
            assert_eq!(fresh.store.leaf_index(event.id).await.unwrap(), Some(place), "the oldest first");
        }
        compare(&fresh.store, &entries(&fresh.store).await, &mut Random::new(2)).await;
    }
}

async fn signed(fresh: &TestStore) {
    let mut tx = fresh.store.begin().await.unwrap();
    let checkpoint =
        rightful::store::Checkpoint { number: 1, size: 1, signed_at: Clock.now(), note: "a note".to_owned() };
    tx.add_checkpoint(&checkpoint).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_lies_in_the_log_and_its_checkpoints_cannot_be_changed() {
    for fresh in stores().await {
        write(&fresh.store, 2).await;
        sequence_all(&fresh.store).await;
        signed(&fresh).await;
        let hashes = if fresh.is_sqlite() { "zeroblob(32)" } else { "decode(repeat('00', 32), 'hex')" };
        let entry = |index: &str, id: &str| {
            format!(
                "INTO log_entries (leaf_index, event_id, hashes) SELECT {index}, {id}, {hashes} FROM log_entries"
            )
        };
        let mut forbidden = vec![
            format!("UPDATE log_entries SET hashes = {hashes}"),
            "UPDATE log_entries SET leaf_index = leaf_index + 9".to_owned(),
            "DELETE FROM log_entries".to_owned(),
            format!("INSERT {}", entry("leaf_index", "'x'")),
            format!("INSERT {}", entry("9", "event_id")),
            "UPDATE checkpoints SET note = 'forged'".to_owned(),
            "DELETE FROM checkpoints".to_owned(),
            "INSERT INTO checkpoints SELECT * FROM checkpoints".to_owned(),
        ];
        if fresh.is_sqlite() {
            forbidden.extend([
                format!("INSERT OR REPLACE {}", entry("leaf_index", "'x'")),
                format!("PRAGMA recursive_triggers = OFF; REPLACE {}", entry("9", "event_id")),
                "REPLACE INTO checkpoints SELECT number, 9, signed_at, 'forged' FROM checkpoints".to_owned(),
            ]);
        } else {
            forbidden.extend([
                "TRUNCATE log_entries".to_owned(),
                "TRUNCATE checkpoints".to_owned(),
                "SET session_replication_role = replica; DELETE FROM log_entries".to_owned(),
                "SET session_replication_role = replica; DELETE FROM checkpoints".to_owned(),
            ]);
        }
        let root = fresh.store.log_root(3).await.unwrap();
        for statement in &forbidden {
            assert!(raw(&fresh, statement).await.is_err(), "{statement} was allowed");
        }
        assert_eq!(fresh.store.log_root(3).await.unwrap(), root);
        assert_eq!(fresh.store.newest_checkpoint().await.unwrap().unwrap().note, "a note");
    }
}
