//! A person whose row changes while a request waits: it finds the row by what it holds by then, or says that it cannot.

use rightful::{
    domain::request::{Kind, Outcome, Request, RunCode, Status},
    service::holds::{HoldReading, end},
};
use serde_json::json;

use super::{
    code, count, harness,
    holds::{hold, reader},
    resume::faulty,
};
use crate::support::{
    faulty::Fault::LostReply,
    harness::Harness,
    stores::stores,
    targets::{Dialect, Target, targets},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
      rectify: [email]
      cascade: true
    visits:
      match: { email: users.email }
      erase: delete
    calls:
      match: { phone: users.phone }
      erase: delete
";

const SCHEMA: &str =
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL, phone VARCHAR(20));
    CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
    CREATE TABLE calls (id INTEGER PRIMARY KEY, phone VARCHAR(20) NOT NULL);
    INSERT INTO users VALUES (1, 'jane@example.com', '1'), (2, 'joe@example.com', '2');
    INSERT INTO visits VALUES (10, 'jane@example.com'), (11, 'jane@example.com'), (20, 'joe@example.com');
    INSERT INTO calls VALUES (10, '1'), (20, '2');";

/// Runs a request up to where it is resolved and has to wait before it touches anything.
async fn resolved(harness: &Harness, target: &Target, id: uuid::Uuid) {
    let mut holder = target.session();
    holder.execute(if target.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" });
    holder.execute("UPDATE visits SET email = 'jane@example.com' WHERE id = 10");
    let paused = harness.run(id).await;
    assert_eq!((paused.status(), code(&paused)), (Status::Paused, Some(RunCode::LockTimeout)), "{paused:?}");
    assert!(paused.resolved && !paused.touched, "{paused:?}");
    holder.execute("ROLLBACK");
}

const CHANGE: &str = "UPDATE users SET phone = '3' WHERE id = 1; UPDATE calls SET phone = '3' WHERE id = 10";

async fn rectify(harness: &Harness) -> Request {
    let changes = json!({ "shop.users": { "email": "jo@example.com" } });
    let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
    harness.run(id).await
}

async fn released(harness: &Harness, placed: &HoldReading, id: uuid::Uuid) -> Request {
    end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
    harness.make_due(id).await;
    harness.run(id).await
}

fn nobody_else_is_gone(target: &Target) {
    for table in ["users", "visits", "calls"] {
        assert_eq!(count(target, table), 1, "{:?}: {table}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_held_finds_the_person_whose_address_was_corrected() {
    for store in stores().await {
        for target in targets() {
            target.execute(SCHEMA);
            let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], super::pacing());
            harness.register(PLAN).await.unwrap();
            let placed = hold(&harness).await;
            let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
            let held = harness.run(id).await;
            assert_eq!((held.status(), held.resolved), (Status::OnHold, false));
            assert_eq!(rectify(&harness).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
            let done = released(&harness, &placed, id).await;
            assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
            nobody_else_is_gone(&target);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_resolved_before_a_correction_is_resolved_anew() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        resolved(&harness, &target, id).await;
        let placed = hold(&harness).await;
        harness.make_due(id).await;
        let held = harness.run(id).await;
        assert_eq!((held.status(), held.resolved, held.touched), (Status::OnHold, true, false), "{held:?}");
        assert_eq!(rectify(&harness).await.state.outcome(), Some(Outcome::Done));
        let done = released(&harness, &placed, id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
        nobody_else_is_gone(&target);
    }
}

/// The application itself gave the person another number.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_the_value_that_the_person_has_when_the_work_begins() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        resolved(&harness, &target, id).await;
        target.execute(CHANGE);
        harness.make_due(id).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
        nobody_else_is_gone(&target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_broke_off_reads_by_the_value_of_its_next_attempt() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.break_off(1);
        let id = harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(id).await.status(), Status::Paused);
        target.execute(CHANGE);
        target.execute("INSERT INTO calls VALUES (30, '3')");
        harness.make_due(id).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{done:?}");
        let calls = done.steps.iter().find(|step| step.name == "shop.calls").unwrap();
        assert_eq!(calls.rows_affected, 2, "{:?}", target.dialect);
    }
}

/// Part of the rows are gone by the old value already: which are left can only be found anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_changes_on_the_way_is_told_and_never_called_done() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(id).await.status(), Status::Paused);
        target.execute(CHANGE);
        harness.make_due(id).await;
        let failed = harness.run(id).await;
        assert_eq!((failed.status(), code(&failed)), (Status::Failed, Some(RunCode::SubjectAmbiguous)));
        assert_eq!(failed.state.outcome(), Some(Outcome::Partial));
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        nobody_else_is_gone(&target);
    }
}
