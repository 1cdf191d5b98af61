//! Rows that must stay for a time, and go when it is over.

mod changes;
mod people;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rightful::{
    connectors::sql::dialect::Dialect,
    domain::{
        clock::Clock,
        hold::{Ground, Scope},
        request::{Outcome, Request, Status, StepState, Subject},
        sweep::Sweep,
    },
    service::{
        audit::{Verification, verify},
        holds::{Placement, end, place},
        keeps::reopen,
        sweeps::carry_out_batch,
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{holds::reader, pacing};
use crate::support::{
    harness::Harness,
    stores::{TestStore, sqlite_store, stores},
    targets::{Target, target_like, targets},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users: { erase: { mask: { email: { string_rewrite: gone } } } }
    visits: { match: { user_id: users.id }, erase: delete }
    orders:
      match: { user_id: users.id }
      erase: { keep: { ground: 17(3)(b), law: § 147 AO, until: placed_at + 10y } }
    items:
      match: { order_id: orders.id }
      erase: { keep: { ground: 17(3)(b), law: § 147 AO, until: orders.placed_at + 10y } }
";

fn schema(target: &Target) -> String {
    let time = if target.dialect == Dialect::MySql { "DATETIME(6)" } else { "TIMESTAMP" };
    format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, placed_at {time} NOT NULL, \
            FOREIGN KEY (user_id) REFERENCES users (id));
        CREATE TABLE more (id INTEGER PRIMARY KEY, order_id INTEGER, made_at {time} NOT NULL);
        CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, \
            FOREIGN KEY (order_id) REFERENCES orders (id));
        INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
        INSERT INTO visits VALUES (1, 1), (2, 2);
        INSERT INTO orders VALUES (10, 1, '2001-01-01 00:00:00'), (11, 1, '2199-01-01 00:00:00'), \
            (12, 1, '2199-06-01 00:00:00'), (20, 2, '2001-01-01 00:00:00');
        INSERT INTO items VALUES (100, 10), (101, 10), (110, 11), (120, 12), (200, 20);"
    )
}

async fn worlds() -> Vec<(TestStore, Target)> {
    let mut worlds = Vec::new();
    for target in targets() {
        for store in stores().await {
            worlds.push((store, target_like(&target)));
        }
    }
    worlds
}

async fn harness(store: &TestStore, target: &Target) -> Arc<Harness> {
    target.execute(&schema(target));
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(PLAN).await.unwrap();
    Arc::new(harness)
}

/// A shop of its own on that target, in which the first of the people has been erased.
async fn erased(target: &Target) -> (Arc<Harness>, Uuid, TestStore) {
    let store = sqlite_store().await;
    let harness = harness(&store, target).await;
    let id = harness.submit("customer", json!({ "user_id": 1 })).await;
    harness.run(id).await;
    (harness, id, store)
}

fn ids(target: &Target, table: &str) -> String {
    let rows = target.rows(&format!("SELECT id FROM {table} ORDER BY id"));
    rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ")
}

fn step<'r>(request: &'r Request, name: &str) -> &'r StepState {
    request.steps.iter().find(|step| step.name == name).unwrap()
}

/// Action, status, and rows affected, withheld and remaining.
fn state(request: &Request, name: &str) -> (String, &'static str, i64, i64, Option<i64>) {
    let step = step(request, name);
    assert_eq!(step.rows_matched, Some(step.rows_affected + step.rows_withheld), "{name}");
    (step.action.clone(), step.status.as_str(), step.rows_affected, step.rows_withheld, step.rows_remaining)
}

fn kept(affected: i64, withheld: i64) -> (String, &'static str, i64, i64, Option<i64>) {
    ("keep".to_owned(), "withheld", affected, withheld, Some(0))
}

