//! Going on after a call whose answer or whose record was lost, and stopping between two calls.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use rightful::{
    domain::request::{Outcome, RunCode, Status},
    service::Pacing,
};
use serde_json::json;

use super::{JANE, JOE, PLAN, SCHEMA, Shop, at_service, code, rows};
use crate::support::{
    app::eventually,
    faulty::Fault,
    mailer::{Mailer, Twist},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_was_lost_is_booked_once() {
    let mailer = Mailer::start(&[JANE, JOE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::LostReply);
    let request = shop.erase().await;
    assert_eq!((code(&request), request.status()), (Some(RunCode::ConnectionUnavailable), Status::Paused));
    assert_eq!((rows(at_service(&request)), mailer.contacts().len()), ((Some(1), 0, 0), 1));
    let request = shop.go_on(&request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
    let events = shop.store.store.request_events(request.id, 0, 100).await.unwrap();
    let recovered: Vec<_> = events.iter().filter(|event| event.details["recovered"] == json!(true)).collect();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].step.as_deref(), Some("mailer.contacts"));
}

/// The job goes on while the request waits; it is asked for where it said, and not started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_accepted_is_asked_for_again_by_the_next_attempt() {
    for polls in [1, 2] {
        let mailer = Mailer::start(&[JANE]).await;
        let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
        mailer.next("DELETE", Twist::Accepted(polls, Some("600")));
        let mut request = shop.erase().await;
        for _ in 0..polls {
            assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
            assert!(request.state.error().unwrap().detail.contains("not finished it yet"));
            request = shop.go_on(&request).await;
        }
        let request = shop.go_on(&request).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
    }
}

/// It ends while nobody looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ended_meanwhile_is_booked_once() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::Accepted(0, Some("600")));
    let request = shop.erase().await;
    assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
    reqwest::Client::new()
        .get(format!("{}/jobs/0", mailer.url))
        .header("authorization", crate::support::mailer::TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(mailer.contacts().len(), 0);
    let request = shop.go_on(&request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(rows(at_service(&request)), (Some(1), 1, 0));
}

/// Between the look at what was lost and the next round.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_while_the_next_attempt_begins_is_booked_once() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::AcceptedSilently(9, Some("600")));
    let request = shop.erase().await;
    assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
    mailer.next("GET", Twist::Vanish);
    let request = shop.go_on(&request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
}

/// The contact is not found any more, and the service still works on it elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_asked_for_until_it_has_ended_whatever_is_seen() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::Accepted(4, Some("600")));
    let mut request = shop.erase().await;
    mailer.forget(JANE);
    let mut attempts = 1;
    while !request.status().is_end() {
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
        request = shop.go_on(&request).await;
        attempts += 1;
    }
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    let looks = mailer.seen("GET").into_iter().filter(|seen| seen.path.starts_with("/api/jobs/")).count();
    assert!(looks > 4 && attempts > 2, "{looks} looks in {attempts} attempts");
    assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
}

/// A job that failed over there is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_failed_after_it_was_accepted_is_made_again() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::Elsewhere("/api/nowhere"));
    let request = shop.erase().await;
    // What is forgotten over there has ended, and the contact is still there: the next rounds call again.
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    let deletes = mailer.seen("DELETE");
    assert_eq!((deletes.len(), rows(at_service(&request))), (2, (Some(1), 1, 0)));
    assert_eq!(deletes[0], deletes[1], "under the same key");
}

/// The worker's task comes down right after the person's row went; what the service did before is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_before_a_crash_stays_done() {
    let mailer = Mailer::start(&[JANE]).await;
    let pacing = Pacing { lease: Duration::from_secs(2), ..super::pacing() };
    let (shop, faults) = Shop::faulty(mailer.service(), SCHEMA, PLAN, pacing).await;
    faults.next(&[Fault::Panic]);
    let id = shop.harness.submit("customer", json!({ "user_id": 1 })).await;
    assert!(AssertUnwindSafe(shop.harness.run(id)).catch_unwind().await.is_err());
    eventually("the lease has run out", || async {
        shop.harness.run(id).await.state.outcome() == Some(Outcome::Done)
    })
    .await;
    let request = shop.harness.run(id).await;
    assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
}

/// Two contacts of Jane, by addresses that a table holds.
async fn two_contacts() -> (Mailer, Shop) {
    let schema = format!(
        "{SCHEMA} CREATE TABLE emails (id INTEGER PRIMARY KEY, user_id INTEGER, address VARCHAR(100));
         INSERT INTO emails VALUES (1, 1, 'a@example.com'), (2, 1, 'b@example.com');"
    );
    let plan = PLAN.replace("{ email: shop.users.email }", "{ email: shop.emails.address }").replace(
        "  mailer:",
        "    emails: { match: { user_id: users.id }, erase: { keep: for the taxes } }\n  mailer:",
    );
    let mailer = Mailer::start(&["a@example.com", "b@example.com"]).await;
    let shop = Shop::new(mailer.service(), &schema, &plan).await;
    (mailer, shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_takes_effect_between_two_calls() {
    let (mailer, shop) = two_contacts().await;
    mailer.next("DELETE", Twist::Slow(Duration::from_secs(1)));
    let id = shop.harness.submit("customer", json!({ "user_id": 1 })).await;
    let cancel = async {
        eventually("the first call", || async { mailer.seen("DELETE").len() == 1 }).await;
        shop.harness.cancel(id).await
    };
    let (request, asked) = tokio::join!(shop.harness.run(id), cancel);
    assert_eq!(asked.status(), Status::InProgress, "a worker is at it");
    assert_eq!((request.status(), request.state.outcome()), (Status::Cancelled, Some(Outcome::Partial)));
    assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(2), 1, 0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_keeps_what_was_done_in_the_counts() {
    let (mailer, shop) = two_contacts().await;
    mailer.next("DELETE", Twist::LostReply);
    mailer.next("DELETE", Twist::Status(503));
    let request = shop.erase().await;
    let request = shop.go_on(&request).await;
    assert_eq!((code(&request), request.status()), (Some(RunCode::ConnectionUnavailable), Status::Paused));
    assert_eq!((rows(at_service(&request)), mailer.contacts().len()), ((Some(2), 1, 0), 1));
    shop.harness.cancel(request.id).await;
    let request = shop.harness.run(request.id).await;
    assert_eq!((request.status(), request.state.outcome()), (Status::Cancelled, Some(Outcome::Partial)));
    assert_eq!((rows(at_service(&request)), mailer.contacts().len()), ((Some(2), 1, 0), 1));
}
