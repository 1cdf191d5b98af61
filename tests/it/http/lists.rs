//! `GET /v1/requests`: filters and pages.

use serde_json::{Value, json};

use super::{app, apps};
use crate::support::app::{TestApp, User};

async fn ids(user: &User<'_>, query: &str) -> Vec<String> {
    let page = user.get(&format!("/v1/requests?{query}")).await.ok();
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn submit(app: &TestApp, number: u32, more: Value) -> String {
    let mut body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": number } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.admin().post("/v1/requests", &body).await.ok()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_the_list() {
    for app in apps().await {
        let old = submit(&app, 1, json!({ "submitted_at": "2020-01-01T00:00:00Z" })).await;
        let named = submit(&app, 2, json!({ "external_id": "ZD-1" })).await;
        let gone = submit(&app, 3, json!({})).await;
        app.admin().post(&format!("/v1/requests/{gone}/cancel"), &json!({})).await.ok();
        let admin = app.admin();
        let all = vec![gone.clone(), named.clone(), old.clone()];
        for (query, expected) in [
            ("", all.clone()),
            ("status=approved", vec![named.clone(), old.clone()]),
            ("status=cancelled,paused", vec![gone.clone()]),
            ("outcome=nothing_done", vec![gone.clone()]),
            ("kind=erasure&plan=customer", all.clone()),
            ("plan=other", vec![]),
            ("external_id=ZD-1", vec![named.clone()]),
            ("overdue=true", vec![old.clone()]),
            ("overdue=false", vec![gone.clone(), named.clone()]),
            ("due_before=2020-02-01T00:00:00.000001Z", vec![old.clone()]),
            ("due_before=2020-02-01T01:00:00%2B01:00", vec![]),
            ("sort=due_at&status=approved", vec![old.clone(), named.clone()]),
            ("sort=-created_at", all.clone()),
        ] {
            assert_eq!(ids(&admin, query).await, expected, "{query}");
        }
        let item = admin.get("/v1/requests?limit=1").await.ok()["items"][0].clone();
        assert!(item.get("steps").is_none() && item["progress"]["steps_total"] == 3, "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_filter_is_refused() {
    let app = app().await;
    for (query, pointer) in [
        ("status=done", "/status"),
        ("status=", "/status"),
        ("kind=deletion", "/kind"),
        ("outcome=x", "/outcome"),
        ("overdue=yes", "/overdue"),
        ("due_before=tomorrow", "/due_before"),
        ("sort=created_at", "/sort"),
        ("limit=0", "/limit"),
        ("limit=501", "/limit"),
        ("limit=ten", "/limit"),
        ("cursor=abc", "/cursor"),
        ("cursor=", "/cursor"),
        ("statuss=failed", "/statuss"),
        ("plan=a&plan=b", "/plan"),
        ("external_id=%00", "/external_id"),
    ] {
        let problem = app.admin().get(&format!("/v1/requests?{query}")).await.problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_request_once_whatever_comes_in_between() {
    for app in apps().await {
        let mut expected = Vec::new();
        for number in 1..=7 {
            expected.insert(0, submit(&app, number, json!({ "submitted_at": "2026-01-01T00:00:00Z" })).await);
        }
        let admin = app.admin();
        for (sort, expected) in
            [("-created_at", expected.clone()), ("due_at", expected.iter().rev().cloned().collect())]
        {
            let mut seen = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = admin.get(&format!("/v1/requests?limit=3&sort={sort}{cursor}")).await.ok();
                let items = page["items"].as_array().unwrap();
                seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
                if sort == "-created_at" {
                    submit(&app, 100 + u32::try_from(seen.len()).unwrap(), json!({})).await;
                }
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            seen.truncate(expected.len());
            assert_eq!(seen, expected, "{sort}");
        }
        let last = admin.get("/v1/requests?limit=500").await.ok();
        assert_eq!(last["next_cursor"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_its_list() {
    let app = app().await;
    for number in 1..=3 {
        submit(&app, number, json!({})).await;
    }
    let admin = app.admin();
    let page = admin.get("/v1/requests?limit=1").await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&admin, &format!("limit=2&cursor={cursor}")).await.len(), 2, "the limit may change");
    for query in [
        format!("status=approved&cursor={cursor}"),
        format!("sort=due_at&cursor={cursor}"),
        format!("cursor={}", cursor.replace(|c: char| c.is_ascii_lowercase(), "x")),
        format!("cursor={}", &cursor[..cursor.len() - 2]),
    ] {
        admin.get(&format!("/v1/requests?{query}")).await.problem(422, "invalid_body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_requests_are_found_without_an_identity_in_a_url() {
    for app in apps().await {
        let first = submit(&app, 1, json!({})).await;
        app.admin().post(&format!("/v1/requests/{first}/cancel"), &json!({})).await.ok();
        let second = submit(&app, 1, json!({})).await;
        let others = app.service_account("crm").submit(2).await.ok()["id"].clone();
        let found = async |user: User<'_>, subject: Value, query: &str| {
            let body = json!({ "plan": "customer", "subject": subject });
            user.post(&format!("/v1/requests/search{query}"), &body).await.ok()
        };
        let ids_of = |page: &Value| {
            let items = page["items"].as_array().unwrap();
            items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let page = found(app.admin(), json!({ "user_id": 1 }), "").await;
        assert_eq!(ids_of(&page), [second.clone(), first.clone()]);
        assert_eq!(page["items"][0]["subject"], json!({ "user_id": 1 }));
        let page = found(app.admin(), json!({ "user_id": 1 }), "?limit=1").await;
        assert_eq!(ids_of(&page), [second]);
        let cursor = format!("?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
        assert_eq!(ids_of(&found(app.admin(), json!({ "user_id": 1 }), &cursor).await), [first]);
        assert_eq!(
            found(app.auditor(), json!({ "user_id": 2 }), "").await["items"][0]["subject"],
            Value::Null
        );
        // A service finds its own only.
        assert_eq!(found(app.service_account("crm"), json!({ "user_id": 1 }), "").await["items"], json!([]));
        let own = found(app.service_account("crm"), json!({ "user_id": 2 }), "").await;
        assert_eq!(ids_of(&own), [others.as_str().unwrap()]);
        assert_eq!(found(app.admin(), json!({ "user_id": 3 }), "").await["items"], json!([]));

        for (body, code) in [
            (json!({ "plan": "customer", "subject": { "phone": 1 } }), "unknown_identity"),
            (json!({ "plan": "nobody", "subject": { "user_id": 1 } }), "unknown_plan"),
            (json!({ "plan": "customer" }), "invalid_body"),
        ] {
            app.admin().post("/v1/requests/search", &body).await.problem(422, code);
        }
        app.admin().get("/v1/requests/search").await.problem(405, "method_not_allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_counts_what_the_reader_may_see() {
    for app in apps().await {
        submit(&app, 1, json!({ "submitted_at": "2020-01-01T00:00:00Z" })).await;
        let gone = submit(&app, 2, json!({})).await;
        app.admin().post(&format!("/v1/requests/{gone}/cancel"), &json!({})).await.ok();
        app.service_account("crm").submit(3).await.ok();
        let zeros = json!({
            "pending": 0, "approved": 0, "in_progress": 0, "paused": 0, "on_hold": 0, "completed": 0, "failed": 0, "denied": 0,
            "cancelled": 0,
        });
        for (user, approved, cancelled, overdue) in [
            (app.admin(), 2, 1, 1),
            (app.approver(), 2, 1, 1),
            (app.auditor(), 2, 1, 1),
            (app.service_account("crm"), 1, 0, 0),
            (app.service_account("shop"), 0, 0, 0),
        ] {
            let mut by_status = zeros.clone();
            by_status["approved"] = json!(approved);
            by_status["cancelled"] = json!(cancelled);
            assert_eq!(
                user.get("/v1/requests/summary").await.ok(),
                json!({ "by_status": by_status, "due_in_7_days": 0, "overdue": overdue })
            );
        }
    }
}
