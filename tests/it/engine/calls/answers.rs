//! What each kind of answer comes to: done, waited for, tried again, and never taken for "gone" by mistake.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use rightful::{
    domain::request::{Outcome, Request, RunCode, Status},
    service::Pacing,
};
use serde_json::json;

use super::{JANE, PLAN, SCHEMA, Shop, at_service, code, rows};
use crate::support::{
    harness::Harness,
    mailer::{Mailer, TOKEN, Twist},
};

fn detail(request: &Request) -> &str {
    let error = request.state.error().unwrap_or_else(|| panic!("{:?}", request.state));
    assert_eq!(
        (error.connection.as_deref(), error.step.as_deref()),
        (Some("mailer"), Some("mailer.contacts"))
    );
    assert!(!error.detail.contains("jane") && !error.detail.contains("127.0.0.1"), "{}", error.detail);
    &error.detail
}

/// Paused without an attempt, with this in the detail; the contact and the person are still there.
fn waits(shop: &Shop, request: &Request, says: &str) {
    assert_eq!(code(request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
    assert_eq!((request.status(), request.attempt), (Status::Paused, 0));
    assert!(detail(request).contains(says), "{says}: {}", detail(request));
    assert_eq!(super::count(&shop.target, "users"), 2);
}

async fn done(shop: &Shop, request: &Request) {
    let request = shop.go_on(request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(super::count(&shop.target, "users"), 1);
}

/// A wrong path, tenant or token answers 404 too.
#[tokio::test(flavor = "multi_thread")]
async fn a_404_counts_only_beside_a_probe_that_answers() {
    let mailer = Mailer::start(&[]).await;
    mailer.set_health(500);
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    let request = shop.erase().await;
    waits(&shop, &request, "its probe answered with status 500");
    mailer.set_health(204);
    done(&shop, &request).await;

    let shop = Shop::new(mailer.service_with(TOKEN, None, &["127.0.0.1"]), SCHEMA, PLAN).await;
    let request = shop.erase().await;
    waits(&shop, &request, "give the connection a `probe`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_needs_no_probe() {
    let mailer = Mailer::start(&[]).await;
    let shop = Shop::new(mailer.service_with(TOKEN, None, &["127.0.0.1"]), SCHEMA, PLAN).await;
    for _ in 0..2 {
        mailer.next("GET", Twist::Status(410));
    }
    mailer.next("GET", Twist::Status(410));
    let request = shop.erase().await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_and_private_addresses_are_waited_for() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop =
        Shop::new(mailer.service_with("Bearer wrong", Some("GET /health"), &["127.0.0.1"]), SCHEMA, PLAN)
            .await;
    waits(&shop, &shop.erase().await, "status 401: correct the connection's `headers`");
    let shop = Shop::new(mailer.service_with(TOKEN, Some("GET /health"), &[]), SCHEMA, PLAN).await;
    waits(&shop, &shop.erase().await, "`outbound.private_hosts` does not list");
    assert_eq!((mailer.seen("GET").len(), mailer.contacts().len()), (1, 1), "the second one never called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_or_behind_a_broken_gateway_is_waited_for() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("GET", Twist::Status(502));
    let request = shop.erase().await;
    waits(&shop, &request, "status 502");
    drop(mailer);
    waits(&shop, &shop.go_on(&request).await, "cannot be reached");
}

/// Before anything was done, and in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_and_uses_no_attempt() {
    let date = |seconds| {
        let at = rightful::domain::clock::Clock.now() + TimeDelta::seconds(seconds);
        at.to_rfc2822().replace("+0000", "GMT")
    };
    for (method, status, after, seconds) in [
        ("GET", 429, "120".to_owned(), 120),
        ("DELETE", 503, "7".to_owned(), 7),
        ("DELETE", 429, date(900), 900),
        ("GET", 503, "999999".to_owned(), 3_600),
    ] {
        let mailer = Mailer::start(&[JANE]).await;
        let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
        mailer.next(method, Twist::Busy(status, after.clone()));
        let id = shop.harness.submit("customer", json!({ "user_id": 1 })).await;
        let begun = shop.harness.service.clock.now();
        let request = shop.harness.run_once(id).await;
        waits(&shop, &request, &format!("status {status}"));
        let waited = (request.run_at - begun).num_seconds();
        let text = request.run_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        assert!((seconds - 2..=seconds + 5).contains(&waited), "{after}: {waited} s, until {text}");
        done(&shop, &request).await;
        let keys: Vec<_> = mailer.seen("DELETE").into_iter().map(|seen| seen.idempotency_key).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "the same call again: {keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_and_other_errors_are_tried_again_until_the_attempts_are_used_up() {
    for (twist, says) in [
        (Twist::Redirect, "a redirect (status 302), which is not followed"),
        (Twist::Status(500), "it answered with status 500"),
        (Twist::Status(409), "it answered with status 409"),
        (Twist::Elsewhere("http://127.0.0.1:9/jobs/1"), "a Location that is not its own"),
    ] {
        let mailer = Mailer::start(&[JANE]).await;
        let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
        let max = shop.harness.service.pacing.max_attempts;
        for _ in 0..max {
            mailer.next("DELETE", twist.clone());
        }
        let mut request = shop.erase().await;
        for failures in 1..max {
            assert_eq!((code(&request), request.status()), (Some(RunCode::Internal), Status::InProgress));
            assert_eq!((request.failures, detail(&request).contains(says)), (failures, true));
            request = shop.go_on(&request).await;
        }
        assert_eq!(code(&request), Some(RunCode::AttemptsExhausted), "{:?}", request.state);
        assert_eq!(request.state.outcome(), Some(Outcome::Partial), "the call may have done something");
        assert_eq!(mailer.contacts().len(), 1);
        shop.harness.retry(request.id).await;
        done(&shop, &request).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_only_says_done_is_not_believed() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    for _ in 0..4 {
        mailer.next("DELETE", Twist::Lie);
    }
    let request = shop.erase().await;
    assert_eq!(code(&request), Some(RunCode::RowsRemaining), "{:?}", request.state);
    assert_eq!((rows(at_service(&request)), mailer.contacts().len()), ((Some(1), 0, 0), 1));
    done(&shop, &request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_is_followed_to_its_end() {
    for twist in [Twist::Accepted(3, None), Twist::Accepted(1, Some("1")), Twist::AcceptedSilently(3, None)] {
        let mailer = Mailer::start(&[JANE]).await;
        let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
        mailer.next("DELETE", twist);
        let request = shop.erase().await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!((rows(at_service(&request)), mailer.seen("DELETE").len()), ((Some(1), 1, 0), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_holds_nobody_past_a_third_of_the_lease() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    let pacing = Pacing { lease: Duration::from_secs(3), ..super::pacing() };
    let hasty = Harness::with_service(
        shop.store.store.clone(),
        &[("shop", &shop.target.url)],
        ("mailer", mailer.service()),
        pacing,
    );
    mailer.next("DELETE", Twist::Slow(Duration::from_secs(60)));
    let id = shop.harness.submit("customer", json!({ "user_id": 1 })).await;
    let begun = std::time::Instant::now();
    let request = hasty.run(id).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    waits(&shop, &request, "no answer in time");
    assert_eq!(mailer.contacts().len(), 0, "it was done all the same");
    done(&shop, &request).await;
    let request = shop.harness.run(id).await;
    assert_eq!(rows(at_service(&request)), (Some(1), 1, 0), "and is booked once");
}

/// A service may answer the same key in the same way for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_have_failed_is_called_for_under_another_key() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    mailer.next("DELETE", Twist::Status(500));
    let mut request = shop.erase().await;
    mailer.next("DELETE", Twist::Status(503));
    for _ in 0..2 {
        assert!(!request.status().is_end(), "{:?}", request.state);
        request = shop.go_on(&request).await;
    }
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    let keys: Vec<_> = mailer.seen("DELETE").into_iter().map(|seen| seen.idempotency_key.unwrap()).collect();
    assert_eq!(keys.len(), 3);
    assert_ne!(keys[0], keys[1], "it went wrong over there");
    assert_eq!(keys[1], keys[2], "it was busy");
}