fn deleted(affected: i64) -> (String, &'static str, i64, i64, Option<i64>) {
    ("delete".to_owned(), "completed", affected, 0, Some(0))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The time when everything that the shop keeps is over.
fn far() -> DateTime<Utc> {
    at("2300-01-01T00:00:00Z")
}

/// Sealed parts of the manifest that are left.
async fn sealed(harness: &Harness, request: &Request) -> usize {
    harness.service.store.key_parts(request.id, "").await.unwrap().len()
}

async fn events(harness: &Harness, request: &Request, name: &str) -> usize {
    let events = harness.service.store.request_events(request.id, 0, 1_000).await.unwrap();
    events.iter().filter(|event| event.event == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_goes_when_its_own_time_is_over() {
    for (store, target) in worlds().await {
        let shown = format!("{:?}", target.dialect);
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(
            request.state.outcome(),
            Some(Outcome::DoneWithExceptions),
            "{shown}: {:?}",
            request.state
        );
        // The duty to keep the order of 2001 was over before anybody asked.
        assert_eq!(
            (ids(&target, "orders"), ids(&target, "items")),
            ("11 12 20".into(), "110 120 200".into())
        );
        assert_eq!((state(&request, "shop.orders"), state(&request, "shop.items")), (kept(1, 2), kept(2, 2)));
        assert_eq!(request.keep_until(), Some(at("2209-01-01T00:00:01Z")), "{shown}");
        assert!(sealed(&harness, &request).await > 0, "its keys stay as long");
        assert_eq!(step(&request, "shop.orders").basis.as_deref(), Some("Art. 17(3)(b) GDPR, § 147 AO"));

        assert_eq!(reopen(&harness.service, Clock.now()).await.unwrap(), 0);
        // Years go by.
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00' WHERE id = 11");
        assert_eq!(reopen(&harness.service, at("2209-01-01T00:00:01Z")).await.unwrap(), 1);
        assert_eq!(reopen(&harness.service, far()).await.unwrap(), 0, "{shown}: it is taken up already");
        let request = harness.run(id).await;
        assert_eq!(
            request.state.outcome(),
            Some(Outcome::DoneWithExceptions),
            "{shown}: {:?}",
            request.state
        );
        assert_eq!((ids(&target, "orders"), ids(&target, "items")), ("12 20".into(), "120 200".into()));
        assert_eq!((state(&request, "shop.orders"), state(&request, "shop.items")), (kept(2, 1), kept(3, 1)));

        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00' WHERE id = 12");
        assert_eq!(reopen(&harness.service, far()).await.unwrap(), 1, "{shown}");
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{shown}: {:?}", request.state);
        assert_eq!((ids(&target, "orders"), ids(&target, "items")), ("20".into(), "200".into()));
        assert_eq!((state(&request, "shop.orders"), state(&request, "shop.items")), (deleted(3), deleted(4)));
        assert_eq!((request.keep_until(), sealed(&harness, &request).await), (None, 0), "{shown}");
        assert_eq!(reopen(&harness.service, far()).await.unwrap(), 0, "{shown}");
        assert_eq!(events(&harness, &request, "keep.ended").await, 2, "{shown}");
        assert!(matches!(verify(&store.store).await.unwrap(), Verification::Intact(_)), "{shown}");
        assert_eq!(ids(&target, "visits"), "2", "{shown}");
    }
}

/// Whoever looks first takes it up, and the other finds that it was done.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_take_it_up_once() {
    for store in stores().await {
        let target = targets().into_iter().find(|target| target.dialect == Dialect::Sqlite).unwrap();
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        let other = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
        let looks = tokio::join!(reopen(&harness.service, far()), reopen(&other.service, far()));
        assert_eq!(looks.0.unwrap() + looks.1.unwrap(), 1);
        let request = harness.run(id).await;
        assert_eq!(
            (request.status(), events(&harness, &request, "keep.ended").await),
            (Status::Completed, 1)
        );
    }
}

/// A clock that ran ahead takes it up too early: nothing goes before its time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_up_too_early_stays() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let before = harness.run(id).await;
        assert_eq!(reopen(&harness.service, far()).await.unwrap(), 1);
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", request.state);
        assert_eq!(ids(&target, "orders"), "11 12 20");
        assert_eq!(request.keep_until(), before.keep_until());
        assert_eq!(state(&request, "shop.orders"), kept(1, 2));
        assert_eq!(reopen(&harness.service, Clock.now()).await.unwrap(), 0);
    }
}

