//! Who is not the person any more, who must not be touched, and what keeps a run from its end.

use chrono::TimeDelta;
use rightful::{
    domain::{
        audit::EventName,
        clock::Clock,
        hold::{Ground, Scope},
        ledger::{Entry, place as place_of},
        replay::{Fate, NotSubmitted},
        request::{Kind, Outcome, Status, Subject},
        sweep::Sweep,
    },
    service::{
        error::ServiceError,
        holds::{Placement, end, place},
        replays,
        runs::{self, Asked},
        sweeps::carry_out_batch,
    },
};
use serde_json::json;

use super::{
    PLAN, audit_verifies, begin, bring_back, erase, events, items, ledger::entries, pacing, progress, reader,
    requests, retry, seed, shop, shops, step, there, to_the_end,
};
use crate::{
    retention::go_on,
    support::{
        harness::Harness,
        stores::sqlite_store,
        targets::{Dialect, target, targets},
    },
};

fn error_of(run: &rightful::domain::run::Run) -> &str {
    run.state.error().map_or("", |error| error.code.as_str())
}

/// The backup is from before the id was the person's: somebody else has it there, and somebody else has the address.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_identity_of_the_erased_is_not_erased_for_them() {
    for target in targets() {
        let store = sqlite_store().await;
        seed(&target);
        let harness = shop(&store, &target).await;
        let since = harness.service.clock.now();
        for user in [2, 3] {
            erase(&harness, json!({ "user_id": user })).await;
        }
        target.execute(
            "INSERT INTO users VALUES (2, 'somebody@example.com');
             INSERT INTO visits VALUES (90, 'somebody@example.com');
             INSERT INTO users VALUES (33, 'u3@example.com');
             INSERT INTO visits VALUES (91, 'u3@example.com')",
        );
        let before = there(&target);
        let run = to_the_end(&harness, begin(&harness, Some(since)).await.id).await;
        assert_eq!((run.status(), error_of(&run)), (Status::Failed, "replay_incomplete"), "{run:?}");
        assert_eq!((progress(&run).failed, progress(&run).no_match), (2, 0));
        assert_eq!(run.state.outcome(), Some(Outcome::Partial));
        for request in requests(&harness).await.iter().filter(|request| request.created_at >= since) {
            let code = request.state.error().map(|error| error.code.as_str());
            assert_eq!((request.status(), code), (Status::Failed, Some("subject_ambiguous")), "{request:?}");
        }
        assert_eq!(there(&target), before, "{:?}", target.dialect);
        // Somebody looks, and mends what the backup has brought.
        target.execute(
            "DELETE FROM users WHERE id IN (2, 33); DELETE FROM visits WHERE id IN (90, 91);
             INSERT INTO users VALUES (2, 'u2@example.com')",
        );
        let run = retry(&harness, run.id).await;
        let done = progress(&run);
        assert_eq!((run.status(), done.completed, done.no_match), (Status::Completed, 1, 1), "{run:?}");
        assert_eq!(there(&target).0, "1 4 5", "{:?}", target.dialect);
        let replayed = requests(&harness).await;
        assert_eq!(replayed.iter().filter(|request| request.created_at >= since).count(), 2, "the same two");
    }
}

/// Nobody was there when they were erased: whoever has the address now may have come later.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_there_before_is_not_erased_unseen() {
    for (harness, target, _store) in shops().await {
        let erased = erase(&harness, json!({ "email": "u7@example.com" })).await;
        assert_eq!(erased.state.outcome(), Some(Outcome::NoMatch));
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!(
            (run.status(), run.state.outcome()),
            (Status::Completed, Some(Outcome::NoMatch)),
            "{run:?}"
        );

        bring_back(&target, &[7]);
        let preview = replays::preview(&harness.service, None).await.unwrap();
        assert_eq!((preview.entries, preview.found, preview.unclear), (1, 0, 1), "{preview:?}");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "{run:?}");
        assert_eq!(there(&target).0, "1 2 3 4 5 7");
        // Somebody knows that it is the same person.
        erase(&harness, json!({ "email": "u7@example.com" })).await;
        let run = retry(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).no_match), (Status::Completed, 1), "{run:?}");
        assert_eq!(there(&target).0, "1 2 3 4 5");
    }
}

