//! What was under way at a restore, what only some databases have lost, and what a replay leaves as it is.

use chrono::TimeDelta;
use rightful::{
    domain::{
        clock::Clock,
        consent::{ConsentState, ShownText, Source},
        replay::{Fate, NotSubmitted},
        request::{ManualResult, Outcome, Request, Status, Subject},
        sweep::Sweep,
    },
    service::{
        consents::{Act, Recorded, record},
        error::ServiceError,
        keeps::reopen,
        manual::complete,
        readings::{self, Reader},
        replays,
        sweeps::carry_out_batch,
    },
    store::{Page, RequestFilter, Sort},
};
use serde_json::json;

use super::{
    PLAN, audit_verifies, begin, bring_back, erase, items, ledger::entries, pacing, progress, reader,
    requests, retry, shops, step, there, to_the_end,
};
use crate::support::{
    harness::Harness,
    stores::sqlite_store,
    targets::{Dialect, target},
};

/// Its tables are done, and people still have to do their part.
async fn half_done(harness: &Harness, user: usize) -> Request {
    let manual = format!("{PLAN}manual:\n  - {{ name: paper_file, do: Shred it }}\n");
    harness.register(&manual).await.unwrap();
    let request = erase(harness, json!({ "user_id": user })).await;
    assert_eq!((request.status(), request.touched), (Status::InProgress, true), "{request:?}");
    harness.register(PLAN).await.unwrap();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_under_way_at_the_restore_is_done_again_when_it_has_completed() {
    for (harness, target, _store) in shops().await {
        let request = half_done(&harness, 1).await;
        bring_back(&target, &[1]);
        let run = begin(&harness, None).await;
        let waiting = step(&harness, run.id).await;
        let known = progress(&waiting);
        assert_eq!((known.entries, known.under_way, known.waiting_for_people), (0, 1, 1), "{known:?}");
        assert!(known.is_left_to_people() && !waiting.status().is_end());
        complete(&harness.service, &reader("arno"), request.id, "paper_file", ManualResult::Done, None)
            .await
            .unwrap();
        assert_eq!(harness.run(request.id).await.status(), Status::Completed);
        assert_eq!(there(&target).0, "1 2 3 4 5", "it was done with its tables");
        // Asked for after the restore: no business of the run.
        erase(&harness, json!({ "user_id": 5 })).await;
        let run = to_the_end(&harness, run.id).await;
        let done = progress(&run);
        assert_eq!((run.status(), done.entries, done.completed), (Status::Completed, 1, 1), "{run:?}");
        assert_eq!(there(&target).0, "2 3 4");
        audit_verifies(&harness).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_half_way_is_told() {
    for (harness, _target, _store) in shops().await {
        let request = half_done(&harness, 1).await;
        let cancelled = harness.cancel(request.id).await;
        assert_eq!(cancelled.state.outcome(), Some(Outcome::Partial));
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((progress(&run).entries, progress(&run).partial), (0, 1), "{run:?}");
    }
}

/// The names are the same, and the people are others.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_looks_elsewhere_erases_no_stranger() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 2 })).await;
        target.execute(
            "CREATE TABLE staff (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
             INSERT INTO staff VALUES (2, 'u2@example.com')",
        );
        let other = "plan: customer\nsubject:\n  user_id: shop.staff.id\n  email: shop.staff.email\n\
                     connections:\n  shop:\n    staff: { erase: delete }\n";
        harness.register(other).await.unwrap();
        let preview = replays::preview(&harness.service, None).await.unwrap();
        assert_eq!((preview.unusable, preview.found), (1, 0), "{preview:?}");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "{run:?}");
        let [item] = items(&harness, run.id).await.try_into().unwrap();
        assert_eq!(item.fate, Fate::NotSubmitted(NotSubmitted::UnfitIdentities));
        assert_eq!(crate::retention::ids(&target, "staff"), "2");
    }
}

/// Rows of the other database are found by a number that is no identity, and its row is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_restored_without_that_of_the_person() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let store = sqlite_store().await;
        let (Some(shop), Some(log)) = (target(dialect), target(dialect)) else { continue };
        shop.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, member INTEGER NOT NULL UNIQUE);
             INSERT INTO users VALUES (1, 71), (2, 72)",
        );
        let rows = "INSERT INTO calls VALUES (10, 71), (20, 72)";
        log.execute(&format!(
            "CREATE TABLE calls (id INTEGER PRIMARY KEY, member INTEGER NOT NULL);\n{rows}"
        ));
        let harness = Harness::new(store.store.clone(), &[("shop", &shop.url), ("log", &log.url)], pacing());
        harness
            .register(
                "plan: member\nsubject:\n  user_id: shop.users.id\nconnections:\n  shop:\n    users: { erase: delete }\n  \
                 log:\n    calls: { match: { member: shop.users.member }, erase: delete }\n"
            )
            .await
            .unwrap();
        let since = Clock.now();
        let id = harness.submit("member", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
        assert_eq!(crate::retention::ids(&log, "calls"), "20");
        log.execute("DELETE FROM calls");
        log.execute(rows);
        let run = to_the_end(&harness, begin(&harness, Some(since)).await.id).await;
        assert_eq!(crate::retention::ids(&log, "calls"), "20", "{dialect:?}: {run:?}");
        let [own] = requests(&harness).await.try_into().unwrap();
        assert_eq!(own.state.outcome(), Some(Outcome::Done), "{own:?}");

        // Somebody else has the number by now.
        shop.execute("INSERT INTO users VALUES (3, 71)");
        log.execute("INSERT INTO calls VALUES (30, 71)");
        let run = to_the_end(&harness, begin(&harness, Some(since)).await.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "{dialect:?}: {run:?}");
        assert_eq!(crate::retention::ids(&log, "calls"), "20 30");
    }
}

