//! What becomes of single steps: a repeated transaction, nothing to keep, more rows than were counted.

use rightful::{
    domain::request::{Outcome, RunCode, StepStatus},
    service::Pacing,
};
use serde_json::json;

use super::{PLAN, SCHEMA, code, count, harness, pacing, resume::faulty};
use crate::support::{
    faulty::Fault::Deadlock,
    harness::Harness,
    stores::sqlite_store,
    targets::{Dialect, targets},
};

const KEEPING: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    orders:
      match: { user_id: users.id }
      erase: { keep: invoices }
";

const ORDERS: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL);
    INSERT INTO users VALUES (1), (2);
    INSERT INTO orders VALUES (10, 1), (11, 1);";

/// What is kept is more than a batch, so that the person's row goes in a transaction of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_over_the_persons_row_is_repeated() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, ORDERS, KEEPING).await;
        faults.next(&[Deadlock, Deadlock]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", request.state);
        assert_eq!((count(&target, "users"), count(&target, "orders")), (1, 2), "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_keep_is_completed() {
    for target in targets() {
        let (harness, _faults, _store) = faulty(&target, ORDERS, KEEPING).await;
        for (user, outcome, status) in [
            (1, Outcome::DoneWithExceptions, StepStatus::Withheld),
            (2, Outcome::Done, StepStatus::Completed),
        ] {
            let id = harness.submit("customer", json!({ "user_id": user })).await;
            let request = harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(outcome), "{:?}: {:?}", target.dialect, request.state);
            let orders = request.steps.iter().find(|step| step.name == "shop.orders").unwrap();
            assert_eq!((orders.status, orders.rows_remaining), (status, Some(0)), "{:?}", target.dialect);
        }
    }
}

/// What was counted before a pause fitted one batch; what is there afterwards does not.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_during_a_pause_go_in_batches() {
    for target in targets() {
        target.execute(SCHEMA);
        let store = sqlite_store().await;
        let pacing = Pacing { max_rows: 3, ..pacing() };
        let (harness, faults) = Harness::faulty(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(PLAN).await.unwrap();
        // As often as a transaction is tried.
        faults.next(&[Deadlock; 11]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::LockTimeout), "{:?}", request.state);
        target.execute("INSERT INTO visits VALUES (30, 1), (31, 1), (32, 1), (33, 1), (34, 1), (35, 1);");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let visits = request.steps.iter().find(|step| step.name == "shop.visits").unwrap();
        assert_eq!(visits.rows_affected, 8);
        assert!(visits.batches >= 3, "{:?}: {} batches", target.dialect, visits.batches);
    }
}

/// All that there is of the person fits one transaction, which counts before it commits.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_keeps_of_a_small_person_is_never_called_done() {
    for target in targets() {
        let keep = match target.dialect {
            Dialect::Postgres => {
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                 CREATE TRIGGER keeps BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION keep();"
            }
            Dialect::Sqlite => "CREATE TRIGGER keeps BEFORE DELETE ON notes BEGIN SELECT RAISE(IGNORE); END;",
            // Its triggers can only refuse, aloud.
            Dialect::MySql => continue,
        };
        let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL);
            INSERT INTO users VALUES (1); INSERT INTO notes VALUES (10, 1);";
        let plan = KEEPING.replace("orders", "notes").replace("{ keep: invoices }", "delete");
        let (harness, _store) = harness(&target, &format!("{schema} {keep}"), &plan).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::RowsRemaining), "{:?}: {request:?}", target.dialect);
        assert_eq!((count(&target, "users"), count(&target, "notes")), (1, 1), "{:?}", target.dialect);
    }
}

/// A row that goes comes back behind the walk, and once more when that is gone after.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_back_twice_go_in_the_same_attempt() {
    for target in targets() {
        let again = match target.dialect {
            Dialect::Postgres => {
                "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO visits VALUES (-10 * abs(OLD.id), OLD.user_id); RETURN OLD; END';
                 CREATE TRIGGER comes AFTER DELETE ON visits FOR EACH ROW WHEN (OLD.id IN (11, -110)) \
                 EXECUTE FUNCTION again();"
            }
            Dialect::Sqlite => {
                "CREATE TRIGGER comes AFTER DELETE ON visits WHEN OLD.id IN (11, -110) \
                 BEGIN INSERT INTO visits VALUES (-10 * abs(OLD.id), OLD.user_id); END;"
            }
            // Its triggers write to other tables alone.
            Dialect::MySql => continue,
        };
        let index = "CREATE INDEX visits_of ON visits (user_id, id);";
        let (harness, _store) = harness(&target, &format!("{SCHEMA} {index} {again}"), PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        let visits = request.steps.iter().find(|step| step.name == "shop.visits").unwrap();
        assert_eq!((visits.rows_matched, visits.rows_affected), (Some(4), 4), "{:?}", target.dialect);
        assert_eq!((count(&target, "users"), count(&target, "visits")), (1, 1), "{:?}", target.dialect);
    }
}
