//! No policy goes around a legal hold.

use std::sync::Arc;

use rightful::{
    domain::{
        hold::{Ground, Scope},
        request::{Outcome, Status, Subject},
        run::{Run, Task},
    },
    service::{
        Pacing,
        holds::{HoldReading, Placement, end, place},
        readings::Reader,
        runs::{self, Asked, Decision, Upkeep, decide},
    },
};
use serde_json::json;

use super::{DELETE, carry_out, counts, go_on, harness, ids, orders, policies, shop};
use crate::support::{
    app::eventually,
    harness::Harness,
    stores::{TestStore, sqlite_store, stores},
    targets::{Target, targets},
};

const PLAN: &str = "plan: customer
subject: { user_id: shop.users.id, email: shop.users.email }
connections:
  shop:
    users: { erase: delete, rectify: [email] }
    orders: { match: { user_id: users.id }, erase: delete }
    items: { match: { order_id: orders.id }, erase: delete }
";

fn reader(sub: &str) -> Reader {
    Reader { sub: sub.to_owned(), every_request: true, identities: true, own: false }
}

/// A shop whose old orders are to go, with a plan, and nobody held yet.
async fn offering(store: &TestStore, target: &Target, plan: &str) -> Harness {
    shop(target);
    let harness = harness(store, target, policies(DELETE));
    harness.register(plan).await.unwrap();
    harness
}

/// The policy takes what is old but for what is Jane's.
async fn spares_jane(harness: &Harness, target: &Target) -> Run {
    let run = carry_out(harness, "old_orders").await;
    assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}: {run:?}", target.dialect);
    assert_eq!(ids(target, "orders"), "1 3 4 5", "{:?}", target.dialect);
    run
}

async fn hold(harness: &Harness, scope: Scope, table: Option<&str>) -> HoldReading {
    let placement = Placement {
        plan: "customer".to_owned(),
        subject: Subject([("email".to_owned(), json!("jane@example.com"))].into()),
        scope,
        table: table.map(str::to_owned),
        ground: Ground::LegalClaims,
        reason: "a law suit".to_owned(),
        expires_at: None,
    };
    place(&harness.service, &reader("alice"), placement).await.unwrap().reading
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_held_person_stay_and_are_counted() {
    for store in stores().await {
        for target in targets() {
            let harness = offering(&store, &target, PLAN).await;
            let placed = hold(&harness, Scope::AllPlans, None).await;
            let run = spares_jane(&harness, &target).await;
            assert_eq!(
                run.steps.iter().map(counts).collect::<Vec<_>>(),
                [("shop.items", Some(3), 1, 2, Some(0)), ("shop.orders", Some(3), 1, 2, Some(0))],
                "{:?}",
                target.dialect
            );
            assert_eq!(ids(&target, "items"), "10 30 40 50", "{:?}", target.dialect);
            end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
            let run = carry_out(&harness, "old_orders").await;
            assert_eq!(run.state.outcome(), Some(Outcome::Done), "{:?}: {run:?}", target.dialect);
            assert_eq!(ids(&target, "orders"), "4 5", "{:?}", target.dialect);
        }
    }
}

/// The person's row is gone, and the erasure that keeps the orders is the only one left that knows whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_erasure_kept_of_a_held_person_stays() {
    let plan = PLAN
        .replace("{ user_id: users.id }, erase: delete", "{ user_id: users.id }, erase: { keep: { ground: law, nulls: keep, until: placed + 90y } }")
        .replace("{ order_id: orders.id }, erase: delete", "{ order_id: orders.id }, erase: { keep: { ground: law, nulls: keep, until: orders.placed + 90y } }");
    for store in stores().await {
        for target in targets() {
            let harness = offering(&store, &target, &plan).await;
            let id = harness.submit("customer", json!({ "user_id": 1 })).await;
            let erased = harness.run(id).await;
            assert_eq!(erased.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", target.dialect);
            assert_eq!(ids(&target, "users"), "2", "{:?}", target.dialect);
            let placed = hold(&harness, Scope::AllPlans, None).await;
            carry_out(&harness, "old_orders").await;
            assert_eq!(ids(&target, "orders"), "1 3 4 5", "{:?}", target.dialect);
            assert_eq!(ids(&target, "items"), "10 30 40 50", "{:?}", target.dialect);
            end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
            carry_out(&harness, "old_orders").await;
            assert_eq!(ids(&target, "orders"), "4 5", "{:?}", target.dialect);
        }
    }
}

/// A held item needs its order.
#[tokio::test(flavor = "multi_thread")]
async fn what_held_rows_point_at_stays() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = offering(&store, &target, PLAN).await;
        hold(&harness, Scope::Table, Some("shop.items")).await;
        spares_jane(&harness, &target).await;
        assert_eq!(ids(&target, "items"), "10 30 40 50", "{:?}", target.dialect);
    }
}

/// The hold knows the row, whatever address the person has by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_the_person_also_after_a_correction() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = offering(&store, &target, PLAN).await;
        hold(&harness, Scope::AllPlans, None).await;
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        carry_out(&harness, "old_orders").await;
        assert_eq!(ids(&target, "orders"), "1 3 4 5", "{:?}", target.dialect);
    }
}

