//! Keys that cross connections, and rows that several people share.

use rightful::domain::request::{Outcome, Status};
use serde_json::json;

use super::{count, harness, pacing};
use crate::support::{
    faulty::Fault,
    harness::Harness,
    stores::sqlite_store,
    targets::{target_like, targets},
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_connection_are_read_before_their_rows_go() {
    for shop in targets() {
        let wms = target_like(&shop);
        shop.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100));
             CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id));
             INSERT INTO users VALUES (1, 'a@example.com'), (2, 'b@example.com');",
        );
        wms.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL);");
        // More than one chunk of 1,000 keys.
        let orders: Vec<String> = (1..=2_500).map(|n| format!("({n}, {})", 1 + n % 5 / 4)).collect();
        let parcels: Vec<String> = (1..=2_500).map(|n| format!("({n}, {n})")).collect();
        shop.execute(&format!("INSERT INTO orders VALUES {};", orders.join(", ")));
        wms.execute(&format!("INSERT INTO parcels VALUES {};", parcels.join(", ")));
        let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    orders:
      match: { user_id: users.id }
      erase: delete
  wms:
    parcels:
      match: { order_id: shop.orders.id }
      erase: delete
";
        let store = sqlite_store().await;
        let mut pacing = pacing();
        pacing.max_rows = 700;
        let harness = Harness::new(store.store.clone(), &[("shop", &shop.url), ("wms", &wms.url)], pacing);
        harness.register(plan).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", shop.dialect, request.state);
        assert_eq!((count(&shop, "orders"), count(&wms, "parcels")), (500, 500), "{:?}", shop.dialect);
        let left = wms.rows("SELECT order_id FROM parcels ORDER BY order_id");
        assert_eq!(left, shop.rows("SELECT id FROM orders ORDER BY id"));
        let parts = harness.service.store.key_parts(id, "").await.unwrap();
        assert!(parts.is_empty(), "the sealed keys are destroyed at completion");
    }
}

/// The rows that lead to them are about to go, so that this is the last moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_during_a_pause_under_another_key_goes_too() {
    let plan = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    devices:
      match: { user_id: users.id }
      erase: delete
  crm:
    events:
      match: { tag: shop.devices.tag }
      erase: delete
    tickets:
      match: { user_id: shop.users.id }
      erase: delete
";
    for shop in targets() {
        let crm = target_like(&shop);
        shop.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY);
             CREATE TABLE devices (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, tag VARCHAR(20));
             INSERT INTO users VALUES (1), (2); INSERT INTO devices VALUES (1, 1, 'a'), (2, 2, 'b');",
        );
        crm.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, tag VARCHAR(20));
             CREATE TABLE tickets (id INTEGER PRIMARY KEY, user_id INTEGER);
             INSERT INTO events VALUES (1, 'a'), (2, 'b'); INSERT INTO tickets VALUES (1, 1), (2, 2);",
        );
        let store = sqlite_store().await;
        let connections = [("shop", shop.url.as_str()), ("crm", crm.url.as_str())];
        let (harness, faults) = Harness::faulty(store.store.clone(), &connections, pacing());
        harness.register(plan).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        // One of the two in that database is done, and the other's reply is lost.
        faults.next(&[Fault::None, Fault::None, Fault::LostReply]);
        let paused = harness.run(id).await;
        assert_eq!(paused.status(), Status::Paused, "{:?}: {paused:?}", shop.dialect);
        let verified: Vec<&str> =
            paused.steps.iter().filter(|step| step.is_verified()).map(|step| step.name.as_str()).collect();
        assert_eq!(verified, ["crm.events"], "{:?}", shop.dialect);
        shop.execute("UPDATE devices SET tag = 'c' WHERE id = 1; INSERT INTO devices VALUES (3, 1, 'd')");
        crm.execute("INSERT INTO events VALUES (3, 'c'), (4, 'd')");
        harness.make_due(id).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{:?}: {done:?}", shop.dialect);
        for (target, table) in [(&shop, "users"), (&shop, "devices"), (&crm, "events"), (&crm, "tickets")] {
            assert_eq!(count(target, table), 1, "{:?}: {table}", shop.dialect);
        }
        for step in &done.steps {
            assert_eq!(step.rows_matched, Some(step.rows_affected), "{step:?}");
        }
    }
}

/// Two people share an address; both are erased. Whoever goes last takes it along.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_two_takes_the_shared_row_along() {
    for target in targets() {
        let schema = "CREATE TABLE addresses (id INTEGER PRIMARY KEY, street VARCHAR(100));
            CREATE TABLE users (id INTEGER PRIMARY KEY, address_id INTEGER REFERENCES addresses (id));
            INSERT INTO addresses VALUES (7, 'Main Street');
            INSERT INTO users VALUES (1, 7), (2, 7);";
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
        let (harness, _store) = harness(&target, schema, plan).await;
        let first = harness.submit("customer", json!({ "user_id": 1 })).await;
        let second = harness.submit("customer", json!({ "user_id": 2 })).await;
        let (one, two) = tokio::join!(harness.run(first), harness.run(second));
        let (one, two) = if one.status().is_end() && two.status().is_end() {
            (one, two)
        } else {
            (harness.run(first).await, harness.run(second).await)
        };
        assert_eq!((one.status(), two.status()), (Status::Completed, Status::Completed));
        assert_eq!(count(&target, "addresses"), 0, "{:?}", target.dialect);
        assert_eq!(count(&target, "users"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_row_stays_and_is_reported() {
    for target in targets() {
        let schema = "CREATE TABLE addresses (id INTEGER PRIMARY KEY, street VARCHAR(100));
            CREATE TABLE users (id INTEGER PRIMARY KEY, address_id INTEGER);
            INSERT INTO addresses VALUES (7, 'Main Street');
            INSERT INTO users VALUES (1, 7), (2, 7);";
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
        let (harness, _store) = harness(&target, schema, plan).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", request.state);
        let step = request.steps.iter().find(|step| step.name == "shop.addresses").unwrap();
        assert_eq!((step.rows_matched, step.rows_affected, step.rows_withheld), (Some(1), 0, 1));
        assert_eq!(count(&target, "addresses"), 1);
    }
}