/// A plan that leaves the person's row alone has no step that counts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_row_stays_is_no_stranger() {
    for (harness, target, _store) in shops().await {
        let plan = PLAN
            .replace("users: { erase: delete }", "users: { erase: { none: the shop keeps its members } }");
        harness.register(&plan).await.unwrap();
        erase(&harness, json!({ "user_id": 1 })).await;
        assert_eq!(there(&target), ("1 2 3 4 5".to_owned(), "20 21 30 31 40 41 50 51".to_owned()));
        target.execute("INSERT INTO visits VALUES (10, 'u1@example.com')");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 1), "{run:?}");
        assert_eq!(there(&target).1, "20 21 30 31 40 41 50 51");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_keep_leaves_the_entry_as_it_is() {
    for (harness, target, _store) in shops().await {
        target.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, placed_at TIMESTAMP NOT NULL);
             INSERT INTO orders VALUES (10, 1, '2199-01-01 00:00:00')",
        );
        let keep = "{ keep: { ground: 17(3)(b), law: HGB, until: placed_at + 10y } }";
        let plan = format!("{PLAN}    orders: {{ match: {{ user_id: users.id }}, erase: {keep} }}\n");
        harness.register(&plan).await.unwrap();
        let erased = erase(&harness, json!({ "user_id": 1 })).await;
        assert_eq!(erased.state.outcome(), Some(Outcome::DoneWithExceptions), "{erased:?}");
        let before = entries(&harness).await;
        assert_eq!(before.len(), 1);
        assert_eq!(reopen(&harness.service, "2300-01-01T00:00:00Z".parse().unwrap()).await, Ok(1));
        assert_eq!(harness.run(erased.id).await.status(), Status::Completed);
        assert_eq!(entries(&harness).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_leaves_consents_alone() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        bring_back(&target, &[1]);
        let act = Act {
            plan: "customer".to_owned(),
            subject: Subject([("user_id".to_owned(), json!(1))].into()),
            purpose: "news".to_owned(),
            state: ConsentState::Given,
            text: ShownText { version: "2".to_owned(), hash: "c".repeat(64) },
            source: Source::Paper,
            at: None,
            note: None,
            idempotency: None,
        };
        assert!(matches!(record(&harness.service, &reader("alice"), act).await, Ok(Recorded::New(..))));
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!(progress(&run).completed, 1, "{run:?}");
        let [replayed] = requests(&harness).await.try_into().unwrap();
        let told = harness.service.store.request_events(replayed.id, 0, 1_000).await.unwrap();
        assert!(told.iter().all(|event| event.event != "consent.pseudonymised"), "{told:?}");
    }
}

/// What it has erased led to rows that no other request finds.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_erased_something_is_not_replaced() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 2 })).await;
        bring_back(&target, &[2]);
        target.execute("UPDATE users SET email = 'somebody@example.com' WHERE id = 2");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        let [failed] = requests(&harness).await.try_into().unwrap();
        let mut tx = harness.service.store.begin().await.unwrap();
        let mut row = tx.lock_request(failed.id).await.unwrap().unwrap();
        row.touched = true;
        tx.write(&mut row, Vec::new()).await.unwrap();
        tx.commit().await.unwrap();
        let (before, now) = (Clock.now() + TimeDelta::days(1), Clock.now());
        carry_out_batch(&harness.service, Sweep::Identities, before, now).await.unwrap();
        target.execute("UPDATE users SET email = 'u2@example.com' WHERE id = 2");
        let run = retry(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "{run:?}");
        assert_eq!(requests(&harness).await.len(), 1);
    }
}

/// A service may have the name of the admin who asked for the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_does_not_see_whom_a_run_of_its_name_erases() {
    for (harness, target, _store) in shops().await {
        let own = erase(&harness, json!({ "user_id": 1 })).await;
        bring_back(&target, &[1]);
        to_the_end(&harness, begin(&harness, None).await.id).await;
        let [replayed] = requests(&harness).await.try_into().unwrap();
        assert_eq!((own.created_by.as_str(), replayed.created_by.as_str()), ("alice", "alice"));
        let alice = Reader { sub: "alice".to_owned(), every_request: false, identities: false, own: true };
        let hidden = readings::read(&harness.service, &alice, replayed.id).await;
        assert!(matches!(hidden, Err(ServiceError::NotFound)));
        let page = Page { limit: 50, sort: Sort::Created, after: None };
        let list = readings::list(&harness.service, &alice, RequestFilter::default(), &page).await.unwrap();
        assert_eq!(list.iter().map(|reading| reading.request.id).collect::<Vec<_>>(), [own.id]);
        let counts = readings::counts(&harness.service, &alice).await.unwrap();
        assert_eq!(counts.requests.iter().map(|(_, count)| count).sum::<i64>(), 1);
    }
}