/// A legal hold keeps more than the law did.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_heeded_at_the_end_of_a_keep() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        let placement = Placement {
            plan: "customer".to_owned(),
            subject: Subject([("email".to_owned(), json!("jane@example.com"))].into()),
            scope: Scope::AllPlans,
            table: None,
            ground: Ground::LegalClaims,
            reason: "a law suit".to_owned(),
            expires_at: None,
        };
        let placed = place(&harness.service, &reader("alice"), placement).await.unwrap().reading;
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        reopen(&harness.service, far()).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!((request.status(), ids(&target, "orders")), (Status::OnHold, "11 12 20".into()));
        // It was completed once; that cannot be taken back.
        assert_eq!(harness.cancel_refused(id).await, Status::OnHold);
        end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}

/// What was asked for goes in its own time; what the rows are found by stays as long as they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_keep_ends_after_the_identities_were_destroyed() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        harness.run(id).await;
        let service = &harness.service;
        let swept = async |sweep| carry_out_batch(service, sweep, far(), Clock.now()).await.unwrap().requests;
        assert_eq!((swept(Sweep::Identities).await, swept(Sweep::Identities).await), (1, 0));
        assert_eq!(swept(Sweep::Requests).await, 0, "its pseudonyms tell holds of it");
        let (_, confidential) = store.store.confidential(id).await.unwrap().unwrap();
        assert!(confidential.is_empty());
        target.execute("UPDATE orders SET placed_at = '2002-02-02 00:00:00'");
        assert_eq!(reopen(service, far()).await.unwrap(), 1);
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
        assert_eq!((swept(Sweep::Identities).await, swept(Sweep::Requests).await), (1, 1));
        assert!(store.store.confidential(id).await.unwrap().is_none());
        assert!(matches!(verify(&store.store).await.unwrap(), Verification::Intact(_)));
    }
}

/// SQLite takes any text for a time: nobody could say when that is over, and nothing is touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_readable_time_stops_the_erasure() {
    let store = sqlite_store().await;
    let target = targets().into_iter().find(|target| target.dialect == Dialect::Sqlite).unwrap();
    let harness = harness(&store, &target).await;
    target.execute("UPDATE orders SET placed_at = 'last summer' WHERE id = 11");
    let id = harness.submit("customer", json!({ "user_id": 1 })).await;
    let request = harness.run(id).await;
    assert_eq!(request.status(), Status::Failed);
    assert!(request.state.error().unwrap().detail.contains("1 rows hold something in `placed_at`"));
    assert_eq!((ids(&target, "orders"), ids(&target, "visits")), ("10 11 12 20".into(), "1 2".into()));
    target.execute("UPDATE orders SET placed_at = '2199-01-01 00:00:00' WHERE id = 11");
    harness.retry(id).await;
    let request = harness.run(id).await;
    assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions));
    assert!(request.touched, "the attempt before had taken its announcement back");
    assert_eq!(ids(&target, "orders"), "11 12 20");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_could_not_keep_their_word_are_refused() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = harness(&store, &target).await;
        for (what, instead, told) in [
            ("until: placed_at + 10y", "until: placed_on + 10y", "there is no column `placed_on`"),
            ("until: placed_at + 10y", "until: user_id + 10y", "which is no time"),
            ("until: placed_at + 10y", "until: placed_at", "says no time"),
            ("ground: 17(3)(b), law", "law", "has no `ground`"),
            // Items would hold their orders back.
            ("until: orders.placed_at + 10y", "law: no", "whose rows are deleted when their keep is over"),
            (
                "until: orders.placed_at + 10y",
                "until: orders.placed_at + 9y",
                "is not kept until then itself",
            ),
            (
                "match: { order_id: orders.id }",
                "match: [ { order_id: orders.id }, { id: users.id } ]",
                "not every way to its rows leads through `orders`",
            ),
            ("until: placed_at + 10y }", "until: placed_at + 10y, nulls: old }", "write nulls: keep"),
            (
                "    items:",
                "    more:\n      match: { order_id: orders.id }\n      erase: { keep: { ground: a, until: made_at + 1y } }\n    items:",
                "kept for another time",
            ),
        ] {
            if told == "which is no time" && target.dialect == Dialect::Sqlite {
                // Any column may hold times there.
                continue;
            }
            let plan = PLAN.replacen(what, instead, 1).replace("law: § 147 AO, law: no", "law: § 147 AO");
            let refused = harness.register(&plan).await.expect_err(instead);
            assert!(refused.contains(told), "{:?}: {instead}: {refused}", target.dialect);
        }
    }
}
