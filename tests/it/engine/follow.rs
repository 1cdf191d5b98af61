//! A person whose row changes while a request waits: it finds the row by what it holds by then, or says that it cannot.

use rightful::{
    domain::request::{Kind, Outcome, Request, RunCode, Status},
    service::{
        Pacing,
        holds::{HoldReading, end},
    },
};
use serde_json::json;

use super::{
    code, count, harness,
    holds::{hold, reader},
    resume::faulty,
};
use crate::support::{
    faulty::Fault::{self, LostReply},
    harness::Harness,
    stores::{sqlite_store, stores},
    targets::{Dialect, Target, target_like, targets},
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

/// The erasure would look for the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_of_an_identity_waits_for_what_was_submitted_before() {
    for store in stores().await {
        for target in targets() {
            target.execute(SCHEMA);
            let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], super::pacing());
            harness.register(PLAN).await.unwrap();
            let placed = hold(&harness).await;
            let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
            let held = harness.run(id).await;
            assert_eq!((held.status(), held.resolved), (Status::OnHold, false));
            let waiting = rectify(&harness).await;
            assert_eq!(code(&waiting), Some(RunCode::SubjectBusy), "{:?}: {waiting:?}", target.dialect);
            assert!(waiting.state.error().unwrap().detail.contains(&id.to_string()));
            // Others of the person go on meanwhile.
            let export = harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
            assert_eq!(
                harness.run(export).await.state.outcome(),
                Some(Outcome::Done),
                "{:?}",
                target.dialect
            );
            let done = released(&harness, &placed, id).await;
            assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
            nobody_else_is_gone(&target);
            harness.make_due(waiting.id).await;
            assert_eq!(harness.run(waiting.id).await.status(), Status::Completed, "{:?}", target.dialect);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_waits_for_an_erasure_that_was_resolved_and_held() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        resolved(&harness, &target, id).await;
        let placed = hold(&harness).await;
        harness.make_due(id).await;
        let held = harness.run(id).await;
        assert_eq!((held.status(), held.resolved, held.touched), (Status::OnHold, true, false), "{held:?}");
        assert_eq!(code(&rectify(&harness).await), Some(RunCode::SubjectBusy), "{:?}", target.dialect);
        let done = released(&harness, &placed, id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
        nobody_else_is_gone(&target);
    }
}

/// Submitted while the correction was waiting for its turn: nobody has the address any more, or somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_was_changed_after_the_submission_is_looked_for_nowhere() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let first = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(first).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        let failed = harness.run(id).await;
        assert_eq!(code(&failed), Some(RunCode::SubjectAmbiguous), "{:?}: {failed:?}", target.dialect);
        assert!(failed.state.error().unwrap().detail.contains(&first.to_string()));
        // Joe gets the address, and must not be taken for her.
        let changes = json!({ "shop.users": { "email": "jane@example.com" } });
        let second = harness.rectify("customer", json!({ "user_id": 2 }), changes).await.unwrap();
        assert_eq!(harness.run(second).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        harness.retry(id).await;
        assert_eq!(code(&harness.run(id).await), Some(RunCode::SubjectAmbiguous), "{:?}", target.dialect);
        assert_eq!(count(&target, "users"), 2, "{:?}", target.dialect);
        // Whoever names him by it now means him.
        let his = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(his).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        assert_eq!(target.rows("SELECT email FROM users"), [[Some("jo@example.com".to_owned())]]);
        let hers = harness.submit("customer", json!({ "email": "jo@example.com" })).await;
        assert_eq!(harness.run(hers).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        assert_eq!(count(&target, "visits"), 0, "{:?}", target.dialect);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stays_with_its_person_when_the_address_goes_to_another() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let placed = hold(&harness).await;
        for (user, email) in [(1, "jo@example.com"), (2, "jane@example.com")] {
            let changes = json!({ "shop.users": { "email": email } });
            let id = harness.rectify("customer", json!({ "user_id": user }), changes).await.unwrap();
            assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        }
        let other = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(other).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        let id = harness.submit("customer", json!({ "email": "jo@example.com" })).await;
        let held = harness.run(id).await;
        assert_eq!((held.status(), held.hold), (Status::OnHold, Some(placed.hold.id)), "{held:?}");
    }
}

/// Two rows share the address, and the hold knows nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_a_shared_address_keeps_both() {
    let schema = SCHEMA.replace("joe@example.com", "jane@example.com");
    let plan = PLAN.replace(
        "      match: { email: users.email }\n",
        "      match: { email: users.email }\n      shared: true\n",
    );
    for target in targets() {
        let (harness, _store) = harness(&target, &schema, &plan).await;
        hold(&harness).await;
        assert_eq!(rectify(&harness).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        for user in [1, 2] {
            let id = harness.submit("customer", json!({ "user_id": user })).await;
            assert_eq!(harness.run(id).await.status(), Status::OnHold, "{:?}: {user}", target.dialect);
        }
    }
}

