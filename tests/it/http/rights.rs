//! The table of roles, and what each role sees.

use serde_json::{Value, json};

use super::{app, apps};
use crate::support::app::{Reply, TestApp, User};

/// Every operation, and whether admin, approver, auditor and service may use it.
const TABLE: [(&str, &str, [bool; 4]); 55] = [
    ("POST", "/v1/requests", [true, false, false, true]),
    ("GET", "/v1/requests", [true, true, true, true]),
    ("GET", "/v1/requests/{id}", [true, true, true, true]),
    ("GET", "/v1/requests/{id}/events", [true, true, true, true]),
    ("GET", "/v1/requests/summary", [true, true, true, true]),
    ("POST", "/v1/requests/search", [true, true, true, true]),
    ("GET", "/v1/requests/{id}/answer", [true, true, false, false]),
    ("GET", "/v1/requests/{id}/certificate", [true, true, true, true]),
    ("GET", "/v1/requests/{id}/export", [true, false, false, true]),
    ("POST", "/v1/requests/{id}/export/link", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/approve", [false, true, false, false]),
    ("POST", "/v1/requests/{id}/deny", [false, true, false, false]),
    ("POST", "/v1/requests/{id}/identity_check", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/extend", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/answered", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/cancel", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/retry", [true, false, false, false]),
    ("POST", "/v1/requests/{id}/steps/paper_file/complete", [true, false, false, false]),
    ("GET", "/v1/plans", [true, true, true, false]),
    ("GET", "/v1/plans/customer", [true, true, true, false]),
    ("GET", "/v1/plans/customer/versions/x", [true, true, true, false]),
    ("POST", "/v1/plans/customer/preview", [true, false, false, false]),
    ("POST", "/v1/holds", [true, false, false, false]),
    ("GET", "/v1/holds", [true, true, true, false]),
    ("GET", "/v1/holds/{id}", [true, true, true, false]),
    ("DELETE", "/v1/holds/{id}", [false, true, false, false]),
    ("POST", "/v1/consents", [true, false, false, true]),
    ("GET", "/v1/consents", [true, true, true, true]),
    ("GET", "/v1/consents/current", [true, true, true, true]),
    ("POST", "/v1/consents/search", [true, true, true, true]),
    ("GET", "/v1/webhooks", [true, false, false, false]),
    ("POST", "/v1/webhooks/{id}/redeliver", [true, false, false, false]),
    ("GET", "/v1/backups", [true, false, true, false]),
    ("GET", "/v1/backups/{name}", [true, false, true, false]),
    ("POST", "/v1/backups/{name}/verify", [true, false, false, false]),
    ("GET", "/v1/retention", [true, true, true, false]),
    ("POST", "/v1/retention/{name}/preview", [true, false, false, false]),
    ("POST", "/v1/retention/{name}/run", [true, false, false, false]),
    ("POST", "/v1/replays", [true, false, false, false]),
    ("POST", "/v1/replays/preview", [true, false, false, false]),
    ("GET", "/v1/replays/{id}", [true, true, true, false]),
    ("GET", "/v1/schedules", [true, true, true, false]),
    ("POST", "/v1/schedules/{name}/run", [true, false, false, false]),
    ("GET", "/v1/runs", [true, true, true, false]),
    ("GET", "/v1/runs/{id}", [true, true, true, false]),
    ("POST", "/v1/runs/{id}/approve", [false, true, false, false]),
    ("POST", "/v1/runs/{id}/deny", [false, true, false, false]),
    ("POST", "/v1/runs/{id}/cancel", [true, false, false, false]),
    ("POST", "/v1/runs/{id}/retry", [true, false, false, false]),
    ("GET", "/v1/audit", [false, false, true, false]),
    ("POST", "/v1/audit/search", [false, false, true, false]),
    ("GET", "/v1/audit/export", [false, false, true, false]),
    ("GET", "/v1/audit/verify", [false, false, true, false]),
    ("GET", "/v1/audit/summary", [true, false, true, false]),
    ("GET", "/v1/audit/checkpoint", [true, false, true, false]),
];

async fn call(user: &User<'_>, method: &str, path: &str) -> Reply {
    let path = path.replace("{id}", "019a0000-0000-7000-8000-000000000000");
    match method {
        "GET" => user.get(&path).await,
        "DELETE" => user.call(reqwest::Method::DELETE, &path, None, &[]).await,
        _ => user.post(&path, &json!({ "no": "such member" })).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_its_roles() {
    let app = app().await;
    let users = [app.admin(), app.approver(), app.auditor(), app.service_account("crm")];
    for (method, path, allowed) in TABLE {
        call(&app.nobody(), method, path).await.problem(401, "unauthenticated");
        let stranger = app.user("eve", &["owner", "ADMIN"]);
        call(&stranger, method, path).await.problem(403, "forbidden");
        for (user, allowed) in users.iter().zip(allowed) {
            let reply = call(user, method, path).await;
            assert_eq!(reply.status != 403, allowed, "{method} {path}: {reply:?}");
            if !allowed {
                reply.problem(403, "forbidden");
                assert!(reply.header("www-authenticate").contains("insufficient_scope"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_this_test_is_complete() {
    let mut routes: Vec<String> = rightful::http::routes::table()
        .iter()
        .filter(|route| route.path.starts_with("/v1/"))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let mut tested: Vec<String> = TABLE
        .iter()
        .map(|(method, path, _)| {
            let path = path.replace("/customer", "/{plan}").replace("/versions/x", "/versions/{version}");
            let path = path.replace("/paper_file", "/{name}");
            format!("{method} {path}")
        })
        .collect();
    routes.sort();
    tested.sort();
    assert_eq!(routes, tested);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_roles_add_up() {
    let app = app().await;
    let both = app.user("bob", &["auditor", "service"]);
    let own = both.submit(1).await.ok();
    assert_eq!(own["subject"]["user_id"], 1, "its own, as a service");
    let others = app.admin().submit(2).await.ok();
    let seen = both.get(others["links"]["self"].as_str().unwrap()).await.ok();
    assert_eq!(seen["subject"], Value::Null, "another's, as an auditor");
    assert_eq!(both.get("/v1/audit").await.status, 200);
}

async fn submitted(app: &TestApp) -> [Value; 2] {
    let body = |number: u32| json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": number }, "reason": "asked by phone" });
    let crm = app.service_account("crm").post("/v1/requests", &body(1)).await.ok();
    let admin = app.admin().post("/v1/requests", &body(2)).await.ok();
    [crm, admin]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sees_its_own_requests_only() {
    for app in apps().await {
        let [own, others] = submitted(&app).await;
        let (crm, shop) = (app.service_account("crm"), app.service_account("shop"));
        let path =
            |request: &Value, more: &str| format!("{}{more}", request["links"]["self"].as_str().unwrap());
        assert_eq!(crm.get(&path(&own, "")).await.ok()["subject"]["user_id"], 1);
        assert_eq!(crm.get(&path(&own, "/events")).await.ok()["items"][0]["event"], "request.created");
        for more in ["", "/events"] {
            crm.get(&path(&others, more)).await.problem(404, "not_found");
            shop.get(&path(&own, more)).await.problem(404, "not_found");
        }
        let list = crm.get("/v1/requests").await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        assert_eq!(list["items"][0]["id"], own["id"]);
        assert_eq!(shop.get("/v1/requests").await.ok()["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_see_no_identities() {
    for app in apps().await {
        let [_, request] = submitted(&app).await;
        let path = request["links"]["self"].as_str().unwrap();
        for (user, seen) in [(app.admin(), true), (app.approver(), true), (app.auditor(), false)] {
            let list = user.get("/v1/requests").await.ok();
            for shown in [&user.get(path).await.ok(), &list["items"][0]] {
                let shown = shown.as_object().unwrap();
                assert_eq!(shown["subject"] == json!({ "user_id": 2 }), seen);
                assert_eq!(shown["reason"] == json!("asked by phone"), seen);
                assert!(
                    seen || (shown["subject"].is_null() && shown["reason"].is_null()),
                    "null, not absent"
                );
                assert_eq!(shown["subject_refs"][0]["identity"], "user_id");
            }
        }
    }
}
