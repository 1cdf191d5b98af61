//! Steps that people carry out, and the request that waits for them.

use std::{sync::Arc, time::Duration};

use rightful::{
    domain::request::{ManualResult, Outcome, Refusal, Request, Status, StepState, StepStatus},
    service::{error::ServiceError, holds::end, manual::complete},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    PLAN, SCHEMA, count,
    holds::{affected, hold, reader, request, slow},
    pacing,
};
use crate::support::{
    app::eventually,
    harness::Harness,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target},
};

/// The plan of the other tests, with a paper file and somebody to be told.
pub fn with_manual_steps() -> String {
    format!(
        "{PLAN}manual:\n  - {{ name: paper_file, do: Shred it }}\n  - {{ name: mailer, do: Write to them, recipient: \
         Mailer Inc. }}\n  - {{ name: handover, do: Send a letter, kinds: [export] }}\n"
    )
}

async fn harness(store: &TestStore, target: &Target) -> Harness {
    target.execute(SCHEMA);
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(&with_manual_steps()).await.unwrap();
    harness
}

/// Fresh stores, each with a SQLite target and a harness on both.
async fn harnesses() -> Vec<(Harness, Target, TestStore)> {
    let mut all = Vec::new();
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        all.push((harness(&store, &target).await, target, store));
    }
    all
}

async fn say(harness: &Harness, id: Uuid, step: &str, result: ManualResult) -> Result<Request, ServiceError> {
    let reading = complete(&harness.service, &reader("alice"), id, step, result, None).await?;
    Ok(reading.request)
}

fn statuses(request: &Request) -> Vec<StepStatus> {
    request.steps.iter().map(|step| step.status).collect()
}

async fn has_sealed_keys(harness: &Harness, id: Uuid) -> bool {
    !harness.service.store.key_parts(id, "").await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_does_its_part_and_lets_go_until_people_have_done_theirs() {
    use StepStatus::{Completed, Waiting};
    for (harness, target, _store) in harnesses().await {
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let waiting = harness.run(id).await;
        assert_eq!((waiting.status(), waiting.lease_until), (Status::InProgress, None), "{waiting:?}");
        assert_eq!(statuses(&waiting), [Completed, Completed, Waiting, Waiting], "not that of exports");
        assert_eq!((count(&target, "users"), count(&target, "visits")), (1, 1));
        assert!(has_sealed_keys(&harness, id).await, "they are kept until the end");

        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.attempt, 1, "nobody can take it up");
        let first = say(&harness, id, "mailer", ManualResult::Done).await.unwrap();
        assert_eq!(statuses(&first), [Completed, Completed, Waiting, Completed]);
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.attempt, 1, "one is still waited for");
        say(&harness, id, "paper_file", ManualResult::Done).await.unwrap();
        let done = harness.run(id).await;
        assert_eq!((done.state.outcome(), done.attempt), (Some(Outcome::Done), 2), "{done:?}");
        assert!(!has_sealed_keys(&harness, id).await);
    }
}

