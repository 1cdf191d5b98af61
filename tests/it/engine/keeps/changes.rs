//! What has changed by the time that a keep is over: the person, whose row it is, and the schema.

use rightful::{
    domain::request::{Outcome, Request, Status},
    service::keeps::reopen,
};
use serde_json::json;
use uuid::Uuid;

use super::{deleted, erased, far, harness, ids, kept, state};
use crate::support::{harness::Harness, stores::sqlite_store, targets::targets};

/// Years go by: the request is taken up again, and carried out as far as it goes.
async fn end_keep(harness: &Harness, id: Uuid) -> Request {
    assert_eq!(reopen(&harness.service, far()).await, Ok(1));
    harness.run(id).await
}

/// Whoever comes back has new data, which nobody asked to have erased, however old it says that it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_erasure_is_none_of_its_business() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        target.execute(
            "INSERT INTO orders VALUES (31, 1, '2001-01-01 00:00:00'); INSERT INTO visits VALUES (3, 1);
             INSERT INTO items VALUES (310, 31);
             UPDATE orders SET placed_at = '2002-02-02 00:00:00' WHERE id IN (11, 12)",
        );
        let request = end_keep(&harness, id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((ids(&target, "orders"), ids(&target, "visits")), ("20 31".into(), "2 3".into()));
        assert_eq!((ids(&target, "items"), state(&request, "shop.orders")), ("200 310".into(), deleted(3)));
    }
}

/// A row that moves out of sight is not forgotten: its time, its `where` or whose it is may be another by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_row_that_has_moved_is_told() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        target.execute(
            "UPDATE orders SET placed_at = '2002-02-02 00:00:00' WHERE id = 11;
             UPDATE orders SET placed_at = '2250-02-02 00:00:00' WHERE id = 12",
        );
        let request = end_keep(&harness, id).await;
        assert_eq!(state(&request, "shop.orders"), kept(2, 1), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(request.keep_until().map(|until| until.format("%Y").to_string()).as_deref(), Some("2260"));
        // It is over, and somebody else's by now.
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00', user_id = 2 WHERE id = 12");
        let request = end_keep(&harness, id).await;
        assert_eq!(request.status(), Status::Failed, "{:?}: {:?}", target.dialect, request.state);
        assert!(
            request.state.error().unwrap().detail.contains("1 rows that were kept"),
            "{:?}",
            request.state
        );
        assert_eq!(ids(&target, "orders"), "12 20", "{:?}", target.dialect);
        target.execute("UPDATE orders SET user_id = 1 WHERE id = 12");
        harness.retry(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}

/// The end of time is never over, and such a row is not taken for gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_end_of_time_stays_and_is_counted() {
    for target in targets() {
        let store = sqlite_store().await;
        let harness = harness(&store, &target).await;
        target.execute("UPDATE orders SET placed_at = '9999-12-31 23:59:59' WHERE id = 12");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(state(&request, "shop.orders"), kept(1, 2), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(request.keep_until().map(|until| until.format("%Y").to_string()).as_deref(), Some("2209"));
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00' WHERE id = 11");
        let request = end_keep(&harness, id).await;
        assert_eq!(state(&request, "shop.orders"), kept(2, 1), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((request.keep_until(), ids(&target, "orders")), (None, "12 20".into()));
    }
}

/// The person's row was given to somebody else: theirs is not touched, and what was kept goes all the same.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_somebody_else_by_now_stay() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        target.execute(
            "UPDATE users SET email = 'joan@example.com' WHERE id = 1;
             UPDATE orders SET placed_at = '2002-02-02 00:00:00';
             INSERT INTO orders VALUES (40, 1, '2001-01-01 00:00:00')",
        );
        let request = end_keep(&harness, id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((ids(&target, "orders"), ids(&target, "users")), ("20 40".into(), "1 2".into()));
    }
}

/// Ten years are a long time for a schema: what has nothing to do with the rows that were kept may change.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_the_schema_may_have_changed() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        target.execute("ALTER TABLE visits ADD COLUMN page VARCHAR(100)");
        target.execute("CREATE TABLE clicks (id INTEGER PRIMARY KEY, visit_id INTEGER)");
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        let request = end_keep(&harness, id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}

/// What the rows are found by must be as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_table_that_has_changed_waits_for_people() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        target.execute("ALTER TABLE items RENAME TO order_lines");
        let request = end_keep(&harness, id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "11 12 20", "{:?}", target.dialect);
        target.execute("ALTER TABLE order_lines RENAME TO items");
        harness.retry(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}
