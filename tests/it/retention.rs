//! Retention policies on every target: what is old goes, what is held stays, and the counts say so.

mod holds;
mod schedules;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rightful::{
    config,
    domain::{
        clock::Clock,
        request::{Outcome, Status, StepState},
        retention::Policy,
        run::{Params, Run, Task},
    },
    service::{
        Pacing,
        retention::preview,
        runs::{self, Asked, Upkeep, worker::run_one},
    },
    store::StoreError,
};
use tokio::sync::watch;

use crate::support::{
    harness::Harness,
    stores::{TestStore, sqlite_store, stores},
    targets::{Dialect, Target, target, targets},
};

/// The section `retention` of a configuration.
pub fn configured(sections: &str) -> Result<config::Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rightful.yaml");
    let text = format!(
        "auth: {{ issuer: i, audience: a, keys: {{ hmac_secret: 01234567890123456789012345678901 }} }}\n\
         secrets: {{ pseudonym_key: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= }}\n{sections}"
    );
    std::fs::write(&path, text).unwrap();
    config::load(&path)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

pub fn policies(text: &str) -> BTreeMap<String, Policy> {
    configured(&format!("retention:\n  policies:\n{text}")).unwrap().retention.policies
}

pub fn harness(store: &TestStore, target: &Target, policies: BTreeMap<String, Policy>) -> Harness {
    let pacing = Pacing { pause: 0.0, min_rows: 1, max_rows: 100, ..Pacing::default() };
    Harness::new(store.store.clone(), &[("shop", &target.url)], pacing)
        .keeping(Upkeep { policies, ..Upkeep::default() })
}

/// Asks for a run and carries it out as far as it goes.
pub async fn carry_out(harness: &Harness, policy: &str) -> Run {
    let asked = Asked { by: "alice".to_owned(), idempotency_key: None };
    let (run, _) = runs::begin(&harness.service, Task::Retention(policy.to_owned()), asked).await.unwrap();
    go_on(harness, run.id).await
}

pub async fn go_on(harness: &Harness, id: uuid::Uuid) -> Run {
    let (_stop, stopped) = watch::channel(false);
    run_one(&harness.service, id, "worker:test", stopped).await.unwrap()
}

fn counts(step: &StepState) -> (&str, Option<i64>, i64, i64, Option<i64>) {
    (&step.name, step.rows_matched, step.rows_affected, step.rows_withheld, step.rows_remaining)
}

pub fn ids(target: &Target, table: &str) -> String {
    let rows = target.rows(&format!("SELECT id FROM {table} ORDER BY id"));
    rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ")
}

/// Orders 1 to 3 are old, 4 and 5 are not; each has an item of ten times its number.
pub fn shop(target: &Target) {
    target.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
         INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');",
    );
    orders(target);
}

pub fn orders(target: &Target) {
    let time = if target.dialect == Dialect::MySql { "DATETIME" } else { "TIMESTAMP" };
    target.execute(&format!(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, placed {time}, gone {time}, \
            note VARCHAR(50));
         CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id), \
            label VARCHAR(50), FOREIGN KEY (order_id) REFERENCES orders (id));
         INSERT INTO orders VALUES (1, 1, '2001-01-01 00:00:00', NULL, 'a'), (2, 2, '2001-01-01 00:00:00', NULL, 'b'), \
            (3, 1, '2002-02-02 10:00:00', NULL, NULL), (4, 1, '2199-01-01 00:00:00', NULL, 'd'), (5, 2, NULL, NULL, 'e');
         INSERT INTO items VALUES (10, 1, 'x'), (20, 2, 'x'), (30, 3, 'x'), (40, 4, 'x'), (50, 5, 'x');"
    ));
}

const DELETE: &str = "    old_orders:
      connection: shop
      table: orders
      timestamp: placed
      older_than: 2y
      nulls: keep
      action: delete
      children: [items]
      basis: contracts that ended
