//! Random schemas, random foreign keys, random plans: after an erasure nothing of the subject is left, nothing of
//! anybody else is changed, no constraint was violated, whatever the order of the file. What must be left is worked
//! out in memory, by other means.
//!
//! A failure prints its seed; `RIGHTFUL_SEED=… cargo test properties` runs that one alone.

mod oracle;
pub mod random;
mod world;

use std::collections::BTreeMap;

use random::Random;
use rightful::{
    domain::request::{Outcome, Request, Status},
    service::Pacing,
};
use serde_json::json;
use world::{Value, World};

use crate::support::{
    harness::Harness,
    stores::sqlite_store,
    targets::{Dialect, Target, target},
};

/// Cases on SQLite; the servers, where creating a database costs more, run a part.
const CASES: u64 = 1_000;
const SERVER_CASES: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn erasures_on_sqlite_leave_exactly_what_they_must() {
    cases(Dialect::Sqlite, CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_on_postgres_leave_exactly_what_they_must() {
    cases(Dialect::Postgres, SERVER_CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_on_mysql_leave_exactly_what_they_must() {
    cases(Dialect::MySql, SERVER_CASES).await;
}

async fn cases(dialect: Dialect, count: u64) {
    if let Some(seed) = crate::support::environment("RIGHTFUL_SEED").and_then(|seed| seed.parse().ok()) {
        return case(dialect, seed).await;
    }
    for seed in 0..count {
        if target(dialect).is_none() {
            return;
        }
        println!("seed {seed}");
        case(dialect, seed).await;
    }
}

async fn case(dialect: Dialect, seed: u64) {
    let mut random = Random::new(seed);
    let world = World::new(&mut random);
    let (Some(shop), Some(crm)) = (target(dialect), target(dialect)) else { return };
    shop.execute(&world.sql(dialect, false));
    crm.execute(&world.sql(dialect, true));
    let store = sqlite_store().await;
    // Small batches on every second case, so that both ways of working are taken.
    let pacing = match seed % 2 {
        0 => Pacing { pause: 0.0, ..Pacing::default() },
        _ => Pacing { pause: 0.0, min_rows: 1, max_rows: 2, ..Pacing::default() },
    };
    let harness = Harness::new(store.store.clone(), &[("shop", &shop.url), ("crm", &crm.url)], pacing);
    let plan = world.plan();
    let told = || {
        format!(
            "seed {seed} on {dialect:?}\n{plan}\n{}{}",
            world.sql(dialect, false),
            world.sql(dialect, true)
        )
    };
    if let Err(faults) = harness.register(&plan).await {
        panic!("the plan was refused:\n{faults}\n{}", told());
    }
    let id = harness.submit("random", json!({ "id": world.subject_id() })).await;
    let request = harness.run(id).await;
    assert_eq!(request.status(), Status::Completed, "{:?}\n{}", request.state, told());
    accounts(&request, &told);
    let expected = oracle::expected(&world);
    for table in &world.tables {
        let target = if table.elsewhere { &crm } else { &shop };
        let found = rows(target, &table.name);
        assert_eq!(found, expected[&table.name], "table {}\n{}", table.name, told());
    }
}

/// The books balance, and say what they must.
fn accounts(request: &Request, told: &dyn Fn() -> String) {
    let mut withheld = 0;
    for step in &request.steps {
        let remaining = step.rows_remaining.unwrap_or(-1);
        assert_eq!(
            step.rows_matched.unwrap_or(-1),
            step.rows_affected + step.rows_withheld + remaining,
            "{step:?}\nof {:#?}\n{}",
            request.steps,
            told()
        );
        withheld += step.rows_withheld;
    }
    let outcome = if withheld > 0 { Outcome::DoneWithExceptions } else { Outcome::Done };
    assert_eq!(request.state.outcome(), Some(outcome), "{}", told());
}

fn rows(target: &Target, table: &str) -> Vec<Vec<Value>> {
    let mut rows = target.rows(&format!("SELECT * FROM {table}"));
    rows.sort();
    rows
}

#[test]
fn the_oracle_sees_a_difference() {
    let mut random = Random::new(3);
    let world = World::new(&mut random);
    let before: BTreeMap<String, Vec<Vec<Value>>> =
        world.tables.iter().map(|table| (table.name.clone(), table.rows.clone())).collect();
    assert_ne!(oracle::expected(&world), before);
}
