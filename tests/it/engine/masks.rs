//! Masks whose new values are computed, when rows change behind the walk and commits go wrong.

use rightful::{
    domain::request::{Outcome, RunCode},
    service::Pacing,
};
use serde_json::json;

use super::{code, resume::faulty};
use crate::support::{
    faulty::Fault::{self, Deadlock, LostReply},
    harness::Harness,
    stores::sqlite_store,
    targets::targets,
};

/// Keys in no order of time, as UUIDs are: a row appears before the place where the walk stands, and one that was
/// masked is written again.
#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_the_walk_are_masked_and_masked_ones_are_left_alone() {
    for target in targets() {
        let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE notes (id VARCHAR(10) PRIMARY KEY, user_id INTEGER NOT NULL, body VARCHAR(100));
            INSERT INTO users VALUES (1);
            INSERT INTO notes VALUES ('m1', 1, 'one'), ('m2', 1, 'two'), ('m3', 1, 'three');";
        let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    notes:
      match: { user_id: users.id }
      erase: { mask: { body: { hmac: {} } } }
";
        let (harness, faults, _store) = faulty(&target, schema, plan).await;
        faults.next(&[Fault::None, LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
        let second = target.rows("SELECT body FROM notes WHERE id = 'm2'");
        target.execute(
            "INSERT INTO notes VALUES ('a0', 1, 'zero'); UPDATE notes SET body = 'again' WHERE id = 'm1';",
        );
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        for row in target.rows("SELECT body FROM notes") {
            assert_eq!(row[0].as_ref().unwrap().len(), 64, "{:?}: {row:?}", target.dialect);
        }
        assert_eq!(target.rows("SELECT body FROM notes WHERE id = 'm2'"), second, "masked once");
    }
}

/// The batch in flight belongs to the first alternative, while the second one was walked before.
#[tokio::test(flavor = "multi_thread")]
async fn the_batch_in_flight_is_told_from_earlier_ones() {
    for target in targets() {
        let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE messages (id INTEGER PRIMARY KEY, sender INTEGER, recipient INTEGER, body VARCHAR(100));
            INSERT INTO users VALUES (1);
            INSERT INTO messages VALUES (1, 1, 2, 'sent'), (2, 2, 1, 'received');";
        let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    messages:
      match: [ { sender: users.id }, { recipient: users.id } ]
      erase: { mask: { body: { hmac: {} } } }
";
        let (harness, faults, _store) = faulty(&target, schema, plan).await;
        // One of them finds no row.
        faults.next(&[Fault::None, Fault::None, LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
        target.execute("INSERT INTO messages VALUES (3, 1, 2, 'sent meanwhile');");
        faults.next(&[Deadlock]);
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::LockTimeout), "{:?}", request.state);
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        let messages = request.steps.iter().find(|step| step.name == "shop.messages").unwrap();
        assert_eq!((messages.rows_matched, messages.rows_affected), (Some(3), 3), "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computed_value_beside_columns_that_leave_the_match() {
    let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY);
        CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(100), a INTEGER, b INTEGER,
          FOREIGN KEY (a) REFERENCES users (id), FOREIGN KEY (b) REFERENCES users (id));
        INSERT INTO users VALUES (1), (2);
        INSERT INTO t VALUES (1, 'v', NULL, 1), (2, 'v', 1, NULL), (3, 'w', 1, 1), (4, 'x', 1, 2), (5, 'y', 2, 2);";
    let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    t:
      match: [ { a: users.id }, { b: users.id } ]
      erase: { mask: { v: { hmac: {} }, a: null_rewrite, b: null_rewrite } }
";
    for target in targets() {
        for max_rows in [2, 10_000] {
            target.execute(schema);
            let store = sqlite_store().await;
            let pacing = Pacing { pause: 0.0, min_rows: 1, max_rows, ..Pacing::default() };
            let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
            harness.register(plan).await.unwrap_or_else(|faults| panic!("{faults}"));
            let id = harness.submit("customer", json!({ "user_id": 1 })).await;
            let request = harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", target.dialect);
            assert_eq!(target.rows("SELECT id FROM t WHERE v IN ('v', 'w', 'x')").len(), 0);
            assert_eq!(target.rows("SELECT id FROM t WHERE v = 'y' AND a = 2 AND b = 2").len(), 1);
            assert_eq!(target.rows("SELECT id FROM t WHERE a = 1 OR b = 1").len(), 0);
            target.execute("DROP TABLE t; DROP TABLE users;");
        }
    }
}