/// The mask would overwrite the address, but has not done so yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_mask_will_overwrite_is_compared_until_it_has() {
    let plan = PLAN.replace(
        "    users:\n      erase: delete",
        "    users:\n      erase: { mask: { email: { hmac: {} }, phone: null_rewrite } }",
    );
    for target in targets() {
        target.execute(SCHEMA);
        let store = sqlite_store().await;
        let pacing = Pacing { pause: 0.0, ..Pacing::default() };
        let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(&plan).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        resolved(&harness, &target, id).await;
        target.execute(CHANGE);
        harness.make_due(id).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
        assert_eq!((count(&target, "visits"), count(&target, "calls")), (1, 1), "{:?}", target.dialect);
    }
}

/// Two plans, of which one heeds the case of an address.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_and_a_correction_reach_plans_that_write_the_address_otherwise() {
    let exact = PLAN.replace("plan: customer", "plan: exact").replace("  user_id: shop.users.id\n", "");
    let plan =
        PLAN.replace("  email: shop.users.email", "  email: { column: shop.users.email, ignore_case: true }");
    for target in targets() {
        let schema = SCHEMA.replace("jane@example.com", "Jane@example.com");
        let (harness, _store) = harness(&target, &schema, &plan).await;
        harness.register(&exact).await.unwrap();
        let placed = hold(&harness).await;
        let id = harness.submit("exact", json!({ "email": "Jane@example.com" })).await;
        assert_eq!(harness.run(id).await.status(), Status::OnHold, "{:?}", target.dialect);
        assert_eq!(code(&rectify(&harness).await), Some(RunCode::SubjectBusy), "{:?}", target.dialect);
        let done = released(&harness, &placed, id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", target.dialect);
        nobody_else_is_gone(&target);
    }
}

/// Nobody can tell by which address the copies are found.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_after_a_half_done_correction_asks_for_its_other_half() {
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
  crm:
    contacts:
      match: { email: shop.users.email }
      erase: delete
";
    for shop in targets() {
        let crm = target_like(&shop);
        shop.execute(SCHEMA);
        crm.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email VARCHAR(100));
             INSERT INTO contacts VALUES (1, 'jane@example.com'), (2, 'joe@example.com')",
        );
        let store = sqlite_store().await;
        let connections = [("shop", shop.url.as_str()), ("crm", crm.url.as_str())];
        let (harness, faults) = Harness::faulty(store.store.clone(), &connections, super::pacing());
        harness.register(PLAN).await.unwrap();
        // One database has it, and the other fails as often as it is asked.
        faults.next(&[&[Fault::None][..], &[Fault::Deadlock; 11]].concat());
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let id = harness.rectify("customer", json!({ "user_id": 1 }), changes.clone()).await.unwrap();
        assert_eq!(harness.run(id).await.status(), Status::Paused, "{:?}", shop.dialect);
        let cancelled = harness.cancel(id).await;
        let cancelled = if cancelled.status().is_end() { cancelled } else { harness.run(id).await };
        assert_eq!(cancelled.state.outcome(), Some(Outcome::Partial), "{cancelled:?}");

        let erased = harness.submit("customer", json!({ "user_id": 1 })).await;
        let refused = harness.run(erased).await;
        assert_eq!(code(&refused), Some(RunCode::SubjectAmbiguous), "{:?}: {refused:?}", shop.dialect);
        assert_eq!((count(&shop, "users"), count(&crm, "contacts")), (2, 2));
        let again = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        let again = harness.run(again).await;
        assert_eq!(again.state.outcome(), Some(Outcome::Done), "{:?}: {again:?}", shop.dialect);
        let erased = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(erased).await.state.outcome(), Some(Outcome::Done));
        assert_eq!((count(&shop, "users"), count(&crm, "contacts")), (1, 1), "{:?}", shop.dialect);
    }
}

/// Placed when the correction has been resolved and has not yet written; the other plan knows the address alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_comes_during_a_correction_follows_it() {
    let exact = PLAN.replace("plan: customer", "plan: exact").replace("  user_id: shop.users.id\n", "");
    // SQLite's one writer takes its lock before it is resolved, so that there is no such moment.
    for target in targets().into_iter().filter(|target| target.dialect != Dialect::Sqlite) {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        harness.register(&exact).await.unwrap();
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let correction = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        resolved(&harness, &target, correction).await;
        hold(&harness).await;
        // Whoever names her by what she will have waits, and does not find nobody.
        let early = harness.submit("exact", json!({ "email": "jo@example.com" })).await;
        assert!(!harness.run(early).await.status().is_end(), "{:?}", target.dialect);
        harness.make_due(correction).await;
        assert_eq!(
            harness.run(correction).await.state.outcome(),
            Some(Outcome::Done),
            "{:?}",
            target.dialect
        );
        harness.cancel(early).await;
        let id = harness.submit_as(Kind::Export, "exact", json!({ "email": "jo@example.com" })).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        let id = harness.submit("exact", json!({ "email": "jo@example.com" })).await;
        assert_eq!(harness.run(id).await.status(), Status::OnHold, "{:?}", target.dialect);
    }
}
