//! One request: `ETag`, `?wait`, events, cancel, retry.

use std::time::Duration;

use rightful::domain::{
    clock::Clock,
    request::{RunCode, RunError, StepStatus},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{app, apps};
use crate::support::app::TestApp;

fn path(request: &Value) -> String {
    request["links"]["self"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_request_is_not_sent_again() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        let reply = app.admin().get(&path).await;
        assert_eq!(reply.header("retry-after"), "1");
        assert_eq!(reply.header("cache-control"), "private, no-cache");
        let etag = reply.header("etag").to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let again = app.admin().get_with(&path, &[("if-none-match", &known)]).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), etag);
        }
        let auditor = app.auditor().get_with(&path, &[("if-none-match", &etag)]).await;
        assert_eq!(auditor.status, 200, "another body, another tag");
        app.admin().post(&format!("{path}/cancel"), &json!({})).await.ok();
        let changed = app.admin().get_with(&path, &[("if-none-match", &etag)]).await;
        assert_eq!((changed.status.as_u16(), changed.header("retry-after")), (200, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_a_change_or_with_the_wait() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        let etag = app.admin().get(&path).await.header("etag").to_owned();
        let started = Instant::now();
        assert_eq!(app.admin().get(&format!("{path}?wait=300ms")).await.status, 200);
        assert!(started.elapsed() >= Duration::from_millis(300));
        let known = [("if-none-match", etag.as_str())];
        assert_eq!(app.admin().get_with(&format!("{path}?wait=50ms"), &known).await.status, 304);
        let other = [("if-none-match", "\"another\"")];
        let admin = app.admin();
        let waiting_path = format!("{path}?wait=60s");
        let at_once = admin.get_with(&waiting_path, &other);
        assert_eq!(timeout(Duration::from_secs(10), at_once).await.unwrap().status, 200);
        let waiting = admin.get_with(&waiting_path, &known);
        let cancelling = async {
            // Both are on their way at once; whichever comes first, the wait sees the change.
            app.admin().post(&format!("{path}/cancel"), &json!({})).await.ok()
        };
        let (reply, _) =
            timeout(Duration::from_secs(20), futures::future::join(waiting, cancelling)).await.unwrap();
        assert_eq!(reply.ok()["status"], "cancelled");
        for wrong in ["", "soon", "-1s", "1h"] {
            app.admin().get(&format!("{path}?wait={wrong}")).await.problem(422, "invalid_body");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_those_who_wait() {
    let mut app = app().await;
    let path = path(&app.admin().submit(1).await.ok());
    let url = format!("{}{path}?wait=60s", app.base);
    let token = crate::support::app::token(&crate::support::app::claims("alice", &["admin"]));
    let client = reqwest::Client::new();
    let (sent, was_sent) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        let call = client.get(url).header("authorization", format!("Bearer {token}")).send();
        let _ = sent.send(());
        call.await.unwrap().status()
    });
    was_sent.await.unwrap();
    crate::support::app::eventually("the call has arrived", || async {
        app.nobody().get("/metrics").await.text.contains("rightful_http_requests_in_flight 2")
    })
    .await;
    timeout(Duration::from_secs(10), app.stop()).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let app = app().await;
    for id in ["019a0000-0000-7000-8000-000000000000", "1", "%FF", "..%2Frequests"] {
        app.admin().get(&format!("/v1/requests/{id}")).await.problem(404, "not_found");
        app.admin().get(&format!("/v1/requests/{id}/events")).await.problem(404, "not_found");
        for action in ["cancel", "retry"] {
            app.admin()
                .post(&format!("/v1/requests/{id}/{action}"), &json!({}))
                .await
                .problem(404, "not_found");
        }
        let at = "2026-01-01T00:00:00Z";
        for (action, body) in [
            ("identity_check", json!({ "method": "callback", "requested_at": at })),
            ("extend", json!({ "months": 1, "reason": "many systems" })),
            ("answered", json!({ "at": at, "channel": "email" })),
        ] {
            let path = format!("/v1/requests/{id}/{action}");
            app.admin().post(&path, &body).await.problem(404, "not_found");
        }
        // No such operation yet.
        app.admin().get(&format!("/v1/requests/{id}/export")).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_before_the_start_ends_at_once() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        for wrong in [json!({ "reason": 7 }), json!({ "why": "x" }), json!([])] {
            app.admin().post(&format!("{path}/cancel"), &wrong).await.problem(422, "invalid_body");
        }
        let reply =
            app.admin().post(&format!("{path}/cancel"), &json!({ "reason": "Jane changed her mind" })).await;
        assert_eq!(reply.status, 202);
        let request = reply.ok();
        assert_eq!((&request["status"], &request["outcome"]), (&json!("cancelled"), &json!("nothing_done")));
        assert!(request["finished_at"].is_string());
        let events = app.admin().get(&format!("{path}/events")).await.ok();
        let cancelled = &events["items"][1];
        assert_eq!(
            (&cancelled["event"], &cancelled["actor"]),
            (&json!("request.cancelled"), &json!("alice"))
        );
        assert!(!cancelled.to_string().contains("Jane"), "{cancelled}");
        for action in ["cancel", "retry"] {
            app.admin().post(&format!("{path}/{action}"), &json!({})).await.problem(409, "invalid_state");
        }
        let no_body = app.admin().call(reqwest::Method::POST, &format!("{path}/cancel"), None, &[]).await;
        no_body.problem(409, "invalid_state");
    }
}

/// Claims the one request there is, as a worker would.
async fn claim(app: &TestApp) -> rightful::store::Claimed {
    app.service.store.claim(1, "worker:test", Duration::from_secs(30), 8).await.unwrap().taken.pop().unwrap()
}

/// Ends a claim in trouble, as a worker would.
async fn trouble(app: &TestApp, code: RunCode) {
    let claimed = claim(app).await;
    let mut request = claimed.request;
    let error = RunError {
        code,
        detail: "connection shop does not answer".to_owned(),
        connection: Some("shop".to_owned()),
        step: None,
        cause: None,
    };
    let now = Clock.now();
    let later = now + chrono::TimeDelta::seconds(300);
    let events = request.troubled(error, "worker:test", now, later, 8);
    let mut tx = app.service.store.begin().await.unwrap();
    tx.append(&mut request, events).await.unwrap();
    tx.save(&request).await.unwrap();
    if request.status().is_end() {
        tx.release(request.id).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_under_way_asks_the_worker() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        let claimed = claim(&app).await;
        for _ in 0..2 {
            let reply = app.admin().post(&format!("{path}/cancel"), &json!({})).await;
            assert_eq!((reply.status.as_u16(), &reply.ok()["status"]), (202, &json!("in_progress")));
        }
        let mut request = claimed.request;
        let mut tx = app.service.store.begin().await.unwrap();
        let saved = tx.save(&request).await.unwrap();
        assert_eq!(saved.cancelled_by.as_deref(), Some("alice"), "the worker's next write tells it");
        let event = request.cancelled("alice", Clock.now());
        tx.append(&mut request, vec![event]).await.unwrap();
        tx.save(&request).await.unwrap();
        tx.release(request.id).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(app.admin().get(&path).await.ok()["status"], "cancelled");
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_found_again_is_not_cancelled() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        let mut request = claim(&app).await.request;
        request.touched = true;
        let root = request.steps.iter().position(|step| step.name == "shop.users").unwrap();
        request.steps[root].batches = 1;
        let mut tx = app.service.store.begin().await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
        app.admin().post(&format!("{path}/cancel"), &json!({})).await.problem(409, "invalid_state");
        // The rest is done: what is open is the person's own row, which can be given again.
        for (_, step) in request.steps.iter_mut().enumerate().filter(|(position, _)| *position != root) {
            step.status = StepStatus::Completed;
        }
        let mut tx = app.service.store.begin().await.unwrap();
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(app.admin().post(&format!("{path}/cancel"), &json!({})).await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_request_says_why_and_can_be_retried_or_cancelled() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        trouble(&app, RunCode::ConnectionUnavailable).await;
        let request = app.admin().get(&path).await.ok();
        assert_eq!(request["status"], "paused");
        assert_eq!(
            request["error"],
            json!({
                "code": "connection_unavailable", "detail": "connection shop does not answer",
                "connection": "shop", "step": null, "cause": null,
            })
        );
        assert!(request["next_attempt_at"].is_string());
        let none = app.service.store.claim(1, "worker:test", Duration::from_secs(30), 8).await.unwrap().taken;
        assert!(none.is_empty(), "not due yet");
        app.admin().post(&format!("{path}/retry"), &json!({ "reason": "mended" })).await.ok();
        let claimed = claim(&app).await;
        assert_eq!((claimed.request.failures, claimed.request.strikes), (0, 1));
        app.admin().post(&format!("{path}/retry"), &json!({})).await.problem(409, "invalid_state");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_is_taken_up_again_unless_the_person_has_another() {
    for app in apps().await {
        let path = path(&app.admin().submit(1).await.ok());
        trouble(&app, RunCode::SubjectAmbiguous).await;
        let request = app.admin().get(&path).await.ok();
        assert_eq!((&request["status"], &request["outcome"]), (&json!("failed"), &json!("nothing_done")));
        app.admin().post(&format!("{path}/cancel"), &json!({})).await.problem(409, "invalid_state");
        let second = app.admin().submit(1).await.ok();
        let problem =
            app.admin().post(&format!("{path}/retry"), &json!({})).await.problem(409, "duplicate_request");
        assert_eq!(problem["request_id"], second["id"]);
        app.admin().post(&format!("{}/cancel", super::reading::path(&second)), &json!({})).await.ok();
        let retried = app.admin().post(&format!("{path}/retry"), &json!({})).await.ok();
        assert_eq!((&retried["status"], &retried["outcome"]), (&json!("approved"), &Value::Null));
        assert_eq!((&retried["error"], &retried["finished_at"]), (&Value::Null, &Value::Null));
        app.admin().submit(1).await.problem(409, "duplicate_request");
        let events = app.admin().get(&format!("{path}/events")).await.ok();
        let last = events["items"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["event"], &last["details"]["from"]), (&json!("request.retried"), &json!("failed")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_oldest_first_page_by_page() {
    for app in apps().await {
        let request = app.admin().submit(1).await.ok();
        let path = path(&request);
        for _ in 0..3 {
            trouble(&app, RunCode::LockTimeout).await;
            app.admin().post(&format!("{path}/retry"), &json!({})).await.ok();
        }
        let mut seqs = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = app.approver().get(&format!("{path}/events?limit=4{cursor}")).await.ok();
            for event in page["items"].as_array().unwrap() {
                assert_eq!(event["request_id"], request["id"]);
                seqs.push(event["seq"].as_i64().unwrap());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    }
}
