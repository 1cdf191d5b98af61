//! Going on after a commit whose record was lost, and what a cancellation or a retry may then do.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use rightful::{
    domain::request::{Outcome, Request, RunCode, Status, StepState},
    service::Pacing,
};
use serde_json::json;

use super::{PLAN, SCHEMA, code, count, pacing};
use crate::{
    store::support::raw,
    support::{
        app::eventually,
        faulty::{
            Fault::{self, LostReply},
            Faults,
        },
        harness::Harness,
        stores::{TestStore, sqlite_store, stores},
        targets::{Dialect, Target, target, targets},
    },
};

/// A harness on one target whose commits can be made to go wrong; a batch is one row.
pub async fn faulty(target: &Target, schema: &str, plan: &str) -> (Harness, Faults, TestStore) {
    target.execute(schema);
    let store = sqlite_store().await;
    let pacing = Pacing { max_rows: 1, ..pacing() };
    let (harness, faults) = Harness::faulty(store.store.clone(), &[("shop", &target.url)], pacing);
    harness.register(plan).await.unwrap_or_else(|faults| panic!("{faults}"));
    (harness, faults, store)
}

fn step<'a>(request: &'a Request, name: &str) -> &'a StepState {
    request.steps.iter().find(|step| step.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_first_books_what_was_done() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
        assert_eq!((count(&target, "visits"), step(&request, "shop.visits").rows_affected), (2, 0));
        assert_eq!(harness.cancel(id).await.status(), Status::InProgress, "something is to be booked");
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Partial), "{:?}", request.state);
        assert_eq!(request.status(), Status::Cancelled);
        assert_eq!(step(&request, "shop.visits").rows_affected, 1, "{:?}", target.dialect);
        assert_eq!(count(&target, "users"), 2);
    }
}

/// The rows through which the rest is found are gone, but nobody booked it before the cancellation.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_does_not_strand_what_only_the_sealed_keys_find() {
    for target in targets() {
        let schema = "CREATE TABLE addresses (id INTEGER PRIMARY KEY);
            CREATE TABLE users (id INTEGER PRIMARY KEY, address_id INTEGER REFERENCES addresses (id));
            INSERT INTO addresses VALUES (7), (8);
            INSERT INTO users VALUES (1, 7), (2, 8);";
        let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    addresses:
      match: { id: users.address_id }
      erase: delete_if_unreferenced
    users:
      erase: delete
";
        let (harness, faults, _store) = faulty(&target, schema, plan).await;
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
        assert_eq!((count(&target, "users"), count(&target, "addresses")), (1, 2), "the person goes first");
        harness.cancel(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(target.rows("SELECT id FROM addresses"), vec![vec![Some("8".to_owned())]]);
    }
}

/// The path to the kept rows was cut in the same transaction: no fresh count finds them any more.
#[tokio::test(flavor = "multi_thread")]
async fn kept_rows_are_told_of_after_a_commit_whose_record_was_lost() {
    for target in targets() {
        target.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id));
            CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id));
            INSERT INTO users VALUES (1), (2);
            INSERT INTO orders VALUES (10, 1), (20, 2);
            INSERT INTO items VALUES (100, 10), (101, 10), (200, 20);",
        );
        let plan = "plan: customer
subject: { user_id: shop.users.id }
connections:
  shop:
    users: { erase: delete }
    orders: { match: { user_id: users.id }, erase: { mask: { user_id: null_rewrite }, basis: accounting } }
    items: { match: { order_id: orders.id }, erase: { keep: part of the invoice } }
";
        let store = sqlite_store().await;
        // All of the person fits one batch.
        let pacing = Pacing { max_rows: 100, ..pacing() };
        let (harness, faults) = Harness::faulty(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(plan).await.unwrap();
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(code(&harness.run(id).await), Some(RunCode::ConnectionUnavailable));
        assert_eq!(count(&target, "users"), 1, "it was committed");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
        assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", target.dialect);
        let items = step(&request, "shop.items");
        assert_eq!((items.rows_matched, items.rows_withheld, items.rows_affected), (Some(2), 2, 0));
    }
}

/// A schema that no longer fits may never fit again: what is recorded is all that can be known.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_schema_has_gone_can_be_cancelled() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.next(&[Fault::None, LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("ALTER TABLE visits RENAME COLUMN user_id TO person_id;");
        harness.make_due(id).await;
        assert_eq!(code(&harness.run(id).await), Some(RunCode::SchemaChanged));
        harness.cancel(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Cancelled, "{:?}", request.state);
    }
}

/// The commit whose record was lost is not the last attempt's: that one stopped before it could look.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_booked_by_whoever_gets_to_it() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("ALTER TABLE visits RENAME COLUMN user_id TO person_id;");
        harness.make_due(id).await;
        assert_eq!(code(&harness.run(id).await), Some(RunCode::SchemaChanged));
        target.execute("ALTER TABLE visits RENAME COLUMN person_id TO user_id;");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let visits = step(&request, "shop.visits");
        assert_eq!((visits.rows_matched, visits.rows_affected), (Some(2), 2), "{:?}", target.dialect);
    }
}

/// The first batch was booked before the second one's reply was lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_booked_before_a_loss_is_not_booked_again() {
    for target in targets() {
        let schema = format!("{SCHEMA} INSERT INTO visits VALUES (12, 1), (13, 1);");
        let (harness, faults, _store) = faulty(&target, &schema, PLAN).await;
        faults.next(&[Fault::None, Fault::None, LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}", request.state);
        assert_eq!((count(&target, "visits"), step(&request, "shop.visits").rows_affected), (2, 2));
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let visits = step(&request, "shop.visits");
        assert_eq!((visits.rows_matched, visits.rows_affected), (Some(4), 4), "{:?}", target.dialect);
    }
}

