//! The service is killed at every named point between two durable writes, on both stores, and started again: the same
//! scenarios and oracles as at random moments. `cargo test` takes a few of them; `RIGHTFUL_KILLS=N` is so many, all of
//! them in turn, or those that begin with `RIGHTFUL_KILLS_AT`.

mod stopped;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Instant,
};

use rightful::points::Point;

use super::{
    PLAN, consents, export, keeps,
    kills::{Kills, kills},
    log, manual, rectification, replay, retention, services, states, sweeps,
};
use crate::{
    properties::random::Random,
    support::{
        environment,
        stores::{TestStore, stores},
        targets::{Dialect, Target, target, target_like},
    },
};

/// Without `RIGHTFUL_KILLS`.
const FEW: usize = 8;
/// How many go on at once on SQLite stores and on PostgreSQL stores. Most of a case is waiting, for leases and for processes
/// that start; but each process may take 24 connections, and a server has 100 for all of them.
const ABREAST: [usize; 2] = [5, 3];

/// What goes on while the service is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scenario {
    /// Erasures, batch by batch.
    Batches,
    /// Erasures that are booked by an attempt after the one that died.
    Recovery,
    /// Erasures whose steps share a transaction.
    Groups,
    Services,
    Keeps,
    EndsOfKeeps,
    Rectifications,
    Exports,
    Expiry,
    Manual,
    States,
    Consents,
    Retention,
    RetentionRecovery,
    Sweeps,
    Replays,
    Log,
}

/// Where a point is passed.
fn scenario(point: Point) -> Scenario {
    match point {
        Point::RequestAccepted
        | Point::RequestRepeated
        | Point::RequestClaimed
        | Point::PersonResolved
        | Point::StepAnnounced
        | Point::MaskAnnounced
        | Point::BatchCommitting
        | Point::BatchCommitted
        | Point::BatchRecorded
        | Point::RootCommitting
        | Point::RootCommitted
        | Point::RootRecorded
        | Point::StepVerifying
        | Point::StepVerified
        | Point::RequestCompleting
        | Point::RequestCompleted
        | Point::LedgerBegun => Scenario::Batches,
        Point::BatchRecovered => Scenario::Recovery,
        Point::GroupCommitting | Point::GroupCommitted | Point::GroupRecorded => Scenario::Groups,
        Point::KeysSealed
        | Point::AttemptEnded
        | Point::CallSending
        | Point::CallAnswered
        | Point::CallKept
        | Point::CallBooked => Scenario::Services,
        Point::KeepSealed | Point::KeepBegun | Point::KeepLooked => Scenario::Keeps,
        Point::KeepReopened => Scenario::EndsOfKeeps,
        Point::RectificationCommitting
        | Point::RectificationCommitted
        | Point::RectificationRecorded
        | Point::RectificationVerified => Scenario::Rectifications,
        Point::ExportPartWritten
        | Point::ExportStepRecorded
        | Point::ExportPacked
        | Point::ExportRecorded
        | Point::PackageDownloaded => Scenario::Exports,
        Point::PackageExpired | Point::PackageRemoved => Scenario::Expiry,
        Point::ManualLeft | Point::ManualCompleted => Scenario::Manual,
        Point::RequestApproved
        | Point::HoldPlaced
        | Point::HoldHeeded
        | Point::HoldEnded
        | Point::WebhookTaken
        | Point::WebhookSent
        | Point::WebhookNoted => Scenario::States,
        Point::ConsentRecorded | Point::ConsentsPseudonymised => Scenario::Consents,
        Point::RunAccepted
        | Point::RunScheduled
        | Point::RunClaimed
        | Point::RetentionStarted
        | Point::RetentionArchived
        | Point::RetentionCommitting
        | Point::RetentionCommitted
        | Point::RetentionRecorded
        | Point::RetentionCompleted => Scenario::Retention,
        Point::RetentionRecovered => Scenario::RetentionRecovery,
        Point::SweepRemoving | Point::SweepRemoved => Scenario::Sweeps,
        Point::ReplayListed | Point::ReplaySubmitted | Point::ReplayRecorded | Point::ReplaySettled => {
            Scenario::Replays
        }
        Point::LogRead
        | Point::LogPlaced
        | Point::CheckpointSigned
        | Point::CheckpointTaken
        | Point::CheckpointPut
        | Point::CheckpointPublished => Scenario::Log,
    }
}

/// How often one life passes a point at least.
fn passings(point: Point) -> usize {
    match scenario(point) {
        Scenario::Recovery
        | Scenario::EndsOfKeeps
        | Scenario::RetentionRecovery
        | Scenario::Replays
        | Scenario::Consents => 1,
        Scenario::Retention if point < Point::RetentionArchived => 1,
        Scenario::Sweeps => 2,
        _ if [Point::LedgerBegun, Point::RetentionCompleted].contains(&point) => 1,
        Scenario::Batches if (Point::BatchCommitting..=Point::BatchRecorded).contains(&point) => 12,
        Scenario::Retention => 12,
        _ => 3,
    }
}

