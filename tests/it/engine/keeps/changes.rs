//! What has changed by the time that a keep is over: the person, whose row it is, and the schema.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rightful::{
    domain::{
        clock::Clock,
        request::{Outcome, Status},
    },
    service::keeps::reopen,
};
use serde_json::json;

use super::{PLAN, deleted, far, harness, ids, kept, sealed, state};
use crate::support::{stores::sqlite_store, targets::targets};

/// Whoever comes back has new data, which nobody asked to have erased.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_erasure_is_none_of_its_business() {
    for target in targets() {
        let store = sqlite_store().await;
        let harness = harness(&store, &target).await;
        harness.register(&PLAN.replace("10y", "2s")).await.unwrap();
        target.execute("DELETE FROM items; DELETE FROM orders WHERE user_id = 1");
        let order = |id: i32, placed: DateTime<Utc>| {
            let placed = placed.format("%Y-%m-%d %H:%M:%S");
            target.execute(&format!("INSERT INTO orders VALUES ({id}, 1, '{placed}')"));
        };
        let now = Clock.now() + TimeDelta::seconds(1);
        order(30, now);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(state(&request, "shop.orders"), kept(0, 1), "{:?}", target.dialect);
        order(31, now + TimeDelta::seconds(2));
        target.execute("INSERT INTO visits VALUES (3, 1)");
        // Until both are older than two seconds.
        while Clock.now() < now + TimeDelta::seconds(5) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(reopen(&harness.service, Clock.now()).await.unwrap(), 1, "{:?}", target.dialect);
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((ids(&target, "orders"), ids(&target, "visits")), ("20 31".into(), "2 3".into()));
        assert_eq!(state(&request, "shop.orders"), deleted(1));
    }
}

/// The row that the erasure left was given to somebody else: theirs is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_somebody_else_by_now_stay() {
    for target in targets() {
        let store = sqlite_store().await;
        let harness = harness(&store, &target).await;
        harness
            .register(&PLAN.replace("{ mask: { email: { string_rewrite: gone } } }", "{ keep: contract }"))
            .await
            .unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("UPDATE users SET email = 'joan@example.com' WHERE id = 1");
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        reopen(&harness.service, far()).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Failed, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "11 12 20", "{:?}", target.dialect);
        assert!(sealed(&harness, &request).await > 0, "{:?}", target.dialect);
    }
}

/// Ten years are a long time for a schema: what has nothing to do with the rows that were kept may change.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_the_schema_may_have_changed() {
    for target in targets() {
        let store = sqlite_store().await;
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("ALTER TABLE visits ADD COLUMN page VARCHAR(100)");
        target.execute("CREATE TABLE clicks (id INTEGER PRIMARY KEY, visit_id INTEGER)");
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        reopen(&harness.service, far()).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}

/// What the rows are found by must be as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_table_that_has_changed_waits_for_people() {
    for target in targets() {
        let store = sqlite_store().await;
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        target.execute("ALTER TABLE items RENAME TO order_lines");
        reopen(&harness.service, far()).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "11 12 20", "{:?}", target.dialect);
        target.execute("ALTER TABLE order_lines RENAME TO items");
        harness.retry(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}