/// A key that was given to somebody else while people were waited for is no reason to fail, and no row of theirs goes.
#[tokio::test(flavor = "multi_thread")]
async fn no_table_is_looked_at_again_after_the_last_step() {
    for (harness, target, _store) in harnesses().await {
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        target.execute("INSERT INTO users VALUES (1, 'new@example.com'); INSERT INTO visits VALUES (30, 1);");
        target.execute("ALTER TABLE visits ADD COLUMN place TEXT;");
        for step in ["paper_file", "mailer"] {
            say(&harness, id, step, ManualResult::Done).await.unwrap();
        }
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
        assert_eq!((count(&target, "users"), count(&target, "visits")), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whom_no_table_knows_may_still_have_a_paper_file() {
    for (harness, _target, _store) in harnesses().await {
        let id = harness.submit("customer", json!({ "user_id": 99 })).await;
        let waiting = harness.run(id).await;
        assert_eq!((waiting.status(), waiting.touched), (Status::InProgress, false), "{waiting:?}");
        say(&harness, id, "paper_file", ManualResult::Done).await.unwrap();
        say(&harness, id, "mailer", ManualResult::Impossible).await.unwrap();
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::DoneWithExceptions), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_of_the_person_run_while_people_are_waited_for() {
    for (harness, _target, _store) in harnesses().await {
        harness.register(&PLAN.replace("plan: customer", "plan: guest")).await.unwrap();
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert!(harness.run(id).await.is_left_to_people());
        let other = harness.submit("guest", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(other).await.status(), Status::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_may_be_done_before_the_worker() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        let harness = harness(&store, &target).await;
        // The person is known, and then somebody holds their rows.
        let mut holder = target.session();
        holder.execute("BEGIN IMMEDIATE");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let paused = harness.run(id).await;
        assert_eq!((paused.status(), paused.resolved), (Status::Paused, true), "{paused:?}");
        for step in ["paper_file", "mailer"] {
            let said = say(&harness, id, step, ManualResult::Done).await.unwrap();
            assert_eq!((said.status(), said.run_at), (Status::Paused, request(&harness, id).await.run_at));
        }
        holder.execute("ROLLBACK");
        drop(holder);
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
        assert_eq!(count(&target, "users"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_people_can_be_cancelled() {
    for (harness, _target, _store) in harnesses().await {
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        let cancelled = harness.cancel(id).await;
        assert_eq!(cancelled.state.outcome(), Some(Outcome::Partial), "rows are gone");
        assert!(cancelled.steps.iter().all(|step| step.status != StepStatus::Waiting), "{cancelled:?}");
        assert!(!has_sealed_keys(&harness, id).await);
        let late = say(&harness, id, "paper_file", ManualResult::Done).await;
        assert!(matches!(late, Err(ServiceError::Refused(Refusal::State(_)))));

        let nobody = harness.submit("customer", json!({ "user_id": 99 })).await;
        harness.run(nobody).await;
        say(&harness, nobody, "paper_file", ManualResult::Done).await.unwrap();
        assert_eq!(harness.cancel(nobody).await.state.outcome(), Some(Outcome::Partial), "a file is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_people_at_once_one_has_completed_the_step() {
    for (harness, _target, _store) in harnesses().await {
        let harness = Arc::new(harness);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        let both = [ManualResult::Done, ManualResult::Impossible].map(|result| {
            let harness = harness.clone();
            tokio::spawn(async move { say(&harness, id, "paper_file", result).await })
        });
        let mut won = Vec::new();
        for one in both {
            match one.await.unwrap() {
                Ok(request) => won.extend(request.steps.iter().find_map(StepState::result)),
                Err(ServiceError::Refused(Refusal::StepNotWaiting(_))) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        let seen = request(&harness, id).await;
        assert_eq!(seen.steps.iter().find_map(StepState::result), won.pop());
    }
}

/// Whoever comes first, row and audit log agree.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_completion_and_a_cancellation_at_once_both_are_told_the_truth() {
    for (harness, _target, _store) in harnesses().await {
        let harness = Arc::new(harness);
        for person in 50..60 {
            let id = harness.submit("customer", json!({ "user_id": person })).await;
            harness.run(id).await;
            let saying = tokio::spawn({
                let harness = harness.clone();
                async move { say(&harness, id, "paper_file", ManualResult::Done).await }
            });
            let cancelled = harness.cancel(id).await;
            let said = saying.await.unwrap().is_ok();
            let events = harness.service.store.request_events(id, 0, 100).await.unwrap();
            let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
            assert_eq!(names.last(), Some(&"request.cancelled"), "{names:?}");
            assert_eq!(names.contains(&"step.completed"), said, "{names:?}");
            let outcome = if said { Outcome::Partial } else { Outcome::NothingDone };
            assert_eq!(cancelled.state.outcome(), Some(outcome));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_not_shredded_either() {
    for (harness, _target, _store) in harnesses().await {
        let id = harness.submit("customer", json!({ "user_id": 1, "email": "jane@example.com" })).await;
        harness.run(id).await;
        let placed = hold(&harness).await;
        let held = request(&harness, id).await;
        assert_eq!((held.status(), held.hold), (Status::OnHold, Some(placed.hold.id)), "at once");
        let refused = say(&harness, id, "paper_file", ManualResult::Done).await;
        assert!(matches!(refused, Err(ServiceError::Refused(Refusal::StepHeld))));

        end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
        harness.make_due(id).await;
        let waiting = harness.run(id).await;
        assert_eq!((waiting.status(), waiting.attempt), (Status::InProgress, 1), "it waits for people again");
        for step in ["paper_file", "mailer"] {
            say(&harness, id, step, ManualResult::Done).await.unwrap();
        }
        assert_eq!(harness.run(id).await.status(), Status::Completed);
    }
}

/// The worker owns the row and the chain of its events.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_not_completed_under_a_workers_hands() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        let harness = slow(&store, &target, &with_manual_steps()).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let run = tokio::spawn({
            let harness = harness.clone();
            async move { harness.run(id).await }
        });
        eventually("the first batches", async || affected(&request(&harness, id).await) >= 2).await;
        let refused = say(&harness, id, "paper_file", ManualResult::Done).await;
        assert!(matches!(refused, Err(ServiceError::Refused(Refusal::StepAtWork))));
        let waiting = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
        assert_eq!(affected(&waiting), 61);
        say(&harness, id, "paper_file", ManualResult::Done).await.unwrap();
    }
}

/// What was said of a step holds for the version that asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_somebody_worked_on_keeps_its_plan() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        let harness = harness(&store, &target).await;
        let mut holder = target.session();
        holder.execute("BEGIN IMMEDIATE");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let paused = harness.run(id).await;
        holder.execute("ROLLBACK");
        drop(holder);
        say(&harness, id, "mailer", ManualResult::Disproportionate).await.unwrap();
        harness.register(&with_manual_steps().replace("Shred it", "Burn it")).await.unwrap();
        let retried = harness.retry(id).await;
        assert_eq!(retried.plan_version, paused.plan_version);
        assert_eq!(retried.steps.iter().filter(|step| step.result().is_some()).count(), 1);
        assert!(harness.run(id).await.is_left_to_people());
    }
}
