//! Several processes on one PostgreSQL store: small subjects, submitted to each of them in turn.

use std::{sync::Arc, time::Instant};

use super::{
    memory::resident_mib,
    site::Site,
    small,
    store::Store,
    table::{Goal, Row},
    target::Target,
};

const PROCESSES: [usize; 3] = [1, 2, 4];

pub const NAME: &str = "small subjects, processes on one store";

/// Each beside one process.
pub async fn run() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for processes in PROCESSES {
        let (service, resident_mib) = with(processes).await;
        let beside = rows.first().map_or(service, |one: &Row| one.service);
        let name = format!("{NAME}: {processes}");
        rows.push(Row { name, unit: "1/s", service, beside, goal: Goal::None, resident_mib });
    }
    rows
}

async fn with(processes: usize) -> (f64, f64) {
    let target = Target::new("scale").await;
    small::fill(&target).await;
    let (url, store) = Store::Postgres.open().await;
    let sites: Vec<Arc<Site>> = (0..processes).map(|_| Arc::new(small::site(&url, &target))).collect();
    let mut running = Vec::new();
    for site in &sites {
        running.push(site.serve().await);
    }
    let begun = Instant::now();
    small::erase_everybody(&sites).await;
    let elapsed = begun.elapsed().as_secs_f64();
    small::require_empty(&target).await;
    let store = store.expect("a database");
    let twice = "SELECT count(*) FROM requests WHERE attempt <> 1 OR epoch <> 1";
    assert_eq!(store.number(twice).await, 0, "a request ran twice");
    let resident = running.iter().map(resident_mib).fold(0.0, f64::max);
    drop(running);
    store.drop().await;
    target.drop().await;
    (small::subjects() / elapsed, resident)
}
