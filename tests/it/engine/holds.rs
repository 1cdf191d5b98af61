//! A hold that is placed while an erasure is under way.

use std::{sync::Arc, time::Duration};

use rightful::{
    domain::{
        hold::{Ground, Scope},
        request::{Request, Status, Subject},
    },
    service::{
        Pacing,
        error::ServiceError,
        holds::{HoldReading, Placed, Placement, end, place},
        readings::Reader,
    },
};
use serde_json::json;

use super::{PLAN, SCHEMA, count, harness, resume::faulty};
use crate::support::{
    app::eventually,
    faulty::Fault::LostReply,
    harness::Harness,
    stores::{TestStore, stores},
    targets::{Target, targets},
};

pub fn reader(sub: &str) -> Reader {
    Reader { sub: sub.to_owned(), every_request: true, identities: true, own: false }
}

pub async fn hold(harness: &Harness) -> HoldReading {
    place_on(harness, "jane@example.com").await.unwrap().reading
}

async fn place_on(harness: &Harness, email: &str) -> Result<Placed, ServiceError> {
    let placement = Placement {
        plan: "customer".to_owned(),
        subject: Subject([("email".to_owned(), json!(email))].into()),
        scope: Scope::AllPlans,
        table: None,
        ground: Ground::LegalObligation,
        reason: "an audit".to_owned(),
        expires_at: None,
    };
    place(&harness.service, &reader("alice"), placement).await
}

/// Sixty visits, a batch each, and a rest after it.
pub async fn slow(store: &TestStore, target: &Target, plan: &str) -> Arc<Harness> {
    target.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
         CREATE TABLE visits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id));
         INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');",
    );
    let rows: Vec<String> = (1..=60).map(|id| format!("({id}, 1)")).collect();
    target.execute(&format!("INSERT INTO visits VALUES {}", rows.join(", ")));
    let pacing = Pacing { pause: 20.0, min_rows: 1, max_rows: 1, ..Pacing::default() };
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing);
    harness.register(plan).await.unwrap();
    Arc::new(harness)
}

pub async fn request(harness: &Harness, id: uuid::Uuid) -> Request {
    harness.service.store.request(id).await.unwrap().unwrap()
}

pub fn affected(request: &Request) -> i64 {
    request.steps.iter().map(|step| step.rows_affected).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_takes_effect_between_two_batches() {
    for store in stores().await {
        for target in targets() {
            let harness = slow(&store, &target, PLAN).await;
            let id = harness.submit("customer", json!({ "user_id": 1 })).await;
            let run = tokio::spawn({
                let harness = harness.clone();
                async move { harness.run(id).await }
            });
            eventually("the first batches", async || affected(&request(&harness, id).await) >= 2).await;
            let placed = hold(&harness).await;
            let held = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
            assert_eq!((held.status(), held.hold), (Status::OnHold, Some(placed.hold.id)), "{held:?}");
            assert!(held.lease_until.is_none() && held.touched);
            let gone = affected(&held);
            assert!(gone < 60, "it was stopped on the way");
            let left = target.rows("SELECT id FROM visits").len();
            assert_eq!(i64::try_from(left).unwrap(), 60 - gone, "what is booked is what was done");
            // Nobody can take it up.
            assert_eq!(harness.run(id).await.status(), Status::OnHold);

            end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
            harness.make_due(id).await;
            let done = harness.run(id).await;
            assert_eq!((done.status(), done.hold), (Status::Completed, None), "{done:?}");
            assert_eq!(affected(&done), 61);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_says_whether_there_is_anybody_to_keep() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let found = |placed: Result<Placed, ServiceError>| placed.unwrap().subject_found;
        assert_eq!(found(place_on(&harness, "jane@example.com").await), Some(true), "{:?}", target.dialect);
        assert_eq!(found(place_on(&harness, "nobody@example.com").await), Some(false));
        // Erasures of her would go past it.
        let Err(ServiceError::Subject(fault)) = place_on(&harness, "JANE@example.com").await else {
            panic!("{:?}: it would keep nobody", target.dialect)
        };
        assert_eq!(fault.errors[0].pointer, "/subject");
    }
}

/// What was done is booked, the rest is neither erased nor waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_whose_record_was_lost_can_be_cancelled() {
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, SCHEMA, PLAN).await;
        faults.next(&[LostReply]);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.run(id).await.status(), Status::Paused);
        let placed = hold(&harness).await;
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.hold, Some(placed.hold.id));
        assert_eq!(harness.cancel(id).await.status(), Status::InProgress, "something is to be booked");
        let cancelled = harness.run(id).await;
        assert_eq!((cancelled.status(), affected(&cancelled)), (Status::Cancelled, 1), "{cancelled:?}");
        assert_eq!((count(&target, "visits"), count(&target, "users")), (2, 2));
    }
}