/// The identities of the request that failed are gone, and those of the ledger are not.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_swept_meanwhile_is_asked_for_anew() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 2 })).await;
        bring_back(&target, &[2]);
        target.execute("UPDATE users SET email = 'somebody@example.com' WHERE id = 2");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "{run:?}");
        let (before, now) = (Clock.now() + TimeDelta::days(1), Clock.now());
        let swept = carry_out_batch(&harness.service, Sweep::Identities, before, now).await.unwrap();
        assert_eq!(swept.requests, 2);
        target.execute("UPDATE users SET email = 'u2@example.com' WHERE id = 2");
        let run = retry(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 1), "{run:?}");
        assert_eq!(there(&target).0, "1 3 4 5", "{:?}", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_the_run_open_and_the_person_untouched() {
    for (harness, target, _store) in shops().await {
        for user in [1, 2] {
            erase(&harness, json!({ "user_id": user })).await;
        }
        bring_back(&target, &[1, 2]);
        let placement = Placement {
            plan: "customer".to_owned(),
            subject: Subject([("email".to_owned(), json!("u1@example.com"))].into()),
            scope: Scope::AllPlans,
            table: None,
            ground: Ground::LegalObligation,
            reason: "an audit".to_owned(),
            expires_at: None,
        };
        let placed = place(&harness.service, &reader("alice"), placement).await.unwrap();
        let run = begin(&harness, None).await;
        for _ in 0..5 {
            step(&harness, run.id).await;
        }
        let waiting = runs::read(&harness.service, run.id).await.unwrap();
        assert_eq!(
            (waiting.status(), waiting.lease_until),
            (Status::InProgress, None),
            "no worker is kept by it"
        );
        let known = progress(&waiting);
        assert_eq!((known.completed, known.waiting, known.waiting_for_people), (1, 1, 1), "{waiting:?}");
        assert_eq!(there(&target).0, "1 3 4 5");
        let looks = events(&harness, EventName::RunResumed).await;
        assert!(looks.len() <= 1, "who only looks again tells nobody: {looks:?}");

        end(&harness.service, &reader("arno"), placed.reading.hold.id).await.unwrap();
        let run = to_the_end(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 2), "{run:?}");
        assert_eq!(there(&target).0, "3 4 5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_gone_or_knows_the_person_otherwise_is_told() {
    for (harness, target, _store) in shops().await {
        let other = PLAN.replace("plan: customer", "plan: visitor");
        harness.register(&other).await.unwrap();
        let id = harness.submit("visitor", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        erase(&harness, json!({ "user_id": 2 })).await;
        bring_back(&target, &[1, 2]);
        let renamed = PLAN.replace("  user_id: ", "  number: ");
        harness.withdraw("visitor");
        harness.register(&renamed).await.unwrap();
        let preview = replays::preview(&harness.service, None).await.unwrap();
        let registered: Vec<_> =
            preview.plans.iter().map(|plan| (plan.plan.as_str(), plan.registered, plan.entries)).collect();
        assert_eq!(registered, [("customer", true, 1), ("visitor", false, 1)]);
        assert_eq!((preview.unusable, preview.found), (2, 0), "{preview:?}");

        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), error_of(&run)), (Status::Failed, "replay_incomplete"), "{run:?}");
        let fates: Vec<_> = items(&harness, run.id).await.iter().map(|item| item.fate).collect();
        let why = [NotSubmitted::UnknownPlan, NotSubmitted::UnfitIdentities];
        assert_eq!(fates, why.map(Fate::NotSubmitted));
        assert_eq!(there(&target).0, "1 2 3 4 5", "nobody was touched");
        harness.register(PLAN).await.unwrap();
        harness.register(&other).await.unwrap();
        let run = retry(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 2), "{run:?}");
        assert_eq!(there(&target).0, "3 4 5");
        audit_verifies(&harness).await;
    }
}

