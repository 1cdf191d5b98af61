//! Legal holds over HTTP: no erasure goes past one.

use chrono::TimeDelta;
use reqwest::Method;
use rightful::{
    domain::{audit::timestamp, clock::Clock},
    service::holds::expire,
};
use serde_json::{Value, json};

use super::apps;
use crate::support::app::{Reply, TestApp, User, eventually};

fn hold(subject: Value) -> Value {
    json!({ "plan": "customer", "subject": subject, "ground": "legal_claims", "reason": "Jane sued us" })
}

async fn end(user: &User<'_>, hold: &Value) -> Reply {
    let path = format!("/v1/holds/{}", hold["id"].as_str().unwrap());
    user.call(Method::DELETE, &path, None, &[]).await
}

async fn until_status(app: &TestApp, request: &Value, status: &str) -> Value {
    let path = request["links"]["self"].as_str().unwrap();
    eventually(status, async || app.admin().get(path).await.ok()["status"] == status).await;
    app.admin().get(path).await.ok()
}

async fn events(app: &TestApp, request: &Value) -> Vec<String> {
    let page =
        app.admin().get(&format!("{}?limit=500", request["links"]["events"].as_str().unwrap())).await.ok();
    let name = |event: &Value| event["event"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_waits_until_somebody_else_ends_the_hold() {
    for mut app in apps().await {
        // By another identity than the request's.
        let placed = app.admin().post("/v1/holds", &hold(json!({ "email": "USER1@example.com" }))).await;
        assert_eq!(placed.status, 201);
        assert!(placed.header("location").starts_with("/v1/holds/"));
        let placed = placed.ok();
        assert_eq!((&placed["scope"], &placed["reason"]), (&json!("all_plans"), &json!("Jane sued us")));
        app.work();
        let request = app.admin().submit(1).await.ok();
        let waiting = until_status(&app, &request, "on_hold").await;
        assert_eq!((&waiting["hold_id"], &waiting["outcome"]), (&placed["id"], &Value::Null));
        assert!(waiting["steps"].as_array().unwrap().iter().all(|step| step["rows_affected"] == 0));
        assert_eq!(events(&app, &request).await, ["request.created", "request.started", "request.held"]);
        // Nobody else waits.
        let other = app.admin().submit(2).await.ok();
        app.admin().until_end(other["id"].as_str().unwrap()).await;
        app.admin()
            .post(&format!("{}/retry", request["links"]["self"].as_str().unwrap()), &json!({}))
            .await
            .problem(409, "invalid_state");

        end(&app.user("alice", &["admin", "approver"]), &placed).await.problem(403, "forbidden");
        end(&app.admin(), &placed).await.problem(403, "forbidden");
        let ended = end(&app.approver(), &placed).await.ok();
        assert_eq!(ended["ended_by"], "arno");
        end(&app.approver(), &placed).await.problem(409, "invalid_state");
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!((&done["status"], &done["hold_id"]), (&json!("completed"), &Value::Null));
        let events = events(&app, &request).await;
        assert_eq!(events[2..5], ["request.held", "request.released", "request.resumed"]);

        let log = app.auditor().get("/v1/audit?event=hold.placed").await.ok();
        let event = &log["items"][0];
        assert_eq!(event["stream"], format!("hold:{}", placed["id"].as_str().unwrap()));
        assert_eq!(
            (&event["actor"], &event["subject_ref"]),
            (&json!("alice"), &placed["subject_refs"][0]["ref"])
        );
        assert!(!event.to_string().contains("sued"), "no event holds free text");
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_can_be_cancelled_and_a_hold_ends_by_itself() {
    for mut app in apps().await {
        app.work();
        let mut body = hold(json!({ "user_id": 3 }));
        body["expires_at"] = json!(timestamp(Clock.now() + TimeDelta::milliseconds(1500)));
        let placed = app.admin().post("/v1/holds", &body).await.ok();
        let first = app.admin().submit(3).await.ok();
        until_status(&app, &first, "on_hold").await;
        let path = first["links"]["self"].as_str().unwrap();
        app.admin().post(&format!("{path}/cancel"), &json!({})).await.ok();
        let cancelled = until_status(&app, &first, "cancelled").await;
        assert_eq!((&cancelled["outcome"], &cancelled["hold_id"]), (&json!("nothing_done"), &Value::Null));

        let second = app.admin().submit(3).await.ok();
        until_status(&app, &second, "on_hold").await;
        eventually("the time is over", async || expire(&app.service).await.unwrap() == 1).await;
        app.admin().until_end(second["id"].as_str().unwrap()).await;
        let path = format!("/v1/holds/{}", placed["id"].as_str().unwrap());
        assert_eq!(app.admin().get(&path).await.ok()["ended_by"], "system");
        let log = app.auditor().get("/v1/audit?event=hold.expired").await.ok();
        assert_eq!(log["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_table_keeps_the_request_that_would_touch_it() {
    for mut app in apps().await {
        app.work();
        let mut body = hold(json!({ "user_id": 4 }));
        body["scope"] = json!("table");
        body["table"] = json!("shop.comments");
        let placed = app.admin().post("/v1/holds", &body).await.ok();
        let request = app.admin().submit(4).await.ok();
        assert_eq!(until_status(&app, &request, "on_hold").await["hold_id"], placed["id"]);
        end(&app.approver(), &placed).await.ok();
        app.admin().until_end(request["id"].as_str().unwrap()).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_listed_and_auditors_see_no_identities() {
    for app in apps().await {
        let first = app.admin().post("/v1/holds", &hold(json!({ "user_id": 5 }))).await.ok();
        let mut second = app.admin().post("/v1/holds", &hold(json!({ "user_id": 6 }))).await.ok();
        assert_eq!(second.as_object_mut().unwrap().remove("subject_found"), Some(json!(true)));
        let ended = end(&app.approver(), &first).await.ok();
        let items =
            async |query: &str| app.approver().get(&format!("/v1/holds{query}")).await.ok()["items"].take();
        assert_eq!(items("").await, json!([second, ended]));
        assert_eq!(items("?active=true").await, json!([second]));
        assert_eq!(items("?active=false").await, json!([ended]));
        let page = app.admin().get("/v1/holds?limit=1").await.ok();
        let next = app
            .admin()
            .get(&format!("/v1/holds?limit=1&cursor={}", page["next_cursor"].as_str().unwrap()))
            .await;
        assert_eq!(next.ok()["items"], json!([ended]));
        let seen = app.auditor().get(&format!("/v1/holds/{}", second["id"].as_str().unwrap())).await.ok();
        assert_eq!((&seen["subject"], &seen["reason"]), (&Value::Null, &Value::Null));
        assert_eq!(seen["subject_refs"], second["subject_refs"]);

        let nobody = "/v1/holds/019a0000-0000-7000-8000-000000000000";
        app.admin().get(nobody).await.problem(404, "not_found");
        app.approver().call(Method::DELETE, nobody, None, &[]).await.problem(404, "not_found");
        for (member, value, pointer) in [
            ("ground", json!("spite"), "/ground"),
            ("reason", Value::Null, "/reason"),
            ("scope", json!("row"), "/scope"),
            ("scope", json!("table"), "/table"),
            ("table", json!("shop.users"), "/table"),
            ("expires_at", json!("2020-01-01T00:00:00Z"), "/expires_at"),
            ("more", json!(1), "/more"),
        ] {
            let mut body = hold(json!({ "user_id": 7 }));
            body[member] = value;
            let problem = app.admin().post("/v1/holds", &body).await.problem(422, "invalid_body");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
        let mut body = hold(json!({ "user_id": 7 }));
        body["scope"] = json!("table");
        body["table"] = json!("shop.nothing");
        let problem = app.admin().post("/v1/holds", &body).await.problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], "/table");
        app.admin().post("/v1/holds", &hold(json!({ "phone": 1 }))).await.problem(422, "unknown_identity");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_and_erasures_at_once_get_along() {
    for mut app in apps().await {
        app.work();
        let admin = app.admin();
        let people: Vec<u32> = (100..130).collect();
        let pairs = people.iter().map(|person| {
            let admin = admin.clone();
            async move {
                let body = hold(json!({ "user_id": person }));
                let (request, placed) = tokio::join!(admin.submit(*person), admin.post("/v1/holds", &body));
                (request.ok(), placed.ok())
            }
        });
        for (request, placed) in futures::future::join_all(pairs).await {
            let path = request["links"]["self"].as_str().unwrap();
            let is_decided = async || {
                let status = app.admin().get(path).await.ok()["status"].clone();
                status == "on_hold" || status == "completed"
            };
            eventually("held or done", is_decided).await;
            let seen = app.admin().get(path).await.ok();
            // Whichever won, the log says so.
            let held = events(&app, &request).await.contains(&"request.held".to_owned());
            assert_eq!(held, seen["status"] == "on_hold", "{seen}");
            end(&app.approver(), &placed).await.ok();
            let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
            assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &Value::Null));
        }
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_by_any_identity_finds_the_hold() {
    for app in apps().await {
        let placed = hold(json!({ "user_id": 1, "email": "USER1@example.com" }));
        app.admin().post("/v1/holds", &placed).await;
        for subject in [json!({ "user_id": 1 }), json!({ "email": "user1@EXAMPLE.com" })] {
            let person = json!({ "plan": "customer", "subject": subject });
            let found = app.auditor().post("/v1/audit/search", &person).await.ok();
            let events: Vec<&str> = found["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|event| event["event"].as_str())
                .collect();
            assert_eq!(events, ["hold.placed"], "{person}");
        }
    }
}
