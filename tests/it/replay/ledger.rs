//! What the ledger keeps, of whom, and for how long.

use chrono::{DateTime, TimeDelta, Utc};
use rightful::{
    domain::{
        audit::EventName,
        ledger::Entry,
        period::Period,
        request::{ManualResult, Outcome, Status},
    },
    service::{ledger::expire, manual::complete, runs::Upkeep},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    PLAN, audit_verifies, begin, bring_back, erase, events, items, pacing, progress, reader, shop, shops,
    step, there, to_the_end,
};
use crate::support::{
    harness::Harness,
    stores::TestStore,
    targets::{Dialect, Target, target},
};

pub async fn entries(harness: &Harness) -> Vec<Entry> {
    harness.service.store.ledger_entries(None, 500).await.unwrap()
}

/// Moves an entry to another time, as if its erasure had been completed then.
pub async fn move_to(harness: &Harness, entry: &Entry, completed_at: DateTime<Utc>) {
    let mut tx = harness.service.store.begin().await.unwrap();
    assert!(tx.renew_entry(&Entry { completed_at, ..entry.clone() }).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_completed_erasure_has_an_entry_and_no_other_has() {
    for (harness, target, _store) in shops().await {
        let done = erase(&harness, json!({ "user_id": 1 })).await;
        let nobody = erase(&harness, json!({ "email": "nobody@example.com" })).await;
        assert_eq!(nobody.state.outcome(), Some(Outcome::NoMatch));
        let failed = erase(&harness, json!({ "user_id": 2, "email": "u3@example.com" })).await;
        assert_eq!(failed.status(), Status::Failed, "{failed:?}");
        let cancelled = harness.submit("customer", json!({ "user_id": 4 })).await;
        harness.cancel(cancelled).await;
        let kept = entries(&harness).await;
        let of: Vec<Uuid> = kept.iter().map(|entry| entry.erasure).collect();
        assert_eq!(of, [done.id, nobody.id]);
        assert_eq!(kept[0].completed_at, done.state.finished_at().unwrap());
        // Sealed: nothing of the person can be read in it.
        for entry in &kept {
            let bytes = String::from_utf8_lossy(&entry.sealed).into_owned();
            assert!(!bytes.contains("example") && !bytes.contains("user_id"), "{bytes}");
        }
        assert_eq!(there(&target).0, "2 3 4 5");
        audit_verifies(&harness).await;
    }
}

/// A worker that ends a request after people did their part looks at no table any more, and enters it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_people_end_has_an_entry_of_all_identities() {
    for (harness, target, _store) in shops().await {
        let manual = format!("{PLAN}manual:\n  - {{ name: paper_file, do: Shred it }}\n");
        harness.register(&manual).await.unwrap();
        let waiting = erase(&harness, json!({ "email": "u1@example.com" })).await;
        assert_eq!(waiting.status(), Status::InProgress, "{waiting:?}");
        assert!(entries(&harness).await.is_empty(), "it is not completed");
        complete(&harness.service, &reader("alice"), waiting.id, "paper_file", ManualResult::Done, None)
            .await
            .unwrap();
        assert_eq!(harness.run(waiting.id).await.status(), Status::Completed);
        assert_eq!(entries(&harness).await.len(), 1);

        harness.register(PLAN).await.unwrap();
        // Only the address was given then; the id was learned from the row, and leads to a row whose address is another.
        bring_back(&target, &[1]);
        target.execute("UPDATE users SET email = 'other@example.com' WHERE id = 1");
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((run.status(), progress(&run).failed), (Status::Failed, 1), "both were given: {run:?}");
        assert!(there(&target).0.contains('1'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_found_somebody_moves_the_entry() {
    for (harness, target, _store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        erase(&harness, json!({ "user_id": 2 })).await;
        let [first, second] = entries(&harness).await.try_into().unwrap();
        bring_back(&target, &[1]);
        let run = to_the_end(&harness, begin(&harness, None).await.id).await;
        assert_eq!((progress(&run).completed, progress(&run).no_match), (1, 1), "{run:?}");
        let [moved, left] = entries(&harness).await.try_into().unwrap();
        assert_eq!((moved.id, moved.erasure), (first.id, first.erasure), "the same entry");
        assert!(moved.completed_at > second.completed_at);
        assert_eq!(left, second, "nobody was there");
        // It is found by what the replay has sealed anew; the other one is older than workers' clocks may be apart.
        move_to(&harness, &left, left.completed_at - TimeDelta::minutes(10)).await;
        bring_back(&target, &[1]);
        let run = to_the_end(&harness, begin(&harness, Some(moved.completed_at)).await.id).await;
        assert_eq!((progress(&run).entries, progress(&run).completed), (1, 1), "{run:?}");
        assert_eq!(there(&target).0, "3 4 5");
    }
}

fn keeping(store: &TestStore, target: &Target, period: &str) -> Harness {
    let ledger: Period = period.parse().unwrap();
    Harness::new(store.store.clone(), &[("shop", &target.url)], pacing())
        .keeping(Upkeep { ledger: Some(ledger), ..Upkeep::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_go_when_their_time_is_over_and_the_log_says_how_many() {
    for (harness, target, store) in shops().await {
        for user in 1..=4 {
            erase(&harness, json!({ "user_id": user })).await;
        }
        let all = entries(&harness).await;
        let now = harness.service.store.now().await.unwrap();
        move_to(&harness, &all[0], now - TimeDelta::days(800)).await;
        move_to(&harness, &all[1], now - TimeDelta::days(31)).await;
        move_to(&harness, &all[2], now - TimeDelta::days(30) + TimeDelta::minutes(5)).await;
        assert_eq!(expire(&harness.service).await.unwrap(), 0, "without a period nothing goes");
        let harness = keeping(&store, &target, "30d");
        let (one, two) = tokio::join!(expire(&harness.service), expire(&harness.service));
        assert_eq!(one.unwrap() + two.unwrap(), 2, "each is counted once");
        let left: Vec<Uuid> = entries(&harness).await.iter().map(|entry| entry.id).collect();
        assert_eq!(left, [all[2].id, all[3].id]);
        let told = events(&harness, EventName::LedgerExpired).await;
        let count: i64 = told.iter().map(|event| event["details"]["entries"].as_i64().unwrap()).sum();
        assert_eq!(count, 2, "{told:?}");
        assert_eq!(told[0]["stream"], "ledger:1");
        assert_eq!(expire(&harness.service).await.unwrap(), 0);
        audit_verifies(&harness).await;
    }
}

/// More than one transaction takes.
#[tokio::test(flavor = "multi_thread")]
async fn many_entries_go_in_batches() {
    for (harness, target, store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        let [entry] = entries(&harness).await.try_into().unwrap();
        let mut tx = harness.service.store.begin().await.unwrap();
        for _ in 0..1_100 {
            let id = harness.service.clock.new_id();
            let completed_at = entry.completed_at - TimeDelta::days(400);
            tx.enter(&Entry { id, erasure: id, completed_at, ..entry.clone() }).await.unwrap();
        }
        tx.commit().await.unwrap();
        let harness = keeping(&store, &target, "1y");
        assert_eq!(expire(&harness.service).await.unwrap(), 1_100);
        assert_eq!(events(&harness, EventName::LedgerExpired).await.len(), 3, "500, 500, 100");
        assert_eq!(entries(&harness).await, [entry]);
        audit_verifies(&harness).await;
    }
}

/// The run fixed what it has to do when it began: what expires before its turn is counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_under_an_open_run_is_counted() {
    for (harness, target, _store) in shops().await {
        for user in 1..=3 {
            erase(&harness, json!({ "user_id": user })).await;
        }
        bring_back(&target, &[1, 2, 3]);
        let run = begin(&harness, None).await;
        // Its worker dies after it has fixed what is to be done.
        let mut tx = harness.service.store.begin().await.unwrap();
        let mut row = tx.lock_run(run.id).await.unwrap().unwrap();
        assert_eq!(tx.list_replay(&row, None).await.unwrap(), 3);
        row.report = json!({ "entries": 3 });
        tx.write_run(&mut row, Vec::new()).await.unwrap();
        let first = &entries(&harness).await[0];
        assert_eq!(
            tx.expire_entries(&first.ledger, first.completed_at + TimeDelta::microseconds(1), 10).await,
            Ok(1)
        );
        tx.commit().await.unwrap();
        let run = to_the_end(&harness, run.id).await;
        assert_eq!((progress(&run).entries, progress(&run).completed, progress(&run).expired), (3, 2, 1));
        assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{run:?}");
        assert_eq!(there(&target).0, "1 4 5", "nobody knows of the first any more, and the report says so");
    }
}

/// Without the key nothing can be read, and nothing is lost: with it the same run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_opens_no_entry_and_loses_none() {
    for (harness, target, store) in shops().await {
        erase(&harness, json!({ "user_id": 1 })).await;
        bring_back(&target, &[1]);
        let other = shop(&store, &target).await.keyed([8; 32]);
        let run = to_the_end(&other, begin(&other, None).await.id).await;
        assert_eq!(run.state.error().map(|error| error.code.as_str()), Some("replay_incomplete"), "{run:?}");
        let [item] = items(&other, run.id).await.try_into().unwrap();
        assert!(format!("{:?}", item.fate).contains("Unreadable"), "{item:?}");
        // Meanwhile somebody is erased under that key: a ledger of its own.
        other.register(PLAN).await.unwrap();
        erase(&other, json!({ "user_id": 2 })).await;
        let ledgers: Vec<String> = entries(&other).await.into_iter().map(|entry| entry.ledger).collect();
        assert_eq!(ledgers, ["1", "2"]);
        assert_eq!(there(&target).0, "1 3 4 5");

        let run = super::retry(&harness, run.id).await;
        assert_eq!((run.status(), progress(&run).completed), (Status::Completed, 1), "{run:?}");
        assert_eq!(there(&target).0, "3 4 5");
        audit_verifies(&harness).await;
    }
}

/// Two processes at their first erasure: one ledger.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_ledger() {
    for (harness, target, store) in shops().await {
        let other = shop(&store, &target).await;
        let (one, two) = tokio::join!(
            harness.service.ledgers.current(&harness.service),
            other.service.ledgers.current(&other.service)
        );
        assert_eq!((one.unwrap().id.as_str(), two.unwrap().id.as_str()), ("1", "1"));
        assert_eq!(harness.service.store.ledgers().await.unwrap().len(), 1);
    }
}

/// On every database the entry holds what its columns hold.
#[tokio::test(flavor = "multi_thread")]
async fn identities_of_every_type_are_given_again() {
    let store = crate::support::stores::sqlite_store().await;
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(target) = target(dialect) else { continue };
        let number = if dialect == Dialect::Sqlite { "NUMERIC" } else { "DECIMAL(10,2)" };
        let rows =
            "INSERT INTO people VALUES (1, 4.50, 'a', 'ab', 'Jane@Example.com'), (2, 4.51, 'a', 'ac', NULL)";
        target.execute(&format!(
            "CREATE TABLE people (id BIGINT PRIMARY KEY, amount {number} NOT NULL UNIQUE, tenant VARCHAR(10) NOT NULL, \
             code CHAR(5) NOT NULL UNIQUE, email VARCHAR(100));\n{rows}"
        ));
        let harness = Harness::new(store.store.clone(), &[("hr", &target.url)], pacing());
        let name = format!("people_{dialect:?}").to_lowercase();
        let plan = format!(
            "plan: {name}\nsubject:\n  id: hr.people.id\n  amount: hr.people.amount\n  code: hr.people.code\n  \
             email: {{ column: hr.people.email, ignore_case: true }}\n  scope: {{ tenant: hr.people.tenant }}\n\
             connections:\n  hr:\n    people: {{ erase: delete }}\n"
        );
        harness.register(&plan).await.unwrap();
        for subject in [json!({ "id": 1, "tenant": "a" }), json!({ "code": "ac", "tenant": "a" })] {
            let id = harness.submit(&name, subject).await;
            assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{dialect:?}");
        }
        target.execute(rows);
        let run = begin(&harness, None).await;
        step(&harness, run.id).await;
        let run = to_the_end(&harness, run.id).await;
        let mine = items(&harness, run.id).await.into_iter().filter(|item| item.plan == name).count();
        assert_eq!(mine, 2);
        assert!(target.rows("SELECT id FROM people").is_empty(), "{dialect:?}: {run:?}");
    }
}