/// An open request is only waited for: it may be of somebody who shares an identity, or done with its tables before the
/// restore. Nor does it keep others from their turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_erasure_of_the_person_is_waited_for() {
    for (harness, target, _store) in shops().await {
        for user in [1, 2, 3] {
            erase(&harness, json!({ "user_id": user })).await;
        }
        bring_back(&target, &[1, 2, 3]);
        let own = harness.submit("customer", json!({ "user_id": 1 })).await;
        let shared = harness.submit("customer", json!({ "user_id": 4, "email": "u2@example.com" })).await;
        let run = begin(&harness, None).await;
        let known = progress(&go_on(&harness, run.id).await);
        assert_eq!((known.submitted, known.waiting, known.behind_others), (1, 1, 2), "{known:?}");
        assert!(!known.is_left_to_people());
        harness.cancel(own).await;
        let run = to_the_end(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 3), "{run:?}");
        let shared = harness.service.store.request(shared).await.unwrap().unwrap();
        assert_eq!(shared.status(), Status::Failed, "two persons");
        assert_eq!((requests(&harness).await.len(), there(&target).0.as_str()), (3, "4 5"));
    }
}

/// One run at a time, carried out by one of two workers: each person has one request.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_erase_once() {
    for (harness, target, store) in shops().await {
        for user in 1..=5 {
            erase(&harness, json!({ "user_id": user })).await;
        }
        bring_back(&target, &[1, 2, 3, 4, 5]);
        let other = shop(&store, &target).await;
        let asked = |key: &str| Asked { by: "alice".to_owned(), idempotency_key: Some(key.to_owned()) };
        let (one, two) = tokio::join!(
            replays::begin(&harness.service, None, asked("a")),
            replays::begin(&other.service, None, asked("b"))
        );
        let begun: Vec<_> = [&one, &two].into_iter().flatten().collect();
        assert_eq!(begun.len(), 1, "{one:?} {two:?}");
        let id = begun[0].0.id;
        let busy = [&one, &two].into_iter().filter_map(|begun| begun.as_ref().err());
        assert!(
            busy.into_iter().all(|error| matches!(error, ServiceError::DuplicateRun(open) if *open == id))
        );
        let key = if one.is_ok() { "a" } else { "b" };
        let again = replays::begin(&harness.service, None, asked(key)).await.unwrap();
        assert_eq!((again.0.id, again.1), (id, false), "the same call again");
        let since = Some(harness.service.clock.now());
        let reused = replays::begin(&harness.service, since, asked(key)).await;
        assert!(matches!(reused, Err(ServiceError::IdempotencyKeyReused)), "{reused:?}");

        let (first, second) = tokio::join!(go_on(&harness, id), go_on(&other, id));
        assert!(first.attempt <= 1 && second.attempt <= 1, "{first:?} {second:?}");
        tokio::join!(harness.work(), other.work());
        let run = to_the_end(&harness, id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 5), "{run:?}");
        assert_eq!((requests(&harness).await.len(), there(&target).0.as_str()), (5, ""));
        assert_eq!(entries(&harness).await.len(), 5);
    }
}

/// A worker that has lost the run to another one makes no second request.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_meanwhile_is_not_settled_again() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        bring_back(&target, &[1]);
        let run = begin(&harness, None).await;
        go_on(&harness, run.id).await;
        let [item] = items(&harness, run.id).await.try_into().unwrap();
        let Fate::Submitted(made, _) = item.fate else { panic!("{item:?}") };
        let mut tx = harness.service.store.begin().await.unwrap();
        let stale = rightful::domain::replay::Item { fate: Fate::Pending, ..item.clone() };
        let other = Fate::Submitted(harness.service.clock.new_id(), None);
        assert!(!tx.put_fate(&stale, other).await.unwrap());
        assert!(!tx.put_fate(&stale, Fate::NotSubmitted(NotSubmitted::Expired)).await.unwrap());
        assert!(tx.put_fate(&item, Fate::Submitted(made, None)).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(items(&harness, run.id).await, [item]);
    }
}