/// Whose rows they are cannot be told: nothing is erased.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_person_who_cannot_be_looked_for_stops_the_policy() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = offering(&store, &target, PLAN).await;
        hold(&harness, Scope::AllPlans, None).await;
        target.execute("ALTER TABLE users RENAME TO people");
        let run = carry_out(&harness, "old_orders").await;
        assert_eq!(run.status(), Status::Paused, "{:?}: {run:?}", target.dialect);
        assert_eq!(ids(&target, "orders"), "1 2 3 4 5", "{:?}", target.dialect);
        target.execute("ALTER TABLE people RENAME TO users");
        decide(&harness.service, "alice", run.id, Decision::Retry).await.unwrap();
        let run = go_on(&harness, run.id).await;
        assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}: {run:?}", target.dialect);
        assert_eq!(ids(&target, "orders"), "1 3 4 5", "{:?}", target.dialect);
    }
}

/// A process that only carries out offers no plan; the holds are told by those that others registered.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_plans_heeds_holds_too() {
    let store = sqlite_store().await;
    for target in targets() {
        let offering = offering(&store, &target, PLAN).await;
        hold(&offering, Scope::AllPlans, None).await;
        let carrying_out = harness(&store, &target, policies(DELETE));
        spares_jane(&carrying_out, &target).await;
    }
}

/// The hold means one of several persons, and nobody can tell which.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_one_of_several_persons_stops_the_policy() {
    let store = sqlite_store().await;
    for target in targets() {
        target.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL)");
        orders(&target);
        target.execute("INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'jane@example.com')");
        let harness = harness(&store, &target, policies(DELETE));
        harness.register(PLAN).await.unwrap();
        hold(&harness, Scope::AllPlans, None).await;
        let run = carry_out(&harness, "old_orders").await;
        assert_eq!(run.status(), Status::Failed, "{:?}: {run:?}", target.dialect);
        assert_eq!(ids(&target, "orders"), "1 2 3 4 5", "{:?}", target.dialect);
    }
}

const THROUGH: &str = "plan: customer
subject: { user_id: shop.users.id, email: shop.users.email }
connections:
  shop:
    users: { erase: delete }
    orders: { match: { user_id: users.id }, erase: { none: another plan does it } }
    items: { match: { order_id: orders.id }, erase: delete }
";

/// Without the orders nobody would know whose items they are.
#[tokio::test(flavor = "multi_thread")]
async fn rows_through_which_held_rows_are_found_stay() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = offering(&store, &target, THROUGH).await;
        target.execute("DELETE FROM items");
        hold(&harness, Scope::Table, Some("shop.items")).await;
        spares_jane(&harness, &target).await;
    }
}

/// What the plan called hers when the hold was placed.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_forgets_a_table_shrinks_no_hold() {
    let store = sqlite_store().await;
    for target in targets() {
        let harness = offering(&store, &target, PLAN).await;
        hold(&harness, Scope::AllPlans, None).await;
        target.execute("DELETE FROM items; DELETE FROM users WHERE id = 1");
        harness
            .register("plan: customer\nsubject: { email: shop.users.email }\nconnections: { shop: { users: { erase: delete } } }\n")
            .await
            .unwrap();
        spares_jane(&harness, &target).await;
    }
}

/// A connection of its own for the upkeep, to the same database.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_counts_through_every_connection_to_the_database() {
    let store = sqlite_store().await;
    for target in targets() {
        shop(&target);
        let upkeep = DELETE.replace("connection: shop", "connection: upkeep");
        let connections = [("shop", target.url.as_str()), ("upkeep", target.url.as_str())];
        let harness = Harness::new(store.store.clone(), &connections, Pacing::default())
            .keeping(Upkeep { policies: policies(&upkeep), ..Upkeep::default() });
        harness.register(PLAN).await.unwrap();
        hold(&harness, Scope::AllPlans, None).await;
        spares_jane(&harness, &target).await;
    }
}

/// Forty old orders of Jane's, a batch each, and a rest after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_comes_during_a_run_counts_from_the_next_batch_on() {
    let store = sqlite_store().await;
    for target in targets() {
        shop(&target);
        let rows: Vec<String> =
            (101..=140).map(|id| format!("({id}, 1, '2001-01-01 00:00:00', NULL, NULL)")).collect();
        target.execute(&format!("DELETE FROM items; INSERT INTO orders VALUES {}", rows.join(", ")));
        let pacing = Pacing { pause: 20.0, min_rows: 1, max_rows: 1, ..Pacing::default() };
        let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing)
            .keeping(Upkeep { policies: policies(DELETE), ..Upkeep::default() });
        harness.register(PLAN).await.unwrap();
        let harness = Arc::new(harness);
        let asked = Asked { by: "alice".to_owned(), idempotency_key: None };
        let task = Task::Retention("old_orders".to_owned());
        let (run, _) = runs::begin(&harness.service, task, asked).await.unwrap();
        let going = tokio::spawn({
            let harness = harness.clone();
            async move { go_on(&harness, run.id).await }
        });
        eventually("the first batches", async || {
            let run = runs::read(&harness.service, run.id).await.unwrap();
            run.steps.iter().map(|step| step.rows_affected).sum::<i64>() >= 2
        })
        .await;
        let placed = hold(&harness, Scope::AllPlans, None).await;
        let run = going.await.unwrap();
        end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
        assert_eq!(run.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}: {run:?}", target.dialect);
        let orders = run.steps.iter().find(|step| step.name == "shop.orders").unwrap();
        assert!(orders.rows_withheld > 0, "{:?}: {orders:?}", target.dialect);
        let left = target.rows("SELECT id FROM orders WHERE user_id = 1 AND placed < '2100-01-01 00:00:00'");
        assert_eq!(i64::try_from(left.len()).unwrap(), orders.rows_withheld, "{:?}", target.dialect);
    }
}