impl Scenario {
    async fn run(self, target: &Target, store: &TestStore, kills: Kills) {
        let url = store.url.as_str();
        match self {
            Self::Batches => super::survive(target, url, PLAN, &kills).await,
            Self::Recovery => {
                let kills = Kills::After(Point::BatchCommitted, Box::new(kills));
                super::survive(target, url, PLAN, &kills).await;
            }
            Self::Groups => {
                // Values that are not computed need no record of their own.
                let plan = PLAN.replace("{ hmac: {} }", "{ string_rewrite: gone }");
                super::survive(target, url, &plan, &kills).await;
            }
            Self::Services => services::survive(target, url, &kills).await,
            Self::Keeps => keeps::survive(target, url, keeps::SOON, [&kills, &Kills::Once]).await,
            Self::EndsOfKeeps => keeps::survive(target, url, keeps::LATER, [&Kills::Once, &kills]).await,
            Self::Rectifications => {
                rectification::survive(target, &target_like(target), url, &kills).await;
            }
            Self::Exports => export::survive(target, url, &kills).await,
            Self::Expiry => export::expire(target, store, &kills).await,
            Self::Manual => manual::survive(target, url, &kills).await,
            Self::States => states::survive(target, store, &kills).await,
            Self::Consents => consents::survive(target, url, &kills).await,
            Self::Retention => retention::survive(target, url, &kills).await,
            Self::RetentionRecovery => {
                let kills = Kills::After(Point::RetentionCommitted, Box::new(kills));
                retention::survive(target, url, &kills).await;
            }
            Self::Sweeps => sweeps::survive(target, store, &kills).await,
            Self::Replays => replay::survive(target, url, [&Kills::Once, &kills]).await,
            Self::Log => log::survive(target, store, &kills).await,
        }
    }
}

struct Case {
    scenario: Scenario,
    kills: Kills,
    /// Of the list of stores.
    store: usize,
    dialect: Dialect,
}

impl Case {
    fn run(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async {
            let Some(store) = stores().await.into_iter().nth(self.store) else { return };
            let Some(target) = target(self.dialect) else { return };
            self.scenario.run(&target, &store, self.kills.clone()).await;
        });
    }

    fn name(&self) -> String {
        let store = ["SQLite", "PostgreSQL"][self.store];
        format!("{:?} in {:?}, {:?} target, {store} store", self.kills, self.scenario, self.dialect)
    }
}

/// A few at a time, each on a thread of its own; all of them before one that failed is told.
fn run_all(cases: impl IntoIterator<Item = Case>) {
    let left: Mutex<VecDeque<Case>> = Mutex::new(cases.into_iter().collect());
    let failed: Mutex<Vec<String>> = Mutex::default();
    let next = |store| {
        let mut left = left.lock().unwrap();
        let position = left.iter().position(|case| case.store == store)?;
        left.remove(position)
    };
    let stores = ABREAST.iter().enumerate().flat_map(|(store, abreast)| vec![store; *abreast]);
    std::thread::scope(|scope| {
        for store in stores {
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                while let Some(case) = next(store) {
                    let begun = Instant::now();
                    let outcome = catch_unwind(AssertUnwindSafe(|| case.run()));
                    println!(
                        "{}: {}, {:?}",
                        if outcome.is_ok() { "passed" } else { "FAILED" },
                        case.name(),
                        begun.elapsed()
                    );
                    if let Err(panic) = outcome {
                        failed.lock().unwrap().push(format!("{}: {}", case.name(), said(&*panic)));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// The list is that of the places where the service can die: none of them is passed by nobody.
#[test]
fn every_point_is_passed_in_its_scenario() {
    let mut scenarios: BTreeMap<Scenario, BTreeSet<Point>> = BTreeMap::new();
    for point in Point::ALL {
        scenarios.entry(scenario(*point)).or_default().insert(*point);
    }
    run_all(scenarios.into_iter().map(|(scenario, points)| Case {
        scenario,
        kills: Kills::Past(points),
        store: 0,
        dialect: Dialect::Sqlite,
    }));
}

#[test]
fn whatever_was_begun_ends_right_after_a_death_at_any_point() {
    let seed = u64::from(std::process::id());
    let mut random = Random::new(seed);
    let mut points: Vec<(Point, usize)> =
        Point::ALL.iter().flat_map(|point| [(*point, 0), (*point, 1)]).collect();
    if let Some(only) = environment("RIGHTFUL_KILLS_AT") {
        points.retain(|(point, _)| point.name().starts_with(&only));
        assert!(!points.is_empty(), "no point begins with {only}");
    }
    random.shuffle(&mut points);
    let count = kills().unwrap_or(FEW);
    println!("seed {seed}, {count} kills");
    let dialects = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];
    let all = points.len();
    run_all(points.into_iter().cycle().take(count).enumerate().map(|(number, (point, store))| {
        // The first round at the first passing, on the target that is always there.
        let is_first = number < all;
        let nth = if is_first { 1 } else { random.between(1, passings(point)) };
        let dialect = if is_first { Dialect::Sqlite } else { dialects[random.below(3)] };
        let nth = u64::try_from(nth).unwrap();
        Case { scenario: scenario(point), kills: Kills::At(point, nth), store, dialect }
    }));
}
