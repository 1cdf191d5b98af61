//! What the Merkle log costs those who write events: 16 writers beside the sequencer, and without it and its queue, by
//! turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rightful::{
    domain::clock::Clock,
    store::{NewPlan, Store},
};
use tempfile::TempDir;

use super::{
    pgbench::percentile,
    store::Store as Kind,
    table::{Goal, Row},
    target::Target,
};

const WRITERS: usize = 16;
/// Pairs of stores, half of which are created the one first and half the other: two stores that are alike in all differ by
/// a few per cent in one process.
const PAIRS: usize = 4;
/// Many and short ones, half of which begin with either: what else the machine does lasts for seconds.
const ROUNDS: usize = 24;
const ROUND: Duration = Duration::from_millis(1500);
/// As the service has them.
const BATCH: usize = 500;
const LOOK: Duration = Duration::from_millis(250);

pub fn name(kind: Kind) -> String {
    format!("{WRITERS} writers of events beside the sequencer, {} store", kind.as_str())
}

/// A store of its own.
struct Place {
    store: Store,
    target: Option<Target>,
    folder: TempDir,
}

impl Place {
    async fn new(kind: Kind, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (url, target) = match kind {
            Kind::Sqlite => (format!("sqlite:{}", folder.path().join("store.db").display()), None),
            Kind::Postgres => {
                let target = Target::new(name).await;
                (target.url(), Some(target))
            }
        };
        let store = Store::open(&url, Clock).await.expect("a store");
        store.migrate().await.expect("a migrated store");
        Self { store, target, folder }
    }

    /// As it was before there was a log.
    async fn without_queue(self) -> Self {
        match &self.target {
            Some(target) => target.run("DROP TRIGGER audit_events_queue ON audit_events").await,
            None => {
                use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
                let file = self.folder.path().join("store.db");
                let mut conn = SqliteConnection::establish(&file.to_string_lossy()).expect("the file");
                conn.batch_execute("DROP TRIGGER audit_events_queue").expect("its trigger");
            }
        }
        self
    }

    async fn drop(self) {
        drop(self.store);
        if let Some(target) = self.target {
            target.drop().await;
        }
    }
}

/// A store that is written to beside the sequencer, and one without it and its queue.
struct Pair {
    with: Place,
    without: Place,
}

impl Pair {
    async fn new(kind: Kind, number: usize) -> Self {
        let (with, without) = (format!("log_{number}"), format!("no_log_{number}"));
        if number.is_multiple_of(2) {
            let with = Place::new(kind, &with).await;
            Self { with, without: Place::new(kind, &without).await.without_queue().await }
        } else {
            let without = Place::new(kind, &without).await.without_queue().await;
            Self { with: Place::new(kind, &with).await, without }
        }
    }

    async fn drop(self) {
        self.with.drop().await;
        self.without.drop().await;
    }
}

pub async fn run(kind: Kind) -> Row {
    let (mut service, mut raw) = (Vec::new(), Vec::new());
    for number in 0..PAIRS {
        let pair = Pair::new(kind, number).await;
        for number in 0..ROUNDS / PAIRS {
            for sequenced in [number % 2 == 0, number % 2 != 0] {
                match sequenced {
                    true => service.push(round(&pair.with.store, true).await),
                    false => raw.push(round(&pair.without.store, false).await),
                }
            }
        }
        let state = pair.with.store.log_state().await.expect("a state");
        assert!(state.size > 0);
        pair.drop().await;
    }
    Row {
        name: name(kind),
        unit: "1/s",
        service: median(service),
        beside: median(raw),
        goal: Goal::AtLeast(0.9),
        resident_mib: f64::NAN,
    }
}

/// Of the round in the middle.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    percentile(&rates, 0.5)
}

/// Events per second.
async fn round(store: &Store, sequenced: bool) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| tokio::spawn(write(store.clone(), format!("plan{n}"), stop.clone(), written.clone())))
        .collect();
    let sequencer = sequenced.then(|| tokio::spawn(sequence(store.clone(), stop.clone())));
    let begun = Instant::now();
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    for task in writers.into_iter().chain(sequencer) {
        task.await.expect("its end");
    }
    rate
}

/// One event per transaction.
async fn write(store: Store, name: String, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let mut versions = ["sha256:a", "sha256:b"].into_iter().cycle();
    while let (false, Some(version)) = (stop.load(Ordering::Relaxed), versions.next()) {
        let mut tx = store.begin().await.expect("a transaction");
        let plan = NewPlan { name: &name, version, source: "", compiled: "{}" };
        let is_new = tx.register_plan(plan, "system").await.expect("an event");
        tx.commit().await.expect("a commit");
        written.fetch_add(u64::from(is_new), Ordering::Relaxed);
    }
}

async fn sequence(store: Store, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let mut tx = store.begin().await.expect("a transaction");
        assert!(tx.lock_log().await.expect("a lock"));
        let events = tx.sequence(BATCH).await.expect("places").events;
        tx.commit().await.expect("a commit");
        if events < BATCH {
            tokio::time::sleep(LOOK).await;
        }
    }
}
