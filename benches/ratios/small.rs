//! Small subjects: five tables, about 65 rows each, end to end over HTTP by eight clients, beside pgbench running
//! the same five statements with eight clients. Where the store is a PostgreSQL database, too, also beside pgbench writing
//! there, in one transaction each and with eight clients, what the service has on record of each of them in the end: nothing
//! that keeps that record on this machine erases more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use serde_json::json;

use super::{
    client::CLIENTS,
    memory::resident_mib,
    pgbench, record,
    site::{Settings, Site},
    store::Store,
    table::{Goal, Row},
    target::Target,
};

const SUBJECTS: i64 = 4_000;

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    profiles:
      match: { user_id: users.id }
      erase: delete
    orders:
      match: { user_id: users.id }
      erase: delete
    messages:
      match: { user_id: users.id }
      erase: delete
    visits:
      match: { user_id: users.id }
      erase: delete
";

pub fn name(store: Store) -> String {
    format!("small subjects over HTTP, {CLIENTS} clients, {} store", store.as_str())
}

pub fn record_name() -> String {
    format!("{}, beside their record alone", name(Store::Postgres))
}

/// Erases every subject once each way.
pub async fn run(kind: Store) -> Vec<Row> {
    let target = Target::new("small").await;
    fill(&target).await;
    let beside = pgbench::rate(&target, ERASE, SUBJECTS);
    target.run("DROP TABLE visits, messages, orders, profiles, users").await;
    fill(&target).await;
    let (url, store) = kind.open().await;
    let site = Arc::new(site(&url, &target));
    let process = site.serve().await;
    let begun = Instant::now();
    erase_everybody(std::slice::from_ref(&site)).await;
    let elapsed = begun.elapsed().as_secs_f64();
    require_empty(&target).await;
    let resident_mib = resident_mib(&process);
    drop(process);
    let service = subjects() / elapsed;
    let row = |name, beside, goal| Row { name, unit: "1/s", service, beside, goal, resident_mib };
    let mut rows = vec![row(name(kind), beside, Goal::AtLeast(0.5))];
    if let Some(store) = store {
        let record = pgbench::rate(&store, &record::script(&store).await, SUBJECTS);
        rows.push(row(record_name(), record, Goal::None));
        store.drop().await;
    }
    target.drop().await;
    rows
}

/// How many there are.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn subjects() -> f64 {
    SUBJECTS as f64
}

pub fn site(store: &str, target: &Target) -> Site {
    Site::new(&Settings {
        store,
        connections: &[("shop", &target.url())],
        service: None,
        plan: PLAN,
        worker: &format!("  concurrency: {CLIENTS}\n  batch: {{ pause: 0 }}\n"),
    })
}

pub async fn require_empty(target: &Target) {
    for table in ["users", "profiles", "orders", "messages", "visits"] {
        let left = target.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(left, 0, "{table}");
    }
}

/// Every client submits a subject to its process, waits for its end and takes the next.
pub async fn erase_everybody(sites: &[Arc<Site>]) {
    let next = Arc::new(AtomicI64::new(1));
    let clients: Vec<_> = sites
        .iter()
        .cycle()
        .take(CLIENTS)
        .map(|site| {
            let (site, next) = (site.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let subject = next.fetch_add(1, Ordering::Relaxed);
                    if subject > SUBJECTS {
                        return;
                    }
                    let subject = json!({ "user_id": subject });
                    let request = site.submit("customer", subject, None).await.expect("an answer");
                    let request = site.finished(request["id"].as_str().expect("an id")).await;
                    assert_eq!(request["outcome"], "done", "{request}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
}

pub async fn fill(target: &Target) {
    let child = |name: &str, rows: i64| {
        format!(
            "CREATE TABLE {name} (id bigserial PRIMARY KEY, user_id int NOT NULL REFERENCES users, body text);
             INSERT INTO {name} (user_id, body)
               SELECT u, 'some text ' || n FROM generate_series(1, {SUBJECTS}) u, generate_series(1, {rows}) n;
             CREATE INDEX ON {name} (user_id);"
        )
    };
    target
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);
             INSERT INTO users SELECT n, 'user' || n || '@example.com' FROM generate_series(1, {SUBJECTS}) n;
             {}{}{}{}
             DROP SEQUENCE IF EXISTS subjects; CREATE SEQUENCE subjects;",
            child("profiles", 1),
            child("orders", 13),
            child("messages", 20),
            child("visits", 30)
        ))
        .await;
    target.run("VACUUM ANALYZE").await;
    target.run("CHECKPOINT").await;
}

/// The same five statements in one transaction for each subject.
const ERASE: &str = "SELECT nextval('subjects') AS id \\gset
BEGIN;
DELETE FROM visits WHERE user_id = :id;
DELETE FROM messages WHERE user_id = :id;
DELETE FROM orders WHERE user_id = :id;
DELETE FROM profiles WHERE user_id = :id;
DELETE FROM users WHERE id = :id;
COMMIT;
";
