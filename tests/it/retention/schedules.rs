//! Schedules: each moment once, whoever sees it; what was missed once; a clock that is set.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rightful::{
    domain::{
        request::Status,
        run::{Run, Task},
        schedule::{Schedule, Timing},
    },
    service::runs::{Decision, Upkeep, decide, schedules},
};

use super::{DELETE, configured, go_on, harness, policies, shop};
use crate::support::{
    harness::Harness,
    stores::{TestStore, sqlite_store, stores},
    targets::{Dialect, Target, target},
};

fn with(store: &TestStore, target: &Target, timing: &str) -> Harness {
    let schedule = Schedule {
        name: "nightly".to_owned(),
        timing: Timing::parse(timing, chrono_tz::Tz::UTC).unwrap(),
        task: Task::Retention("old_orders".to_owned()),
    };
    let upkeep = Upkeep { policies: policies(DELETE), schedules: vec![schedule], ..Upkeep::default() };
    harness(store, target, policies(DELETE)).keeping(upkeep)
}

const NIGHTLY: &str = "0 3 * * *";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn fire(harness: &Harness, now: &str) -> Vec<Run> {
    schedules::fire_at(&harness.service, at(now)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_moment_is_fired_once_by_whoever_sees_it() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        shop(&target);
        let harnesses: Vec<Arc<Harness>> = (0..4).map(|_| Arc::new(with(&store, &target, NIGHTLY))).collect();
        assert_eq!(fire(&harnesses[0], "2026-01-01T12:00:00Z").await, []);
        let all = harnesses.iter().map(|harness| {
            let harness = harness.clone();
            tokio::spawn(async move { fire(&harness, "2026-01-02T03:00:00Z").await })
        });
        let mut fired = Vec::new();
        for one in all.collect::<Vec<_>>() {
            fired.extend(one.await.unwrap());
        }
        assert_eq!(fired.len(), 1, "{fired:?}");
        assert_eq!(fired[0].created_by, "schedule:nightly");
        let run = go_on(&harnesses[1], fired[0].id).await;
        assert_eq!(run.status(), Status::Completed, "{run:?}");
        // Nothing ran for three nights: that is made up for once.
        let late = fire(&harnesses[2], "2026-01-05T08:00:00Z").await;
        assert_eq!(late.len(), 1, "{late:?}");
        assert_eq!(fire(&harnesses[3], "2026-01-05T08:00:01Z").await, []);
        let firing = harnesses[0].service.store.firings().await.unwrap().remove(0);
        assert_eq!(firing.next_at, Some(at("2026-01-06T03:00:00Z")));
        assert_eq!((firing.fired_at, firing.run_id), (Some(at("2026-01-05T03:00:00Z")), Some(late[0].id)));
        let read = schedules::list(&harnesses[0].service).await.unwrap();
        assert_eq!(read[0].last_run.as_ref().unwrap().id, late[0].id);
        // The run before is not over.
        assert_eq!(fire(&harnesses[0], "2026-01-06T03:00:00Z").await, []);
        let read = schedules::list(&harnesses[0].service).await.unwrap();
        assert_eq!(read[0].skipped_at, Some(at("2026-01-06T03:00:00Z")));
        decide(&harnesses[0].service, "alice", late[0].id, Decision::Cancel).await.unwrap();
        assert_eq!(fire(&harnesses[0], "2026-01-07T03:00:00Z").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_neither_repeats_nor_loses_a_night() {
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).unwrap();
    shop(&target);
    let harness = with(&store, &target, NIGHTLY);
    let mut fired = Vec::new();
    fire(&harness, "2026-01-01T12:00:00Z").await;
    for now in [
        "2026-01-02T03:00:00Z",
        // An hour back, and over the moment again.
        "2026-01-02T02:00:00Z",
        "2026-01-02T03:00:00Z",
        // Back by hours, and right again.
        "2026-01-01T20:00:00Z",
        "2026-01-02T05:00:00Z",
        "2026-01-03T03:00:00Z",
        "2026-01-04T03:00:00Z",
    ] {
        for run in fire(&harness, now).await {
            go_on(&harness, run.id).await;
            fired.push(run.idempotency_key.unwrap());
        }
    }
    let expected =
        ["2026-01-02T03:00:00.000000Z", "2026-01-03T03:00:00.000000Z", "2026-01-04T03:00:00.000000Z"];
    assert_eq!(fired, expected);
    // Ahead by mistake fires once, for what it seems to have missed; the nights after are as they should be.
    for (now, runs) in [
        ("2027-06-01T00:00:00Z", 1),
        ("2026-01-04T04:00:00Z", 0),
        ("2026-01-05T02:59:59Z", 0),
        ("2026-01-06T03:00:00Z", 1),
    ] {
        let fired = fire(&harness, now).await;
        assert_eq!(fired.len(), runs, "{now}");
        for run in fired {
            go_on(&harness, run.id).await;
        }
    }
}

/// Another timing counts from now on.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_changes_makes_up_for_nothing() {
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).unwrap();
    shop(&target);
    fire(&with(&store, &target, NIGHTLY), "2026-01-01T12:00:00Z").await;
    let hourly = with(&store, &target, "1h");
    assert_eq!(fire(&hourly, "2026-01-09T12:30:00Z").await, []);
    assert_eq!(fire(&hourly, "2026-01-09T13:00:00Z").await.len(), 1);
}

#[test]
fn the_configuration_names_what_is_there() {
    let sections = |schedules: &str| format!("retention:\n  policies:\n{DELETE}{schedules}");
    let ok = configured(&sections(
        "schedules:\n  a: { cron: \"0 3 * * *\", time_zone: Europe/Berlin, handler: \"retention:old_orders\" }\n  \
         b: { interval: 6h, handler: \"retention:old_orders\" }\n",
    ));
    assert_eq!(ok.unwrap().schedules.len(), 2);
    let own = configured(&sections("      schedule: 6h\n")).unwrap();
    assert_eq!(own.schedules[0].name, "retention:old_orders");
    for (text, problem) in [
        (
            "schedules:\n  a: { interval: 6h, handler: \"retention:old_order\" }\n",
            "did you mean `old_orders`?",
        ),
        ("schedules:\n  a: { interval: 6h, handler: sweep }\n", "is no handler"),
        ("schedules:\n  a: { handler: \"retention:old_orders\" }\n", "one of interval and cron"),
        ("schedules:\n  a: { cron: \"0 3 * *\", handler: \"retention:old_orders\" }\n", "error"),
        (
            "schedules:\n  a: { interval: 6h, time_zone: Mars, handler: \"retention:old_orders\" }\n",
            "no time zone",
        ),
    ] {
        let refused = configured(&sections(text)).unwrap_err();
        assert!(refused.contains(problem), "{refused}");
    }
}
