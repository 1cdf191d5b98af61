//! A person's package with 1,000,000 rows, compressed and sealed, beside `COPY` of the same rows as JSON.

use std::time::Instant;

use serde_json::json;

use super::{
    audit::copy,
    memory::resident_mib,
    site::{Settings, Site},
    table::{Goal, Row},
    target::Target,
};

const ROWS: i64 = 1_000_000;

pub const NAME: &str = "an export of a person with 1,000,000 rows, beside COPY";

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
      export: [id, email]
    visits:
      match: { user_id: users.id }
      erase: delete
      export: [id, user_id, at, note]
";

pub async fn run() -> Row {
    let target = Target::new("export").await;
    target
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);
             INSERT INTO users VALUES (1, 'user1@example.com');
             CREATE TABLE visits (id bigint PRIMARY KEY, user_id int NOT NULL REFERENCES users, at timestamptz, note text);
             INSERT INTO visits SELECT n, 1, now(), 'a note of some length ' || n FROM generate_series(1, {ROWS}) n;
             CREATE INDEX visits_by_user ON visits (user_id);"
        ))
        .await;
    target.run("VACUUM (ANALYZE) visits").await;
    target.run("CHECKPOINT").await;
    let copied = copy(&target, "SELECT row_to_json(v) FROM visits v WHERE user_id = 1").await;
    let site = Site::new(&Settings {
        store: "sqlite:rightful.db",
        connections: &[("shop", &target.url())],
        service: None,
        plan: PLAN,
        worker: "  concurrency: 1\n",
    });
    let process = site.serve().await;
    let begun = Instant::now();
    let body = json!({ "kind": "export", "plan": "customer", "subject": { "user_id": 1 } });
    let request = site.submit_body(&body, None).await.expect("an answer");
    let request = site.finished(request["id"].as_str().expect("an id")).await;
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(request["outcome"], "done", "{request}");
    let resident_mib = resident_mib(&process);
    drop(process);
    target.drop().await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rows = ROWS as f64;
    Row {
        name: NAME.to_owned(),
        unit: "rows/s",
        service: rows / took,
        beside: rows / copied,
        goal: Goal::AtLeast(0.5),
        resident_mib,
    }
}
