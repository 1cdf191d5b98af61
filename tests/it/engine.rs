//! What a request says when something is in its way, and that it goes on when the cause is gone.

mod agreement;
mod calls;
mod code;
mod consents;
mod follow;
mod holds;
mod identity;
mod keeps;
mod keys;
mod manual;
mod masks;
mod pace;
mod partitions;
mod rectification;
mod rectification_types;
mod resume;
mod steps;

use rightful::{
    domain::request::{Outcome, Request, RunCode, Status},
    service::Pacing,
};
use serde_json::json;

use crate::support::{
    harness::Harness,
    stores::sqlite_store,
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
    visits:
      match: { user_id: users.id }
      erase: delete
";

const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
    CREATE TABLE visits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id));
    INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
    INSERT INTO visits VALUES (10, 1), (11, 1), (20, 2);";

/// Small batches and no rest.
pub fn pacing() -> Pacing {
    Pacing { pause: 0.0, min_rows: 1, max_rows: 2, ..Pacing::default() }
}

/// A harness on a fresh SQLite store with one registered plan, and the store to keep alive.
pub async fn harness(
    target: &Target,
    schema: &str,
    plan: &str,
) -> (Harness, crate::support::stores::TestStore) {
    target.execute(schema);
    let store = sqlite_store().await;
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(plan).await.unwrap_or_else(|faults| panic!("{faults}"));
    (harness, store)
}

fn code(request: &Request) -> Option<RunCode> {
    request.state.error().map(|error| error.code)
}

fn count(target: &Target, table: &str) -> usize {
    target.rows(&format!("SELECT * FROM {table}")).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_fires_pauses_the_request_and_it_goes_on() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        // Appears after the plan was compiled and points at the person's row.
        target.execute("CREATE TABLE late (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id)); INSERT INTO late VALUES (1, 1);");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}: {:?}", target.dialect, request.state);
        assert!(
            matches!(code(&request), Some(RunCode::SchemaChanged | RunCode::ConstraintViolation)),
            "{:?}",
            request.state
        );
        assert_eq!(count(&target, "users"), 2, "nothing half-done");
        target.execute("DROP TABLE late;");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!((count(&target, "users"), count(&target, "visits")), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_changed_pauses_the_request_until_it_fits_again() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        target.execute("ALTER TABLE visits RENAME COLUMN user_id TO person_id;");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::SchemaChanged), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(request.status(), Status::Paused);
        assert_eq!(request.attempt, 0, "a pause uses no attempt");
        target.execute("ALTER TABLE visits RENAME COLUMN person_id TO user_id;");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_trigger_keeps_from_going_are_told_and_never_called_done() {
    for target in targets() {
        let (keep, drop) = match target.dialect {
            Dialect::Postgres => (
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                 CREATE TRIGGER keeps BEFORE DELETE ON visits FOR EACH ROW WHEN (OLD.id = 11) EXECUTE FUNCTION keep();",
                "DROP TRIGGER keeps ON visits",
            ),
            Dialect::Sqlite => (
                "CREATE TRIGGER keeps BEFORE DELETE ON visits WHEN OLD.id = 11 BEGIN SELECT RAISE(IGNORE); END;",
                "DROP TRIGGER keeps",
            ),
            // Its triggers can only refuse, aloud.
            Dialect::MySql => continue,
        };
        let (harness, _store) = harness(&target, &format!("{SCHEMA} {keep}"), PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        let error = request.state.error().expect("an error");
        assert_eq!((error.code, error.step.as_deref()), (RunCode::RowsRemaining, Some("shop.visits")));
        assert_eq!((count(&target, "users"), count(&target, "visits")), (2, 2), "{:?}", target.dialect);
        target.execute(drop);
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((count(&target, "users"), count(&target, "visits")), (1, 1), "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lock_pauses_the_request() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let mut holder = target.session();
        let begin = if target.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        holder.execute(begin);
        holder.execute("UPDATE visits SET user_id = 1 WHERE id = 10");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::LockTimeout), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(request.status(), Status::Paused);
        holder.execute("ROLLBACK");
        drop(holder);
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_down_pauses_the_request() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let gone =
            Harness::new(harness.service.store.clone(), &[("shop", &target.unreachable_url())], pacing());
        let request = gone.run(id).await;
        assert_eq!(
            code(&request),
            Some(RunCode::ConnectionUnavailable),
            "{:?}: {:?}",
            target.dialect,
            request.state
        );
        let error = request.state.error().unwrap();
        assert_eq!(error.connection.as_deref(), Some("shop"));
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_completed_as_no_match() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 99 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::NoMatch), "{:?}", request.state);
        assert_eq!((count(&target, "users"), count(&target, "visits")), (2, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_person_are_still_found() {
    for target in targets() {
        let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
            CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
            INSERT INTO visits VALUES (1, 'gone@example.com'), (2, 'joe@example.com');";
        let plan = PLAN.replace("{ user_id: users.id }", "{ email: users.email }");
        let (harness, _store) = harness(&target, schema, &plan).await;
        let id = harness.submit("customer", json!({ "email": "gone@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!(target.rows("SELECT id FROM visits"), vec![vec![Some("2".to_owned())]]);
    }
}
