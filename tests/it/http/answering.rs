//! The month of GDPR Art. 12(3) over HTTP: identity checks, extension, and the answer that ends it.

use chrono::TimeDelta;
use rightful::{
    domain::{audit::timestamp, clock::Clock, deadline::after_months},
    service::reminders::remind,
};
use serde_json::{Value, json};

use super::apps;

fn path(request: &Value, action: &str) -> String {
    format!("{}/{action}", request["links"]["self"].as_str().unwrap())
}

fn submission(person: u32) -> Value {
    json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": person } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_month_stands_still_until_the_identity_is_confirmed() {
    for mut app in apps().await {
        app.work();
        let asked = Clock.now() - TimeDelta::days(40);
        let mut body = submission(1);
        body["submitted_at"] = json!(timestamp(asked));
        body["identity_check"] = json!({ "method": "id_document", "requested_at": timestamp(asked) });
        let request = app.admin().post("/v1/requests", &body).await.ok();
        assert_eq!(request["status"], "pending");
        let deadline = json!({ "due_at": null, "days_left": null, "overdue": false, "extended": false });
        assert_eq!(request["deadline"], deadline);
        assert_eq!(request["identity_check"]["confirmed_at"], Value::Null);
        let extension = json!({ "months": 1, "reason": "many systems" });
        app.admin().post(&path(&request, "extend"), &extension).await.problem(409, "invalid_state");

        let confirmed = Clock.now() - TimeDelta::hours(1);
        let mut check = json!({ "method": "id_document", "requested_at": timestamp(asked) });
        check["confirmed_at"] = json!(timestamp(asked - TimeDelta::seconds(1)));
        let confirm = path(&request, "identity_check");
        app.admin().post(&confirm, &check).await.problem(422, "invalid_body");
        check["confirmed_at"] = json!(timestamp(Clock.now() + TimeDelta::hours(1)));
        let future = app.admin().post(&confirm, &check).await.problem(422, "invalid_body");
        assert_eq!(future["errors"][0]["pointer"], "/confirmed_at");
        check["confirmed_at"] = json!(timestamp(confirmed));
        let confirmed_request = app.admin().post(&confirm, &check).await.ok();
        assert_eq!(confirmed_request["deadline"]["due_at"], timestamp(after_months(confirmed, 1)));
        assert_eq!(confirmed_request["identity_check"], check);

        let id = request["id"].as_str().unwrap();
        assert_eq!(app.admin().until_end(id).await["status"], "completed");
        app.admin().post(&confirm, &check).await.problem(409, "invalid_state");
        let events = app.admin().get(&path(&request, "events")).await.ok();
        let event = &events["items"][1];
        assert_eq!((&event["event"], &event["actor"]), (&json!("request.identity_checked"), &json!("alice")));
        assert_eq!(event["details"]["confirmed_at"], timestamp(confirmed));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_an_identity_check_are_told_at_their_place() {
    for app in apps().await {
        for (check, pointer) in [
            (json!(7), "/identity_check"),
            (json!({ "requested_at": "2026-01-01T00:00:00Z" }), "/identity_check/method"),
            (
                json!({ "method": "By Phone", "requested_at": "2026-01-01T00:00:00Z" }),
                "/identity_check/method",
            ),
            (json!({ "method": "phone" }), "/identity_check/requested_at"),
            (json!({ "method": "phone", "requested_at": "yesterday" }), "/identity_check/requested_at"),
            (
                json!({ "method": "phone", "requested_at": "2026-01-01T00:00:00Z", "by": "me" }),
                "/identity_check/by",
            ),
            (json!({ "method": "phone", "requested_at": "2126-01-01T00:00:00Z" }), "/identity_check"),
        ] {
            let mut body = submission(2);
            body["identity_check"] = check;
            let problem = app.admin().post("/v1/requests", &body).await.problem(422, "invalid_body");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
        let mut body = submission(2);
        body["identity_check"] = Value::Null;
        assert_eq!(app.admin().post("/v1/requests", &body).await.ok()["status"], "approved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_extended_once_from_its_beginning() {
    for app in apps().await {
        let received = Clock.now() - TimeDelta::days(3);
        let mut body = submission(3);
        body["submitted_at"] = json!(timestamp(received));
        let request = app.admin().post("/v1/requests", &body).await.ok();
        let extend = path(&request, "extend");
        for body in [
            json!({ "reason": "x" }),
            json!({ "months": 1 }),
            json!({ "months": 3, "reason": "x" }),
            json!({ "months": 0, "reason": "x" }),
            json!({ "months": "1", "reason": "x" }),
            json!({ "months": 1, "reason": "x", "subject_informed_at": "2126-01-01T00:00:00Z" }),
            json!({ "months": 1, "reason": "x", "subject_informed_at": "2020-01-01T00:00:00Z" }),
        ] {
            app.admin().post(&extend, &body).await.problem(422, "invalid_body");
        }
        let body = json!({
            "months": 2, "reason": "Jane's data lies in nine systems", "subject_informed_at": timestamp(received),
        });
        let extended = app.admin().post(&extend, &body).await.ok();
        assert_eq!(extended["extension"], body);
        assert_eq!(extended["deadline"]["due_at"], timestamp(after_months(received, 3)));
        assert_eq!(extended["deadline"]["extended"], true);
        app.admin().post(&extend, &body).await.problem(409, "invalid_state");
        let seen = app.auditor().get(request["links"]["self"].as_str().unwrap()).await.ok();
        assert_eq!((&seen["extension"]["months"], &seen["extension"]["reason"]), (&json!(2), &Value::Null));
        let events = app.admin().get(&path(&request, "events")).await;
        assert!(!events.text.contains("nine systems"), "no event holds free text");
        assert_eq!(events.ok()["items"][1]["event"], "request.extended");

        let mut late = submission(4);
        late["submitted_at"] = json!(timestamp(Clock.now() - TimeDelta::days(32)));
        let late = app.admin().post("/v1/requests", &late).await.ok();
        app.admin().post(&path(&late, "extend"), &body).await.problem(409, "invalid_state");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_overdue_until_its_person_is_answered() {
    for mut app in apps().await {
        let mut body = submission(5);
        let received = Clock.now() - TimeDelta::days(32);
        body["submitted_at"] = json!(timestamp(received));
        let request = app.admin().post("/v1/requests", &body).await.ok();
        let told = json!({ "at": timestamp(Clock.now()), "channel": "letter" });
        let answered = path(&request, "answered");
        app.admin().post(&answered, &told).await.problem(409, "invalid_state");
        app.work();
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!((&done["status"], &done["deadline"]["overdue"]), (&json!("completed"), &json!(true)));
        let overdue = app.admin().get("/v1/requests?overdue=true").await.ok();
        assert_eq!(overdue["items"][0]["id"], request["id"]);

        for body in [
            json!({ "channel": "letter" }),
            json!({ "at": timestamp(Clock.now()), "channel": "pigeon" }),
            json!({ "at": "2126-01-01T00:00:00Z", "channel": "letter" }),
            json!({ "at": timestamp(received - TimeDelta::seconds(1)), "channel": "letter" }),
        ] {
            app.admin().post(&answered, &body).await.problem(422, "invalid_body");
        }
        let closed = app.admin().post(&answered, &told).await.ok();
        assert_eq!((&closed["answered"], &closed["deadline"]["overdue"]), (&told, &json!(false)));
        app.admin().post(&answered, &told).await.problem(409, "invalid_state");
        assert_eq!(app.admin().get("/v1/requests?overdue=true").await.ok()["items"], json!([]));
        let events = app.admin().get(&path(&request, "events?limit=500")).await.ok();
        let last = events["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["event"], &last["details"]), (&json!("request.answered"), &told));
        let verified = app.auditor().get("/v1/audit/verify").await.ok();
        assert_eq!(verified["ok"], true);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_brought_to_mind_once_a_day() {
    for app in apps().await {
        let mut late = submission(6);
        late["submitted_at"] = json!(timestamp(Clock.now() - TimeDelta::days(40)));
        let late = app.admin().post("/v1/requests", &late).await.ok();
        let fresh = app.admin().submit(7).await.ok();
        assert_eq!(remind(&app.service).await.unwrap(), 1);
        assert_eq!(remind(&app.service).await.unwrap(), 0, "once a day");
        let events = app.admin().get(&path(&late, "events")).await.ok();
        let event = &events["items"][1];
        assert_eq!((&event["event"], &event["actor"]), (&json!("request.reminded"), &json!("system")));
        assert_eq!(event["details"]["due_at"], late["deadline"]["due_at"]);
        assert!(event["details"]["days_left"].as_i64().unwrap() < 0);
        let events = app.admin().get(&path(&fresh, "events")).await.ok();
        assert_eq!(events["items"].as_array().unwrap().len(), 1);
        // It is carried out all the same.
        assert_eq!(app.admin().get(late["links"]["self"].as_str().unwrap()).await.ok()["status"], "approved");
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_of_the_answer_says_what_was_done_and_what_was_kept() {
    for mut app in apps().await {
        let request = app.admin().submit(8).await.ok();
        let answer = path(&request, "answer");
        app.admin().get(&answer).await.problem(409, "invalid_state");
        app.work();
        app.admin().until_end(request["id"].as_str().unwrap()).await;
        for user in [app.admin(), app.approver()] {
            let text = user.get(&answer).await.ok()["text"].as_str().unwrap().to_owned();
            for part in [
                request["id"].as_str().unwrap(),
                "- shop.comments: 1 record deleted",
                "- shop.orders: 1 record. invoices",
                "(Article 77 GDPR)",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        app.auditor().get(&answer).await.problem(403, "forbidden");
        app.admin().get(&format!("{answer}?x=1")).await.problem(422, "invalid_body");
        app.stop().await;
    }
}