/// The store refuses the event of a batch: then it says nothing of that batch either, and the next attempt finds out.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_audited_is_not_recorded() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        target.execute(SCHEMA);
        let pacing = Pacing { max_rows: 1, ..pacing() };
        let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(PLAN).await.unwrap();
        let (refuse, allow) = match store.is_sqlite() {
            true => (
                "CREATE TRIGGER refuses BEFORE INSERT ON audit_events WHEN NEW.event = 'step.batch'
                 BEGIN SELECT RAISE(ABORT, 'full'); END;",
                "DROP TRIGGER refuses",
            ),
            false => (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''full''; END';
                 CREATE TRIGGER refuses BEFORE INSERT ON audit_events FOR EACH ROW WHEN (NEW.event = 'step.batch')
                 EXECUTE FUNCTION refuse();",
                "DROP TRIGGER refuses ON audit_events",
            ),
        };
        raw(&store, refuse).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::InProgress, "{:?}", request.state);
        assert!(count(&target, "visits") < 3, "a batch is gone");
        assert_eq!(step(&request, "shop.visits").rows_affected, 0, "and not on record");
        raw(&store, allow).await.unwrap();
        raw(&store, "UPDATE requests SET lease_until = created_at").await.unwrap();
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!(step(&request, "shop.visits").rows_affected, 2);
    }
}

/// A failed request gave its locks back, and another request of the person, under another plan, has them now.
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_request_waits_for_the_other_one_of_the_person() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        harness.register(&PLAN.replace("plan: customer", "plan: guest")).await.unwrap();
        faults.next(&[LostReply]);
        let first = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(first).await;
        target.execute("UPDATE users SET email = 'other@example.com' WHERE id = 1;");
        harness.make_due(first).await;
        let request = harness.run(first).await;
        assert_eq!(code(&request), Some(RunCode::SubjectAmbiguous), "{:?}", request.state);
        target.execute("UPDATE users SET email = 'jane@example.com' WHERE id = 1;");
        faults.next(&[Fault::None, LostReply]);
        let second = harness.submit("guest", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(second).await.status(), Status::Paused);
        harness.retry(first).await;
        let request = harness.run(first).await;
        assert_eq!(request.status(), Status::InProgress, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(count(&target, "users"), 2, "the other one is at it");
        harness.make_due(second).await;
        assert_eq!(harness.run(second).await.state.outcome(), Some(Outcome::Done));
        harness.make_due(first).await;
        assert_eq!(harness.run(first).await.status(), Status::Completed, "{:?}", target.dialect);
    }
}

/// The task comes down between the target commit and its record; nobody must go on holding the request.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_an_attempt_that_panics_runs_out() {
    let target = target(Dialect::Sqlite).unwrap();
    target.execute(SCHEMA);
    let store = sqlite_store().await;
    let pacing = Pacing { lease: Duration::from_secs(2), ..pacing() };
    let (harness, faults) = Harness::faulty(store.store.clone(), &[("shop", &target.url)], pacing);
    harness.register(PLAN).await.unwrap();
    faults.next(&[Fault::Panic]);
    let id = harness.submit("customer", json!({ "user_id": 1 })).await;
    assert!(AssertUnwindSafe(harness.run(id)).catch_unwind().await.is_err());
    eventually("the lease has run out", || async {
        harness.run(id).await.state.outcome() == Some(Outcome::Done)
    })
    .await;
    let request = harness.run(id).await;
    assert_eq!(step(&request, "shop.visits").rows_affected, 2);
}

/// The attempt before it said what it would do, met a lock, and took that back: nothing was touched. The next one goes on
/// with the same steps, and its commit is known to be there although nobody booked it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_after_an_attempt_that_touched_nothing_is_not_cancelled_as_nothing() {
    for target in targets() {
        target.execute(SCHEMA);
        let store = sqlite_store().await;
        // All that there is of the person goes in one transaction.
        let pacing = Pacing { max_rows: 100, lease: Duration::from_secs(6), ..pacing() };
        let (harness, faults) = Harness::faulty(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(PLAN).await.unwrap();
        for (person, email, fault) in
            [(1, "jane@example.com", LostReply), (2, "joe@example.com", Fault::Panic)]
        {
            let shown = format!("{:?}, {fault:?}", target.dialect);
            let mut holder = target.session();
            holder.execute(if target.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" });
            holder.execute(&format!("UPDATE visits SET user_id = {person} WHERE user_id = {person}"));
            let id = harness.submit("customer", json!({ "email": email })).await;
            let request = harness.run(id).await;
            assert_eq!(code(&request), Some(RunCode::LockTimeout), "{shown}: {:?}", request.state);
            assert!(!request.touched && step(&request, "shop.visits").started_at.is_some(), "{shown}");
            holder.execute("ROLLBACK");

            faults.next(&[fault]);
            harness.make_due(id).await;
            let panicked = AssertUnwindSafe(harness.run(id)).catch_unwind().await.is_err();
            assert_eq!(panicked, fault == Fault::Panic, "{shown}");
            assert_eq!(count(&target, "users"), 2 - person, "{shown}: it was committed");
            harness.cancel(id).await;
            eventually("it has ended", || async { harness.run(id).await.status().is_end() }).await;
            let request = harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(Outcome::Done), "{shown}: {:?}", request.state);
            let affected: i64 = request.steps.iter().map(|step| step.rows_affected).sum();
            assert_eq!(Some(affected), request.steps.iter().map(|step| step.rows_matched).sum(), "{shown}");
        }
    }
}
