//! The main job over HTTP: submitted, carried out, proven, on record.

use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, prelude::*, sql_query, sql_types::BigInt};
use serde_json::{Value, json};

use super::apps;
use crate::support::app::TestApp;

fn count(app: &TestApp, what: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let file = app.folder.path().join("shop.db");
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    sql_query(format!("SELECT count(*) AS n FROM {what}")).get_result::<Count>(&mut conn).unwrap().n
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_carried_out_and_proven() {
    for mut app in apps().await {
        app.work();
        let app = app;
        let admin = app.admin();
        let body =
            json!({ "kind": "erasure", "plan": "customer", "subject": { "email": "USER2@example.com" } });
        let id = admin.post("/v1/requests", &body).await.ok()["id"].as_str().unwrap().to_owned();
        let request = admin.until_end(&id).await;
        assert_eq!(
            (&request["status"], &request["outcome"], &request["error"]),
            (&json!("completed"), &json!("done_with_exceptions"), &Value::Null),
            "{request}"
        );
        assert_eq!(
            request["progress"],
            json!({ "steps_total": 3, "steps_done": 3, "rows_matched": 3, "rows_affected": 2, "percent": 100 })
        );
        steps_are_told(&request);
        let refs = request["subject_refs"].as_array().unwrap();
        assert_eq!(refs.len(), 2, "every identity of the person is known now");
        assert!(refs.iter().any(|known| known["ref"] == request["subject_ref"]));
        assert_eq!((count(&app, "users WHERE id = 2"), count(&app, "users")), (0, 699));
        assert_eq!((count(&app, "comments"), count(&app, "orders")), (699, 700));
        is_on_record(&app).await;
    }
}

fn steps_are_told(request: &Value) {
    let step = |name: &str| {
        let steps = request["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {request}"))
    };
    assert_eq!(
        (
            &step("shop.orders")["status"],
            &step("shop.orders")["rows_withheld"],
            &step("shop.orders")["basis"]
        ),
        (&json!("withheld"), &json!(1), &json!("invoices"))
    );
    for name in ["shop.comments", "shop.users"] {
        assert_eq!((&step(name)["status"], &step(name)["rows_remaining"]), (&json!("completed"), &json!(0)));
    }
}

async fn is_on_record(app: &TestApp) {
    let auditor = app.auditor();
    let by_number = json!({ "plan": "customer", "subject": { "user_id": 2 } });
    let events = auditor.post("/v1/audit/search?limit=500", &by_number).await.ok();
    let names: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    for name in
        ["request.created", "request.started", "subject.resolved", "step.withheld", "request.completed"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!events.to_string().to_lowercase().contains("user2@"), "no identity in the log");
    assert_eq!(auditor.get("/v1/audit/verify").await.ok()["ok"], true);
    let metrics = app.nobody().get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "rightful_rows_affected_total 2"), "{metrics}");
    assert_eq!(app.nobody().get("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_found_and_nothing_is_touched() {
    for mut app in apps().await {
        app.work();
        let app = app;
        let id = app.admin().submit(4_000).await.ok()["id"].as_str().unwrap().to_owned();
        let request = app.admin().until_end(&id).await;
        assert_eq!(
            (&request["status"], &request["outcome"]),
            (&json!("completed"), &json!("no_match")),
            "{request}"
        );
        assert_eq!((count(&app, "users"), count(&app, "comments"), count(&app, "orders")), (700, 700, 700));
    }
}