";

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_with_their_children_and_others_stay() {
    for store in stores().await {
        for target in targets() {
            shop(&target);
            let harness = harness(&store, &target, policies(DELETE));
            let before = preview(&harness.service, "old_orders").await.unwrap();
            let shown: Vec<_> =
                before.tables.iter().map(|table| (table.table.as_str(), table.rows.matched)).collect();
            assert_eq!(shown, [("shop.items", 3), ("shop.orders", 3)], "{:?}", target.dialect);
            assert_eq!(ids(&target, "orders"), "1 2 3 4 5", "a preview changes nothing");
            let run = carry_out(&harness, "old_orders").await;
            assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
            assert_eq!(
                run.steps.iter().map(counts).collect::<Vec<_>>(),
                [("shop.items", Some(3), 3, 0, Some(0)), ("shop.orders", Some(3), 3, 0, Some(0))]
            );
            assert_eq!(ids(&target, "orders"), "4 5", "{:?}", target.dialect);
            assert_eq!(ids(&target, "items"), "40 50", "{:?}", target.dialect);
            let again = carry_out(&harness, "old_orders").await;
            assert_eq!(again.state.outcome(), Some(Outcome::Done));
            assert!(again.steps.iter().all(|step| step.rows_affected == 0));
            let null = DELETE.replace("nulls: keep", "nulls: old");
            let harness = self::harness(&store, &target, policies(&null));
            carry_out(&harness, "old_orders").await;
            assert_eq!(ids(&target, "orders"), "4", "{:?}", target.dialect);
        }
    }
}

