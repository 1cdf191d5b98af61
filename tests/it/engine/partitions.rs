//! Partitions and heirs, which only PostgreSQL has: a table of a plan stands for all of its own, and a foreign key onto
//! one of them goes around what is known of it.

use rightful::domain::request::{RunCode, Status};
use serde_json::json;

use super::{code, count, harness};
use crate::support::targets::{Dialect, Target, target};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users: { erase: delete }
    visits: { match: { user_id: users.id }, erase: delete }
";

const PARTITIONS: &str = "CREATE TABLE visits (id INTEGER, user_id INTEGER NOT NULL REFERENCES users (id),
        at TIMESTAMP NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE old_visits PARTITION OF visits FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE new_visits PARTITION OF visits DEFAULT;";

const HEIRS: &str =
    "CREATE TABLE visits (id INTEGER, user_id INTEGER NOT NULL, at TIMESTAMP NOT NULL, PRIMARY KEY (id, at));
    CREATE TABLE old_visits (PRIMARY KEY (id, at)) INHERITS (visits);";

/// What was read at a visit, under a key onto that table, which takes the rows along unseen.
fn pages_of(table: &str) -> String {
    format!(
        "CREATE TABLE pages (id INTEGER PRIMARY KEY, visit_id INTEGER NOT NULL, visit_at TIMESTAMP NOT NULL,
            FOREIGN KEY (visit_id, visit_at) REFERENCES {table} (id, at) ON DELETE CASCADE)"
    )
}

/// Each way to have tables below another, in a database of its own, with the visits of two people.
fn shops() -> Vec<(Target, String)> {
    let shop = |visits: &str| {
        let schema = format!(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
            {visits}
            INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
            INSERT INTO old_visits VALUES (10, 1, '2019-01-01'), (20, 2, '2019-01-01');
            INSERT INTO visits VALUES (11, 1, '2025-01-01'), (21, 2, '2025-01-01');"
        );
        Some((target(Dialect::Postgres)?, schema))
    };
    [PARTITIONS, HEIRS].into_iter().filter_map(shop).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_onto_a_partition_or_an_heir_refuses_a_plan_that_removes_rows() {
    for (target, schema) in shops() {
        // Without such a key the plan fits.
        let (harness, _store) = harness(&target, &schema, PLAN).await;
        target.execute(&pages_of("old_visits"));
        let kept = PLAN
            .replace(
                "users: { erase: delete }",
                "users: { erase: { mask: { email: { string_rewrite: gone } } } }",
            )
            .replace(
                "users.id }, erase: delete }",
                "users.id }, erase: { keep: { ground: 17(3)(b), until: at + 10y } } }",
            );
        let unreferenced =
            PLAN.replace("users.id }, erase: delete }", "users.id }, erase: delete_if_unreferenced }");
        // Nothing that the plan says of the pages leads to the rows of one partition alone.
        let with_pages = format!(
            "{PLAN}    pages: {{ match: {{ visit_id: visits.id, visit_at: visits.at }}, erase: delete }}\n"
        );
        for plan in [PLAN, &kept, &unreferenced, &with_pages] {
            let refused = harness.register(plan).await.expect_err(plan);
            let told = "`pages.visit_id, visit_at` references `old_visits`, a partition or an heir";
            assert!(refused.contains(told), "{plan}: {refused}");
            assert_eq!(refused.matches("a partition or an heir").count(), 1, "{refused}");
        }
        // No row of the visits goes, and so none of the pages.
        let masked = PLAN
            .replace(
                "users: { erase: delete }",
                "users: { erase: { mask: { email: { string_rewrite: gone } } } }",
            )
            .replace("users.id }, erase: delete }", "users.id }, erase: { none: nothing personal } }");
        harness.register(&masked).await.unwrap();
        target.execute("DROP TABLE pages");
        harness.register(PLAN).await.unwrap();
    }
}

/// It would change along with what it references.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_onto_a_partition_or_an_heir_refuses_a_plan_that_overwrites_its_columns() {
    for (target, schema) in shops() {
        let (harness, _store) = harness(&target, &schema, PLAN).await;
        target.execute(
            "ALTER TABLE visits ADD COLUMN ip VARCHAR(100); ALTER TABLE visits ADD COLUMN agent VARCHAR(100);
             ALTER TABLE old_visits ADD UNIQUE (ip, at);
             CREATE TABLE traces (id INTEGER PRIMARY KEY, ip VARCHAR(100), visit_at TIMESTAMP,
                 FOREIGN KEY (ip, visit_at) REFERENCES old_visits (ip, at) ON UPDATE CASCADE)",
        );
        let masked = |column: &str| {
            let mask = |column| format!("erase: {{ mask: {{ {column}: {{ hmac: {{}} }} }} }}");
            PLAN.replace("users: { erase: delete }", &format!("users: {{ {} }}", mask("email")))
                .replace("erase: delete", &mask(column))
        };
        let refused = harness.register(&masked("ip")).await.expect_err("the traces would change");
        assert!(refused.contains("references `old_visits`, a partition or an heir"), "{refused}");
        assert!(refused.contains("whose ip, at is overwritten: its rows would change"), "{refused}");
        harness.register(&masked("agent")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_onto_the_parent_is_released_like_any_other() {
    let Some(target) = target(Dialect::Postgres) else { return };
    let (_, schema) = shops().remove(0);
    let pages = pages_of("visits");
    let plan = format!(
        "{PLAN}    pages: {{ match: {{ visit_id: visits.id, visit_at: visits.at }}, erase: delete }}\n"
    );
    let rows =
        "INSERT INTO pages VALUES (100, 10, '2019-01-01'), (200, 20, '2019-01-01'), (210, 21, '2025-01-01')";
    let (harness, _store) = harness(&target, &format!("{schema} {pages}; {rows}"), &plan).await;
    let refused = harness.register(PLAN).await.expect_err("nothing releases it");
    assert!(refused.contains("ON DELETE CASCADE would erase rows that no step counts"), "{refused}");
    harness.register(&plan).await.unwrap();
    let id = harness.submit("customer", json!({ "user_id": 1 })).await;
    let request = harness.run(id).await;
    assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
    assert_eq!((count(&target, "visits"), count(&target, "pages")), (2, 2));
}

/// The key comes after the plan was registered.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_while_there_is_such_a_key() {
    for (target, schema) in shops() {
        let (harness, _store) = harness(&target, &schema, PLAN).await;
        target.execute(&pages_of("old_visits"));
        target.execute("INSERT INTO pages VALUES (100, 10, '2019-01-01')");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::SchemaChanged), "{:?}", request.state);
        assert_eq!((count(&target, "visits"), count(&target, "pages")), (4, 1));
        target.execute("DROP TABLE pages");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
        assert_eq!(count(&target, "visits"), 2);
    }
}
