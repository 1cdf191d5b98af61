//! How long others who use the target database wait while one subject's 5,000,000 rows are erased, beside how long they wait
//! when nothing is.

use std::time::Duration;

use serde_json::json;

use super::{
    memory::resident_mib,
    pgbench::{Users, percentile},
    plans,
    site::{Settings, Site},
    table::{Goal, Row},
    target::Target,
};

const SUBJECT_ROWS: i64 = 5_000_000;
const OTHERS: i64 = 1_000_000;
const PER_SECOND: u32 = 200;
const UNDISTURBED: Duration = Duration::from_secs(40);
/// What rests so much takes its time.
const PATIENCE: Duration = Duration::from_secs(1_200);

pub const NAME: &str = "others' latency while 5,000,000 rows are erased";

/// Half of what they do changes something; none of it is the subject's.
const USE: &str = "\\set id random(5000001, 6000000)
SELECT note FROM visits WHERE id = :id;
UPDATE visits SET note = 'changed' WHERE id = :id;
";

/// With the default pause: p50 and p99.
pub async fn run() -> [Row; 2] {
    let target = Target::new("bystanders").await;
    target
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);
             INSERT INTO users SELECT n, 'user' || n || '@example.com' FROM generate_series(1, 1000) n;
             CREATE TABLE visits (id bigint PRIMARY KEY, user_id int NOT NULL REFERENCES users, at timestamptz, note text);
             INSERT INTO visits
               SELECT n, CASE WHEN n <= {SUBJECT_ROWS} THEN 1 ELSE 2 + n % 999 END, now(), 'a note of some length ' || n
               FROM generate_series(1, {SUBJECT_ROWS} + {OTHERS}) n;
             CREATE INDEX visits_by_user ON visits (user_id);"
        ))
        .await;
    target.run("VACUUM (ANALYZE) visits").await;
    target.run("CHECKPOINT").await;
    // Half of it before and half of it after: a machine is not the same all the time.
    let mut undisturbed = alone(&target).await;

    let site = Site::new(&Settings {
        store: "sqlite:rightful.db",
        connections: &[("shop", &target.url())],
        service: None,
        plan: plans::USERS_AND_VISITS,
        worker: "  concurrency: 1\n",
    });
    let process = site.serve().await;
    let users = Users::start(&target, USE, PER_SECOND);
    let request = site.submit("customer", json!({ "user_id": 1 }), None).await.expect("an answer");
    let request = site.finished_within(PATIENCE, request["id"].as_str().expect("an id")).await;
    let meanwhile = users.stop();
    assert_eq!(request["progress"]["rows_affected"], SUBJECT_ROWS + 1, "{request}");
    undisturbed.extend(alone(&target).await);
    undisturbed.sort_by(f64::total_cmp);
    let resident_mib = resident_mib(&process);
    drop(process);
    target.drop().await;
    [("p50", 0.5, Goal::None), ("p99", 0.99, Goal::AtMost(1.1))].map(|(what, part, goal)| Row {
        name: format!("{NAME}, {what}"),
        unit: "ms",
        service: percentile(&meanwhile, part),
        beside: percentile(&undisturbed, part),
        goal,
        resident_mib,
    })
}

/// How long others wait when nothing else happens.
async fn alone(target: &Target) -> Vec<f64> {
    let users = Users::start(target, USE, PER_SECOND);
    tokio::time::sleep(UNDISTURBED).await;
    users.stop()
}