/// A foreign key that the policy says nothing of refuses it; the rows are as they were.
#[tokio::test(flavor = "multi_thread")]
async fn what_points_at_old_rows_refuses_the_policy() {
    let store = sqlite_store().await;
    for target in targets() {
        shop(&target);
        let harness = harness(&store, &target, policies(&DELETE.replace("      children: [items]\n", "")));
        let refused = preview(&harness.service, "old_orders").await.unwrap_err().to_string();
        assert!(refused.contains("a foreign key of `items` points at `orders`"), "{refused}");
        let asked = Asked { by: "alice".to_owned(), idempotency_key: None };
        let begun = runs::begin(&harness.service, Task::Retention("old_orders".to_owned()), asked).await;
        assert!(begun.is_err(), "{:?}", target.dialect);
        assert_eq!(ids(&target, "orders"), "1 2 3 4 5", "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_marked_as_deleted_once() {
    let store = sqlite_store().await;
    for target in targets() {
        shop(&target);
        target.execute("UPDATE orders SET gone = '2020-05-05 00:00:00' WHERE id = 2");
        let soft = DELETE
            .replace("action: delete", "action: { soft_delete: gone }")
            .replace("children: [items]", "allow_all: false");
        let harness = harness(&store, &target, policies(&soft));
        let run = carry_out(&harness, "old_orders").await;
        assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
        assert_eq!(counts(&run.steps[0]), ("shop.orders", Some(2), 2, 0, Some(0)));
        assert_eq!(run.steps[0].action, "soft_delete");
        let marked = target.rows("SELECT id FROM orders WHERE gone >= '2026-01-01 00:00:00' ORDER BY id");
        assert_eq!(marked.len(), 2, "{:?}: {marked:?}", target.dialect);
        assert_eq!(target.rows("SELECT id FROM orders WHERE gone < '2021-01-01 00:00:00'").len(), 1);
        let again = carry_out(&harness, "old_orders").await;
        assert_eq!(counts(&again.steps[0]), ("shop.orders", Some(0), 0, 0, Some(0)), "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_masked_where_the_policys_condition_holds() {
    let store = sqlite_store().await;
    for target in targets() {
        shop(&target);
        let mask = DELETE
            .replace("action: delete", "action: { mask: { note: { string_rewrite: \"-\" } } }")
            .replace("children: [items]", "where: \"user_id = 1\"");
        let harness = harness(&store, &target, policies(&mask));
        let run = carry_out(&harness, "old_orders").await;
        assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
        // The note of order 3 is NULL, and stays so.
        assert_eq!(counts(&run.steps[0]), ("shop.orders", Some(1), 1, 0, Some(0)), "{:?}", target.dialect);
        let notes = target.rows("SELECT COALESCE(note, 'NULL') FROM orders ORDER BY id");
        let notes: Vec<String> = notes.into_iter().flatten().flatten().collect();
        assert_eq!(notes, ["-", "b", "NULL", "d", "e"], "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_takes_all_of_a_large_table_says_so() {
    let store = sqlite_store().await;
    for target in targets() {
        target.execute("CREATE TABLE logs (id INTEGER PRIMARY KEY, at DATE NOT NULL);");
        let rows: Vec<String> = (1..=1_001).map(|id| format!("({id}, '2001-01-01')")).collect();
        target.execute(&format!("INSERT INTO logs VALUES {}", rows.join(", ")));
        let all = "    logs: { connection: shop, table: logs, timestamp: at, older_than: 30d, action: delete, basis: none }\n";
        let harness = harness(&store, &target, policies(all));
        let refused = preview(&harness.service, "logs").await.unwrap_err().to_string();
        assert!(refused.contains("every one of 1001 rows") && refused.contains("allow_all"), "{refused}");
        let run = carry_out(&harness, "logs").await;
        assert_eq!(run.status(), Status::Failed, "{:?}: {run:?}", target.dialect);
        assert_eq!(run.state.error().unwrap().code.as_str(), "matches_everything");
        assert_eq!(target.rows("SELECT count(*) FROM logs")[0][0].as_deref(), Some("1001"));
        let allowed = all.replace("basis: none", "basis: none, allow_all: true");
        let harness = self::harness(&store, &target, policies(&allowed));
        let run = carry_out(&harness, "logs").await;
        assert_eq!(
            counts(&run.steps[0]),
            ("shop.logs", Some(1_001), 1_001, 0, Some(0)),
            "{:?}",
            target.dialect
        );
        assert!(run.steps[0].batches > 5, "in batches: {:?}", run.steps);
    }
}

/// SQLite holds times in any form, and things that are none.
#[tokio::test(flavor = "multi_thread")]
async fn what_tells_no_time_stays_and_is_counted() {
    let store = sqlite_store().await;
    let target = targets().into_iter().find(|target| target.dialect == Dialect::Sqlite).unwrap();
    target.execute(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, at);
         INSERT INTO logs VALUES (1, '2001-01-01'), (2, '2001-01-01T10:00:00Z'), (3, 1000000000), \
            (4, '2199-01-01'), (5, 7226582400), (6, '10:30'), (7, 2024), (8, 1000000000000), (9, ''), (10, 'now'), \
            (11, NULL), (12, 20010101), (13, '2001-01-01 00:00:00.123+02:00'), (14, x'32303031');",
    );
    let policy = "    logs: { connection: shop, table: logs, timestamp: at, older_than: 30d, nulls: keep, action: delete, basis: none }\n";
    let harness = harness(&store, &target, policies(policy));
    let run = carry_out(&harness, "logs").await;
    assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{run:?}");
    assert_eq!(ids(&target, "logs"), "4 5 6 7 8 9 10 11 12 14");
    assert_eq!(run.report["unreadable"], 7, "{run:?}");
}

/// `0000-00-00` is no day, whatever a comparison says.
#[tokio::test(flavor = "multi_thread")]
async fn zero_dates_are_not_old() {
    let store = sqlite_store().await;
    let Some(target) = target(Dialect::MySql) else { return };
    target.execute(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, at DATE);
         SET SESSION sql_mode = '';
         INSERT INTO logs VALUES (1, '2001-01-01'), (2, '0000-00-00'), (3, '2001-00-00'), (4, NULL), (5, '2199-01-01');",
    );
    let policy = "    logs: { connection: shop, table: logs, timestamp: at, older_than: 30d, nulls: keep, action: delete, basis: none }\n";
    let harness = harness(&store, &target, policies(policy));
    let run = carry_out(&harness, "logs").await;
    assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{run:?}");
    assert_eq!(ids(&target, "logs"), "2 3 4 5");
    assert_eq!(run.report["unreadable"], 2, "{run:?}");
}

/// One of two workers has the run, and a run of the same policy is not begun beside it.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_it_once() {
    for store in stores().await {
        for target in targets() {
            shop(&target);
            let harness = Arc::new(harness(&store, &target, policies(DELETE)));
            let by = format!("alice-{:?}", target.dialect);
            let task = Task::Retention("old_orders".to_owned());
            let begin = |key: &'static str| {
                let (harness, task) = (harness.clone(), task.clone());
                let asked = Asked { by: by.clone(), idempotency_key: Some(key.to_owned()) };
                tokio::spawn(async move { runs::begin(&harness.service, task, asked).await })
            };
            let both = [begin("a"), begin("b"), begin("a")];
            let mut begun = Vec::new();
            for one in both {
                begun.push(one.await.unwrap());
            }
            let ids: Vec<_> = begun.iter().flatten().map(|(run, _)| run.id).collect();
            assert_eq!(begun.iter().flatten().filter(|(_, new)| *new).count(), 1, "{begun:?}");
            assert!(ids.windows(2).all(|two| two[0] == two[1]), "{begun:?}");
            let (first, second) = tokio::join!(go_on(&harness, ids[0]), go_on(&harness, ids[0]));
            assert!(first.attempt <= 1 && second.attempt <= 1, "{first:?} {second:?}");
            let run = runs::read(&harness.service, ids[0]).await.unwrap();
            assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
            assert_eq!(counts(&run.steps[1]), ("shop.orders", Some(3), 3, 0, Some(0)));
        }
    }
}

/// What was thirty days ago on the day of the run is not older than thirty days.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_very_day_stays() {
    let store = sqlite_store().await;
    // There a date is the midnight that it begins with.
    for target in targets().into_iter().filter(|target| target.dialect != Dialect::Sqlite) {
        target.execute("CREATE TABLE logs (id INTEGER PRIMARY KEY, at DATE NOT NULL);");
        let today = Clock.now().date_naive();
        let day = |id: u64| today - chrono::Days::new(id);
        let rows: Vec<String> = (27..=33).map(|id| format!("({id}, '{}')", day(id))).collect();
        target.execute(&format!("INSERT INTO logs VALUES {}", rows.join(", ")));
        let policy = "    logs: { connection: shop, table: logs, timestamp: at, older_than: 30d, action: delete, basis: none }\n";
        let harness = harness(&store, &target, policies(policy));
        let run = carry_out(&harness, "logs").await;
        assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
        let Params::Retention { before, .. } = run.params else { panic!("{:?}", run.params) };
        // Midnight may have come meanwhile.
        let stay: Vec<String> =
            (27..=33).filter(|id| day(*id) >= before.date_naive()).map(|id| id.to_string()).collect();
        assert_eq!(ids(&target, "logs"), stay.join(" "), "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_of_a_run_writes_nothing() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        shop(&target);
        let harness = harness(&store, &target, policies(DELETE));
        let asked = Asked { by: "alice".to_owned(), idempotency_key: None };
        let task = Task::Retention("old_orders".to_owned());
        let (run, _) = runs::begin(&harness.service, task, asked).await.unwrap();
        let claim = async |lease| {
            store
                .store
                .claim_run(Some(run.id), "worker:test", lease, 8)
                .await
                .unwrap()
                .expect("it is free")
                .run
        };
        let mut old = claim(Duration::ZERO).await;
        let new = claim(Duration::from_secs(30)).await;
        let mut tx = store.store.begin().await.unwrap();
        assert_eq!(tx.write_run(&mut old, Vec::new()).await, Err(StoreError::LeaseLost));
        tx.rollback().await.unwrap();
        assert_eq!(runs::read(&harness.service, run.id).await.unwrap(), new);
    }
}

#[test]
fn the_configuration_refuses_what_is_no_policy() {
    for (text, problem) in [
        ("older_than: 2y", "older_than: 2 years"),
        ("nulls: keep", "nulls: maybe"),
        ("action: delete", "action: truncate"),
        ("action: delete", "action: { mask: { note: hmac } }"),
        ("timestamp: placed", "tmestamp: placed"),
        ("basis: contracts that ended", "basis: ''"),
        ("nulls: keep", "where: \"1 = 1) or (1 = 1\""),
        ("table: orders", "table: a.b.c"),
    ]
    .map(|(from, to)| (DELETE.replace(from, to), to))
    {
        let refused = configured(&format!("retention:\n  policies:\n{text}")).expect_err(problem);
        assert!(refused.contains("error:"), "{refused}");
    }
}
