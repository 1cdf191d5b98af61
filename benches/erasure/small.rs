//! Small subjects: five tables, about 65 rows each, end to end over HTTP by eight clients, beside pgbench running
//! the same five statements with eight clients.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use serde_json::json;

use super::{
    memory::resident_mib,
    site::{Settings, Site},
    table::Row,
    target::Target,
};

const CLIENTS: usize = 8;
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

/// Where the service keeps its requests; the target is PostgreSQL in any case.
#[derive(Clone, Copy)]
pub enum Store {
    /// The default: a file.
    Sqlite,
    /// A database on the target's server.
    Postgres,
}

pub fn name(store: Store) -> String {
    let store = match store {
        Store::Sqlite => "SQLite",
        Store::Postgres => "PostgreSQL",
    };
    format!("small subjects over HTTP, {CLIENTS} clients, {store} store")
}

/// Erases every subject once each way.
pub async fn run(kind: Store) -> Row {
    let target = Target::new("small").await;
    fill(&target).await;
    let raw = pgbench(&target);
    target.run("DROP TABLE visits, messages, orders, profiles, users").await;
    fill(&target).await;
    let store = match kind {
        Store::Sqlite => None,
        Store::Postgres => Some(Target::new("store").await),
    };
    let site = Arc::new(Site::new(&Settings {
        store: &store.as_ref().map_or_else(|| "sqlite:rightful.db".to_owned(), Target::url),
        connections: &[("shop", &target.url())],
        service: None,
        plan: PLAN,
        worker: &format!("  concurrency: {CLIENTS}\n  batch: {{ pause: 0 }}\n"),
    }));
    let process = site.serve().await;
    let begun = Instant::now();
    erase_everybody(&site).await;
    let elapsed = begun.elapsed().as_secs_f64();
    for table in ["users", "profiles", "orders", "messages", "visits"] {
        let left = target.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(left, 0, "{table}");
    }
    let resident_mib = resident_mib(&process);
    drop(process);
    if let Some(store) = store {
        store.drop().await;
    }
    target.drop().await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let subjects = SUBJECTS as f64;
    Row { name: name(kind), unit: "1/s", service: subjects / elapsed, raw, goal: 0.3, resident_mib }
}

/// Every client submits a subject, waits for its end and takes the next.
async fn erase_everybody(site: &Arc<Site>) {
    let next = Arc::new(AtomicI64::new(1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
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

async fn fill(target: &Target) {
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

/// Transactions per second of the same five statements, each in one transaction per subject.
fn pgbench(target: &Target) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("erase.sql");
    let statements = "SELECT nextval('subjects') AS id \\gset
BEGIN;
DELETE FROM visits WHERE user_id = :id;
DELETE FROM messages WHERE user_id = :id;
DELETE FROM orders WHERE user_id = :id;
DELETE FROM profiles WHERE user_id = :id;
DELETE FROM users WHERE id = :id;
COMMIT;
";
    std::fs::write(&script, statements).expect("a script");
    let each = SUBJECTS / i64::try_from(CLIENTS).unwrap_or(1);
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &CLIENTS.to_string(), "-j", "2", "-t", &each.to_string(), "-f"])
        .arg(&script)
        .arg(target.url())
        .output()
        .expect("pgbench is on the path");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("pgbench said {text}{}", String::from_utf8_lossy(&output.stderr)))
}
