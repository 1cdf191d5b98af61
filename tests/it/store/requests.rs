//! Requests: what is stored comes back, duplicates and repeated keys are found, the schema repeats the types.

use rightful::{
    domain::{
        clock::Clock,
        pseudonym::{PeriodKeys, compared},
        request::{Outcome, RunCode, State},
    },
    store::{Given, Inserted, StoreError, Taken},
};

use super::support::{cancel, error, insert, new_request, pairs, places, raw, secrets};
use crate::support::stores::stores;

#[tokio::test]
async fn every_state_comes_back_as_it_was_stored() {
    let at = Clock.now();
    let states = [
        State::Approved,
        State::InProgress { error: None, cancelled_by: None },
        State::InProgress {
            error: Some(error(RunCode::RowsRemaining)),
            cancelled_by: Some("bob".to_owned()),
        },
        State::Paused { error: error(RunCode::LockTimeout) },
        State::Completed { finished_at: at, outcome: Outcome::DoneWithExceptions },
        State::Failed { finished_at: at, outcome: Outcome::Partial, error: error(RunCode::SubjectAmbiguous) },
        State::Cancelled { finished_at: at, outcome: Outcome::NothingDone },
    ];
    for fresh in stores().await {
        for state in &states {
            let mut request = insert(&fresh.store, new_request(), &[]).await;
            request.state = state.clone();
            request.started_at = Some(at);
            request.run_at = at;
            request.attempt = 3;
            request.strikes = 2;
            request.failures = 1;
            request.waits = 4;
            request.resolved = true;
            request.touched = true;
            request.subject_ref = Some("ref-root".to_owned());
            request.plan_version = "sha256:2".to_owned();
            request.steps[0].rows_matched = Some(7);
            let mut tx = fresh.store.begin().await.unwrap();
            tx.save(&request).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(fresh.store.request(request.id).await.unwrap(), Some(request));
        }
        assert_eq!(fresh.store.request(Clock.new_id()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_sealed_comes_back_alone_and_by_page() {
    for fresh in stores().await {
        let a = insert(&fresh.store, new_request(), &[("email", "a1"), ("user_id", "a2")]).await.id;
        let b = insert(&fresh.store, new_request(), &[("email", "b1")]).await.id;
        assert_eq!(fresh.store.confidential(a).await.unwrap(), Some((vec![1, 2], vec![3, 4, 5])));
        assert_eq!(fresh.store.confidential_of(&[a, b]).await.unwrap().len(), 2);
        let refs = fresh.store.refs_of(&[a, b]).await.unwrap();
        assert_eq!(compared(&refs[&a]), pairs(&[("email", "a1"), ("user_id", "a2")]));
        assert_eq!(compared(&refs[&b]), pairs(&[("email", "b1")]));
        assert_eq!(fresh.store.confidential(Clock.new_id()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_open_request_of_the_same_person_is_a_duplicate_until_it_ends() {
    for fresh in stores().await {
        let store = &fresh.store;
        let first = insert(store, new_request(), &[("email", "e"), ("user_id", "u")]).await;
        for refs in [pairs(&[("email", "e")]), pairs(&[("phone", "p"), ("user_id", "u")])] {
            let mut tx = store.begin().await.unwrap();
            let (places, keys) = (places(&refs), PeriodKeys::default());
            let given = Given { refs: &refs, places: &places, keys: &keys };
            let inserted =
                tx.insert_request(&mut new_request(), Vec::new(), &secrets(), None, given).await.unwrap();
            assert_eq!(inserted, Inserted::Duplicate(first.id));
            tx.rollback().await.unwrap();
        }
        // Of another plan, or of somebody else, it is none.
        let mut other = new_request();
        other.plan = "newsletter".to_owned();
        insert(store, other, &[("email", "e")]).await;
        insert(store, new_request(), &[("email", "else")]).await;
        cancel(store, first.id).await;
        insert(store, new_request(), &[("email", "e")]).await;
    }
}

#[tokio::test]
async fn a_person_resolved_by_one_identity_is_found_by_another() {
    for fresh in stores().await {
        let store = &fresh.store;
        let first = insert(store, new_request(), &[("email", "e")]).await;
        let mut tx = store.begin().await.unwrap();
        let refs = pairs(&[("email", "e"), ("user_id", "u")]);
        let taken = tx.take_person(&first, &refs, &PeriodKeys::default(), &[], &places(&refs)).await.unwrap();
        assert_eq!(taken, Taken::All);
        tx.commit().await.unwrap();
        assert_eq!(
            compared(&store.refs(first.id).await.unwrap()),
            pairs(&[("email", "e"), ("user_id", "u")])
        );
        let mut tx = store.begin().await.unwrap();
        let refs = pairs(&[("user_id", "u")]);
        let given = Given { refs: &refs, places: &places(&refs), keys: &PeriodKeys::default() };
        let inserted =
            tx.insert_request(&mut new_request(), Vec::new(), &secrets(), None, given).await.unwrap();
        assert_eq!(inserted, Inserted::Duplicate(first.id));
    }
}

#[tokio::test]
async fn a_retried_request_takes_its_place_again_or_names_who_has_it() {
    for fresh in stores().await {
        let store = &fresh.store;
        let refs = pairs(&[("email", "e")]);
        let first = insert(store, new_request(), &[("email", "e")]).await;
        cancel(store, first.id).await;
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.reopen(&first, &places(&refs)).await.unwrap(), None);
        assert_eq!(tx.reopen(&first, &places(&refs)).await.unwrap(), None, "taking it twice is harmless");
        tx.rollback().await.unwrap();
        let second = insert(store, new_request(), &[("email", "e")]).await;
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.reopen(&first, &places(&refs)).await.unwrap(), Some(second.id));
    }
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_its_principal() {
    for fresh in stores().await {
        let store = &fresh.store;
        let mut first = new_request();
        first.created_by = "alice".to_owned();
        let refs = pairs(&[("email", "e")]);
        let (places_of, keys) = (places(&refs), PeriodKeys::default());
        let given = || Given { refs: &refs, places: &places_of, keys: &keys };
        let mut tx = store.begin().await.unwrap();
        let key = Some(("k", "print"));
        let inserted = tx.insert_request(&mut first, Vec::new(), &secrets(), key, given()).await;
        assert_eq!(inserted, Ok(Inserted::Ok));
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let key = Some(("k", "x"));
        let again = tx.insert_request(&mut new_request(), Vec::new(), &secrets(), key, given()).await;
        assert_eq!(again, Ok(Inserted::IdempotencyConflict), "the key is looked at before duplicates");
        tx.rollback().await.unwrap();
        let found = store.find_idempotent("alice", "k").await.unwrap();
        assert_eq!(found, Some((first.id, "print".to_owned())));
        assert_eq!(store.find_idempotent("bob", "k").await.unwrap(), None);
        let mut other = new_request();
        other.created_by = "bob".to_owned();
        let mut tx = store.begin().await.unwrap();
        let nobody = Given { refs: &[], places: &places(&[]), keys: &keys };
        let inserted = tx.insert_request(&mut other, Vec::new(), &secrets(), key, nobody).await;
        assert_eq!(inserted, Ok(Inserted::Ok));
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn one_of_two_requests_holds_a_person_and_half_a_lock_is_none() {
    for fresh in stores().await {
        let store = &fresh.store;
        let a = insert(store, new_request(), &[]).await;
        let b = insert(store, new_request(), &[]).await;
        let refs = |names: &[&str]| {
            names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect::<Vec<_>>()
        };
        let mut tx = store.begin().await.unwrap();
        let all = (true, None);
        assert_eq!(tx.take_locks(&a, &refs(&["x", "y"])).await, Ok(all));
        assert_eq!(tx.take_locks(&a, &refs(&["y", "x"])).await, Ok(all), "a resume takes its own again");
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.take_locks(&b, &refs(&["w", "y"])).await, Ok((false, None)));
        tx.rollback().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.take_locks(&a, &refs(&["w"])).await, Ok(all), "the refused one kept nothing");
        tx.give_back_locks(a.id).await.unwrap();
        assert_eq!(tx.take_locks(&b, &refs(&["w", "y"])).await, Ok(all));
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn key_parts_are_listed_replaced_and_destroyed_by_prefix() {
    for fresh in stores().await {
        let store = &fresh.store;
        let id = insert(store, new_request(), &[]).await.id;
        let other = insert(store, new_request(), &[]).await.id;
        let part = |name: &str, byte: u8| (name.to_owned(), vec![byte; 3]);
        let mut tx = store.begin().await.unwrap();
        tx.put_keys(id, &[part("keys/0/0", 1), part("keys/0/1", 2), part("keys/1/0", 3), part("root", 4)])
            .await
            .unwrap();
        tx.put_keys(id, &[part("keys/0/1", 9)]).await.unwrap();
        tx.put_keys(other, &[part("keys/0/0", 7)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.keys(id, "keys/0/1").await.unwrap(), Some(vec![9; 3]));
        assert_eq!(store.keys(id, "keys/0/7").await.unwrap(), None);
        assert_eq!(store.key_parts(id, "keys/0/").await.unwrap(), ["keys/0/0", "keys/0/1"]);
        let mut tx = store.begin().await.unwrap();
        tx.delete_keys(id, "keys/0/").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.key_parts(id, "").await.unwrap(), ["keys/1/0", "root"]);
        let mut tx = store.begin().await.unwrap();
        tx.delete_keys(id, "").await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.key_parts(id, "").await.unwrap().is_empty());
        assert_eq!(store.key_parts(other, "").await.unwrap(), ["keys/0/0"]);
    }
}

#[tokio::test]
async fn the_schema_refuses_what_the_types_forbid() {
    let forbidden = [
        "status = 'asleep'",
        "kind = 'oblivion'",
        "status = 'completed'",
        "status = 'paused'",
        "finished_at = created_at",
        "outcome = 'done'",
        "status = 'completed', finished_at = created_at, outcome = 'partial'",
        "status = 'failed', finished_at = created_at, outcome = 'partial', error = NULL",
        "lease_until = created_at",
        "epoch = -1",
        "audit_hash = 'short'",
        "plan = NULL",
    ];
    for fresh in stores().await {
        insert(&fresh.store, new_request(), &[]).await;
        for change in forbidden {
            assert!(
                raw(&fresh, &format!("UPDATE requests SET {change}")).await.is_err(),
                "{change} was allowed"
            );
        }
        let orphan = "INSERT INTO subject_locks VALUES ('r', 'nobody')";
        assert!(raw(&fresh, orphan).await.is_err(), "a lock of no request was allowed");
        raw(&fresh, "UPDATE requests SET attempt = 1").await.unwrap();
    }
}

#[tokio::test]
async fn errors_name_no_value() {
    for fresh in stores().await {
        let mut request = insert(&fresh.store, new_request(), &[]).await;
        let mut tx = fresh.store.begin().await.unwrap();
        let nobody = Given { refs: &[], places: &places(&[]), keys: &PeriodKeys::default() };
        let refused =
            tx.insert_request(&mut request, Vec::new(), &secrets(), None, nobody).await.unwrap_err();
        assert!(matches!(refused, StoreError::Internal(_)), "{refused:?}");
        assert!(!refused.to_string().contains(&request.id.to_string()), "{refused}");
    }
}