/// Requests of a replay are nobody's that waits for an answer, and a retention of others is none of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn its_requests_are_ordinary_but_for_the_month() {
    for (harness, target, _store) in shops().await {
        let erased = erase(&harness, json!({ "email": "u1@example.com" })).await;
        bring_back(&target, &[1]);
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        let [request] = requests(&harness).await.try_into().unwrap();
        assert_eq!((request.kind, request.created_by.as_str()), (Kind::Erasure, "alice"));
        assert_eq!(request.due_at(), None);
        let replay = request.answering.replay.clone().unwrap();
        assert_eq!((replay.of, replay.run, replay.found), (erased.id, run.id, true));
        let created = events(&harness, EventName::RequestCreated).await;
        let told: Vec<_> = created.iter().filter(|event| !event["details"]["replay_of"].is_null()).collect();
        assert_eq!(told.len(), 1, "{created:?}");
        assert_eq!(told[0]["details"]["run_id"], json!(run.id));
        let counts = harness.service.store.counts(None).await.unwrap();
        assert_eq!((counts.overdue, counts.due_soon), (0, 0));
        let kept = serde_json::to_string(&run.report).unwrap();
        assert!(!kept.contains("example.com"), "{kept}");
    }
}

/// What it has made goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_its_requests() {
    for (harness, target, _store) in shops().await {
        for user in [1, 2] {
            erase(&harness, json!({ "user_id": user })).await;
        }
        bring_back(&target, &[1, 2]);
        let run = begin(&harness, None).await;
        assert_eq!(progress(&go_on(&harness, run.id).await).waiting, 2);
        // It waits, and is due at once all the same.
        runs::decide(&harness.service, "alice", run.id, runs::Decision::Cancel).await.unwrap();
        let cancelled = go_on(&harness, run.id).await;
        assert_eq!(
            (cancelled.status(), cancelled.state.outcome()),
            (Status::Cancelled, Some(Outcome::Partial))
        );
        harness.work().await;
        assert_eq!(there(&target).0, "3 4 5");
        audit_verifies(&harness).await;
    }
}

/// A process that only carries out offers no plans itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_by_the_plans_as_they_were_registered_last() {
    for (harness, target, store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        bring_back(&target, &[1]);
        let worker = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
        assert!(worker.service.plans.names().is_empty());
        let run = to_the_end(&worker, begin(&worker, None).await.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 1), "{run:?}");
        assert_eq!(there(&target).0, "2 3 4 5");
    }
}

/// People's own requests do not wait behind all of a large ledger.
#[tokio::test(flavor = "multi_thread")]
async fn only_some_requests_are_open_at_a_time() {
    const NOBODIES: i64 = 700;
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).unwrap();
    seed(&target);
    let harness = shop(&store, &target).await;
    let ledger = harness.service.ledgers.current(&harness.service).await.unwrap().clone();
    let mut tx = harness.service.store.begin().await.unwrap();
    for number in 0..NOBODIES {
        let identities = Subject([("email".to_owned(), json!(format!("n{number}@example.com")))].into());
        // As entries were sealed before more was kept.
        let kept = serde_json::to_vec(&json!({ "identities": identities, "found": true })).unwrap();
        let id = harness.service.clock.new_id();
        tx.enter(&Entry {
            id,
            ledger: ledger.id.clone(),
            erasure: id,
            plan: "customer".to_owned(),
            completed_at: harness.service.clock.now(),
            sealed: ledger.key.seal(&kept, &place_of(id)),
        })
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    let run = begin(&harness, None).await;
    let known = progress(&go_on(&harness, run.id).await);
    assert_eq!((known.entries, known.submitted, known.pending()), (NOBODIES, 500, 200), "{known:?}");
    let again = progress(&step(&harness, run.id).await);
    assert_eq!((again.submitted, again.waiting), (500, 500), "none has ended by then: {again:?}");
    let run = to_the_end(&harness, run.id).await;
    assert_eq!((run.status(), progress(&run).no_match), (Status::Completed, NOBODIES), "{run:?}");
    assert_eq!(there(&target).0, "1 2 3 4 5");
}
