//! `POST /v1/requests`.

use chrono::{DateTime, TimeDelta, Utc};
use rightful::domain::{audit::timestamp, clock::Clock, deadline::after_months};
use serde_json::{Value, json};

use super::{app, apps};
use crate::support::app::{Reply, TestApp};

const PATH: &str = "/v1/requests";

fn erasure(subject: Value) -> Value {
    json!({ "kind": "erasure", "plan": "customer", "subject": subject })
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn submit_with_key(app: &TestApp, key: &str, body: &Value) -> Reply {
    app.admin().post_with(PATH, body, &[("idempotency-key", key)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_answered_with_the_whole_request() {
    for app in apps().await {
        let before = Clock.now();
        let mut body = erasure(json!({ "email": "User7@example.com" }));
        body["external_id"] = json!("ZD-1234");
        body["reason"] = json!("asked by e-mail");
        body["submitted_at"] = json!("2026-01-31T10:00:00+01:00");
        let reply = app.admin().post(PATH, &body).await;
        assert_eq!(reply.status, 202);
        let request = reply.ok();
        let id = request["id"].as_str().unwrap();
        assert_eq!(reply.header("location"), format!("/v1/requests/{id}"));
        let created_at = time(&request["created_at"]);
        assert!(created_at >= before && created_at <= Clock.now());
        let version = &request["plan"]["version"];
        assert!(version.as_str().unwrap().starts_with("sha256:"));
        let step = |name: &str, action: &str, basis: Value| {
            json!({
                "name": name, "action": action, "status": "pending", "rows_matched": null, "rows_affected": 0,
                "rows_remaining": null, "rows_withheld": 0, "basis": basis, "kept_until": null, "do": null, "recipient": null,
                "result": null, "note": null, "started_at": null, "finished_at": null,
            })
        };
        let steps = request["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 3);
        assert!(steps.contains(&step("shop.comments", "delete", Value::Null)), "{steps:?}");
        assert_eq!(
            request,
            json!({
                "id": id, "kind": "erasure", "status": "approved", "plan": { "name": "customer", "version": version },
                "subject": { "email": "User7@example.com" }, "subject_ref": null,
                "subject_refs": request["subject_refs"], "changes": null, "external_id": "ZD-1234", "reason": "asked by e-mail",
                "submitted_at": "2026-01-31T09:00:00.000000Z", "created_at": timestamp(created_at),
                "started_at": null, "finished_at": null, "identities_destroyed_at": null, "reduced_at": null,
                "deadline": {
                    "due_at": "2026-02-28T09:00:00.000000Z", "days_left": request["deadline"]["days_left"],
                    "overdue": true, "extended": false,
                },
                "progress": {
                    "steps_total": 3, "steps_done": 0, "rows_matched": null, "rows_affected": 0, "percent": 0,
                },
                "attempt": 0, "next_attempt_at": null, "error": null, "steps": steps, "created_by": "alice",
                "hold_id": null, "identity_check": null, "export": null, "extension": null, "denial": null, "answered": null, "replay": null, "outcome": null,
                "links": { "self": format!("/v1/requests/{id}"), "events": format!("/v1/requests/{id}/events"), "certificate": null },
            })
        );
        assert_eq!(request["subject_refs"].as_array().unwrap().len(), 1);
        assert_eq!(request["subject_refs"][0]["identity"], "email");
        is_on_record(&app, id).await;
    }
}

async fn is_on_record(app: &TestApp, id: &str) {
    let events = app.admin().get(&format!("/v1/requests/{id}/events")).await.ok();
    let created = &events["items"][0];
    assert_eq!((&created["event"], &created["actor"]), (&json!("request.created"), &json!("alice")));
    assert!(!created.to_string().to_lowercase().contains("user7"), "no identity in the log");
    assert!(!created.to_string().contains("e-mail"), "no free text in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_shows_nobodys_address() {
    let app = app().await;
    let mut body = erasure(json!({ "email": "user7@example.com" }));
    body["reason"] = json!("her very own words");
    app.admin().post_with(PATH, &body, &[("idempotency-key", "k")]).await.ok();
    let file = app.store.file().unwrap();
    for ending in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{ending}", file.display())).unwrap_or_default();
        for secret in ["user7@example.com", "her very own words"] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} in {ending}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_body_are_told_with_their_place() {
    let app = app().await;
    let good = erasure(json!({ "user_id": 1 }));
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let later = timestamp(Clock.now() + TimeDelta::seconds(120));
    let table = [
        (json!({}), "invalid_body", vec!["/kind", "/plan", "/subject"]),
        (with("kind", json!("deletion")), "invalid_body", vec!["/kind"]),
        (with("kind", json!("rectify")), "invalid_body", vec!["/changes"]),
        (with("kind", json!(7)), "invalid_body", vec!["/kind"]),
        (with("plan", json!("nowhere")), "unknown_plan", vec!["/plan"]),
        (with("subject", json!("jane")), "invalid_body", vec!["/subject"]),
        (with("subject", Value::Null), "invalid_body", vec!["/subject"]),
        (with("subject", json!({})), "invalid_identity", vec!["/subject"]),
        (with("subject", json!({ "phone": "1" })), "unknown_identity", vec!["/subject/phone"]),
        (with("subject", json!({ "user_id": "abc" })), "invalid_identity", vec!["/subject/user_id"]),
        (with("subject", json!({ "user_id": [1] })), "invalid_identity", vec!["/subject/user_id"]),
        (with("subject", json!({ "email": null })), "invalid_identity", vec!["/subject/email"]),
        (with("external_id", json!("x".repeat(201))), "invalid_body", vec!["/external_id"]),
        (with("external_id", json!("")), "invalid_body", vec!["/external_id"]),
        (with("external_id", json!("a\0b")), "invalid_body", vec!["/external_id"]),
        (with("reason", json!("x".repeat(2_001))), "invalid_body", vec!["/reason"]),
        (with("reason", json!(false)), "invalid_body", vec!["/reason"]),
        (with("submitted_at", json!("2026-13-01")), "invalid_body", vec!["/submitted_at"]),
        (with("submitted_at", json!(later)), "invalid_body", vec!["/submitted_at"]),
        (with("subjects", json!({})), "invalid_body", vec!["/subjects"]),
        (with("changes", json!({})), "invalid_body", vec!["/changes"]),
        (with("a/b~c", json!(1)), "invalid_body", vec!["/a~1b~0c"]),
    ];
    for (body, code, pointers) in table {
        let problem = app.admin().post(PATH, &body).await.problem(422, code);
        let errors = problem["errors"].as_array().unwrap();
        let found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(found, pointers, "{body}");
        assert!(errors.iter().all(|error| !error["detail"].as_str().unwrap().is_empty()));
    }
    assert_eq!(app.admin().get(PATH).await.ok()["items"], json!([]), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn optional_members_may_be_null_and_a_clock_may_be_a_little_ahead() {
    let app = app().await;
    let mut body = erasure(json!({ "user_id": 1 }));
    body["external_id"] = Value::Null;
    body["reason"] = Value::Null;
    body["submitted_at"] = json!(timestamp(Clock.now() + TimeDelta::seconds(30)));
    let request = app.admin().post(PATH, &body).await.ok();
    let submitted_at = time(&request["submitted_at"]);
    assert!(submitted_at <= Clock.now(), "counts as now");
    assert_eq!(time(&request["deadline"]["due_at"]), after_months(submitted_at, 1));
    assert_eq!(request["deadline"]["overdue"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_request_of_the_same_person_is_a_duplicate() {
    for app in apps().await {
        let admin = app.admin();
        let first = admin.submit(1).await.ok();
        let problem = admin.submit(1).await.problem(409, "duplicate_request");
        assert_eq!(problem["request_id"], first["id"]);
        let other = app.service_account("crm").submit(1).await.problem(409, "duplicate_request");
        assert!(other.as_object().unwrap().contains_key("request_id"), "null, not absent");
        assert_eq!(other["request_id"], Value::Null);
        assert_eq!(admin.submit(2).await.status, 202);
        admin.post(&format!("{}/cancel", first["links"]["self"].as_str().unwrap()), &json!({})).await.ok();
        assert_eq!(admin.submit(1).await.status, 202, "the first has ended");
        let body = erasure(json!({ "email": "Jane@Example.com" }));
        admin.post(PATH, &body).await.ok();
        let body = erasure(json!({ "email": "jane@example.COM" }));
        admin.post(PATH, &body).await.problem(409, "duplicate_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_request() {
    for app in apps().await {
        let body = erasure(json!({ "user_id": 1 }));
        let first = submit_with_key(&app, "k-1", &body).await;
        assert_eq!(first.status, 202);
        let again = submit_with_key(&app, "k-1", &body).await;
        assert_eq!((again.status.as_u16(), again.header("location")), (200, first.header("location")));
        assert_eq!(again.ok()["id"], first.ok()["id"], "before duplicates are looked for");
        let other = erasure(json!({ "user_id": 2 }));
        submit_with_key(&app, "k-1", &other).await.problem(422, "idempotency_key_reused");
        let crm = app.service_account("crm");
        let theirs = crm.post_with(PATH, &other, &[("idempotency-key", "k-1")]).await;
        assert_eq!(theirs.status, 202, "a key belongs to its sub");
        submit_with_key(&app, "k-2", &body).await.problem(409, "duplicate_request");
        submit_with_key(&app, "", &body).await.problem(422, "invalid_body");
        submit_with_key(&app, &"x".repeat(256), &body).await.problem(422, "invalid_body");
        // A refused submission does not use its key up.
        assert_eq!(submit_with_key(&app, "k-2", &erasure(json!({ "user_id": 3 }))).await.status, 202);
        let cancel = format!("{}/cancel", first.header("location"));
        app.admin().post(&cancel, &json!({})).await.ok();
        assert_eq!(submit_with_key(&app, "k-1", &body).await.status, 200, "kept as long as the request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_is_still_once() {
    for app in apps().await {
        let body = erasure(json!({ "user_id": 1 }));
        let replies = futures::future::join_all((0..12).map(|_| submit_with_key(&app, "k", &body))).await;
        let ids: std::collections::BTreeSet<String> =
            replies.iter().map(|reply| reply.ok()["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 1);
        let admin = app.admin();
        let replies = futures::future::join_all((0..12).map(|_| admin.submit(2))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 1);
        replies.iter().filter(|reply| reply.status != 202).for_each(|reply| {
            reply.problem(409, "duplicate_request");
        });
    }
}

/// As clients do that are generated from the schema.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_other_kinds_may_be_null() {
    let app = apps().await.remove(0);
    let mut body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": 3 } });
    for name in ["format", "right", "encrypt_to", "changes"] {
        body[name] = Value::Null;
    }
    assert_eq!(app.admin().post(PATH, &body).await.status, 202);
    body["format"] = json!("csv");
    app.admin().post(PATH, &body).await.problem(422, "invalid_body");
}
