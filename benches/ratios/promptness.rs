//! How soon the service answers after it was started, and how soon it begins with what was submitted.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    client::Client,
    memory::resident_mib,
    pgbench::percentile,
    plans,
    site::{Settings, Site},
    table::{Goal, Row},
    target::Target,
};

const STARTS: usize = 15;
const REQUESTS: i64 = 300;

pub const START: &str = "from start to the first answer, existing store";
pub const FIRST_STEP: &str = "from submission to the first step, p95";

async fn site(target: &Target) -> Site {
    target
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, {REQUESTS})"
        ))
        .await;
    Site::new(&Settings {
        store: "sqlite:rightful.db",
        connections: &[("shop", &target.url())],
        service: None,
        plan: plans::USERS,
        worker: "  concurrency: 4\n",
    })
}

/// The median of some starts.
pub async fn start() -> Row {
    let target = Target::new("start").await;
    let site = site(&target).await;
    let mut resident = resident_mib(&site.serve().await);
    let (base, token) = site.access();
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let process = site.start();
        loop {
            if let Some(mut client) = Client::connect(base, token).await
                && client.call("GET /readyz", "").await.is_some_and(|answer| answer.status == 200)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        resident = resident.max(resident_mib(&process));
    }
    took.sort_by(f64::total_cmp);
    target.drop().await;
    Row {
        name: START.to_owned(),
        unit: "ms",
        service: percentile(&took, 0.5),
        beside: f64::NAN,
        goal: Goal::Below(150.0),
        resident_mib: resident,
    }
}

/// Of one request after the other, as the service itself tells the times: submitted, and first step begun.
pub async fn first_step() -> Row {
    let target = Target::new("step").await;
    let site = site(&target).await;
    let process = site.serve().await;
    let mut took = Vec::new();
    for id in 1..=REQUESTS {
        let request = site.submit("customer", json!({ "user_id": id }), None).await.expect("an answer");
        let request = site.finished(request["id"].as_str().expect("an id")).await;
        assert_eq!(request["outcome"], "done", "{request}");
        let (created, started) = (moment(&request["created_at"]), moment(&request["steps"][0]["started_at"]));
        took.push((started - created) * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let resident_mib = resident_mib(&process);
    drop(process);
    target.drop().await;
    Row {
        name: FIRST_STEP.to_owned(),
        unit: "ms",
        service: percentile(&took, 0.95),
        beside: f64::NAN,
        goal: Goal::Below(50.0),
        resident_mib,
    }
}

/// Seconds.
fn moment(text: &Value) -> f64 {
    let text = text.as_str().expect("a time");
    let time = chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339");
    #[expect(clippy::cast_precision_loss, reason = "to a quarter of a microsecond")]
    let micros = time.timestamp_micros() as f64;
    micros / 1e6
}
