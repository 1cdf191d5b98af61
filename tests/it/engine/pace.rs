//! How a batch makes room for those who use the database meanwhile.

use std::{collections::BTreeMap, time::Duration};

use rightful::{domain::request::Outcome, service::Pacing};
use serde_json::json;

use super::{PLAN, SCHEMA, count};
use crate::support::{
    harness::Harness,
    proxy::Proxy,
    stores::sqlite_store,
    targets::{Dialect, Target, target},
};

/// Each statement that deletes visits, with its transaction and its rows.
const STATEMENTS: &str = "CREATE TABLE statements (tx BIGINT, n BIGINT);
    CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO statements SELECT txid_current(), count(*) FROM gone; RETURN NULL; END';
    CREATE TRIGGER tells AFTER DELETE ON visits REFERENCING OLD TABLE AS gone
      FOR EACH STATEMENT EXECUTE FUNCTION told();
    CREATE INDEX visits_of ON visits (user_id, id);
    INSERT INTO visits SELECT n, 1 FROM generate_series(100, 3097) n;";

/// A large step's batches, each with the rows of its statements.
async fn batches(target: &Target, url: &str, pause: f64) -> Vec<Vec<u64>> {
    target.execute(&format!("{SCHEMA} {STATEMENTS}"));
    let store = sqlite_store().await;
    let time_target = Duration::from_secs(60);
    let pacing = Pacing { pause, min_rows: 1, max_rows: 1_000, time_target, ..Pacing::default() };
    let harness = Harness::new(store.store.clone(), &[("shop", url)], pacing);
    harness.register(PLAN).await.unwrap();
    let id = harness.submit("customer", json!({ "user_id": 1 })).await;
    let request = harness.run(id).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{request:?}");
    assert_eq!((count(target, "users"), count(target, "visits")), (1, 1));

    let mut batches: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in target.rows("SELECT tx, n FROM statements WHERE n > 0") {
        let [tx, rows] = row.as_slice() else { panic!("{row:?}") };
        batches.entry(tx.clone().unwrap()).or_default().push(rows.clone().unwrap().parse().unwrap());
    }
    let rows: Vec<u64> = batches.values().map(|statements| statements.iter().sum()).collect();
    assert_eq!(rows, [1_000, 1_000, 1_000], "committed as often as without rests: {batches:?}");
    batches.into_values().collect()
}

/// With a pause a batch consists of several statements, between which it rests; without one, of a single one.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_rests_does_so_between_statements() {
    for (pause, in_parts) in [(0.5, true), (0.0, false)] {
        let Some(target) = target(Dialect::Postgres) else { return };
        let batches = batches(&target, &target.url, pause).await;
        assert!(batches.iter().all(|statements| (statements.len() > 1) == in_parts), "{batches:?}");
    }
}

/// A round of addresses is collected in slices, with rests in between, and there is more than one round.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_looked_for_a_few_at_a_time() {
    const ROWS: usize = 103_000;
    // Where a plan restricts rows by SQL of its own they are always looked for.
    let deletion = ("delete\n      where: \"body <> ''\"", ROWS, 0);
    let mask = ("{ mask: { body: { string_rewrite: gone } } }", 0, ROWS);
    for (action, gone, masked) in [deletion, mask] {
        let Some(target) = target(Dialect::Postgres) else { return };
        target.execute(&format!(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
             CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, body TEXT NOT NULL);
             CREATE INDEX notes_of ON notes (user_id);
             INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
             INSERT INTO notes SELECT n, 1 + n % 2, 'a note' FROM generate_series(1, {ROWS} * 2) n;"
        ));
        let plan = format!(
            "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    notes:
      match: {{ user_id: users.id }}
      erase: {action}
"
        );
        let store = sqlite_store().await;
        let pacing = Pacing { pause: 0.01, long_pause: 0.01, ..Pacing::default() };
        let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(&plan).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{action}: {request:?}");
        assert_eq!(count(&target, "notes"), ROWS * 2 - gone, "{action}");
        assert_eq!(count(&target, "notes WHERE user_id = 1 AND body = 'gone'"), masked, "{action}");
        assert_eq!(count(&target, "notes WHERE user_id = 2 AND body = 'a note'"), ROWS, "{action}");
    }
}

/// Who has most of a table loses it block by block: nothing is collected, and a statement takes no more than it may, although
/// a block holds more.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_mostly_one_persons_is_passed_through_once() {
    const TOLD: &str = "CREATE TABLE statements (n BIGINT, text TEXT);
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN INSERT INTO statements SELECT count(*), current_query() FROM gone; RETURN NULL; END';
        CREATE TRIGGER tells AFTER DELETE ON visits REFERENCING OLD TABLE AS gone
          FOR EACH STATEMENT EXECUTE FUNCTION told();
        CREATE INDEX visits_of ON visits (user_id);
        INSERT INTO visits SELECT n, CASE WHEN n % 3 = 0 THEN 2 ELSE 1 END FROM generate_series(100, 6099) n;
        ANALYZE visits;";
    for pause in [0.0, 0.01] {
        let Some(target) = target(Dialect::Postgres) else { return };
        target.execute(&format!("{SCHEMA} {TOLD}"));
        let store = sqlite_store().await;
        let pacing = Pacing { pause, long_pause: pause, min_rows: 1, max_rows: 100, ..Pacing::default() };
        let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
        harness.register(PLAN).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{request:?}");
        assert_eq!(request.steps[0].rows_affected, 4_002, "{request:?}");
        assert_eq!(count(&target, "visits"), 2_001);
        assert_eq!(count(&target, "visits WHERE user_id = 2"), 2_001);
        assert_eq!(count(&target, "statements WHERE n > 100"), 0);
        assert_eq!(count(&target, "statements WHERE text NOT LIKE '%::tid AND%LIMIT%'"), 0);
    }
}

/// Where a call takes long, much is done with each: by the two milliseconds of a statement alone it would soon be one row.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_a_database_far_away_does_not_become_most_of_the_work() {
    let Some(target) = target(Dialect::Postgres) else { return };
    let proxy = Proxy::before_target(&target).await.unwrap();
    proxy.is_far(Duration::from_millis(20));
    let batches = batches(&target, &proxy.url(&target.url), 0.5).await;
    assert!(batches.iter().map(Vec::len).sum::<usize>() < 60, "{batches:?}");
}
