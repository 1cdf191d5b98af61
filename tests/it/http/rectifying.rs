//! Rectification as a client sees it: what is refused where, who sees the values, duplicates, approval, previews.

use rightful::domain::request::Kind;
use serde_json::{Value, json};

use crate::support::{
    app::{Setup, TestApp, eventually},
    stores::stores,
};

const PATH: &str = "/v1/requests";

/// Users may correct their address, and comments go along.
const PLAN: &str = "
plan: customer
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
connections:
  shop:
    users: { erase: delete, rectify: [email], cascade: true }
    orders: { match: { user_id: users.id }, erase: { keep: invoices } }
    comments: { match: { email: users.email }, erase: delete, shared: true }
";

async fn apps(approval: &[Kind]) -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        let app = TestApp::with(store, Setup { approval: approval.to_vec(), ..Setup::default() }).await;
        app.change_plan(PLAN).await;
        apps.push(app);
    }
    apps
}

fn body(kind: &str, email: &str) -> Value {
    json!({
        "kind": kind, "plan": "customer", "subject": { "user_id": 7 },
        "changes": { "shop.users": { "email": email } },
    })
}

fn link(request: &Value) -> &str {
    request["links"]["self"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_carried_out_and_its_values_are_shown_to_those_who_may_see_them() {
    for mut app in apps(&[]).await {
        let request = app.admin().post(PATH, &body("rectify", "seven@example.net")).await.ok();
        assert_eq!(request["kind"], "rectification");
        assert_eq!(request["changes"], json!({ "shop.users": { "email": "seven@example.net" } }));
        assert_eq!(app.auditor().get(link(&request)).await.ok()["changes"], Value::Null);
        app.work();
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!(
            (&done["outcome"], &done["progress"]["rows_affected"]),
            (&json!("done"), &json!(2)),
            "{done}"
        );
        let events = app.auditor().get(&format!("{}/events", link(&request))).await;
        assert!(!events.text.contains("example.net"), "{}", events.text);
        let batch =
            events.ok()["items"].as_array().unwrap().iter().find(|e| e["event"] == "step.batch").cloned();
        assert_eq!(batch.unwrap()["details"]["columns"], json!(["email"]));
        // By the new address and by the old one.
        for email in ["seven@example.net", "user7@example.com"] {
            let person = json!({ "plan": "customer", "subject": { "email": email } });
            let found = app.auditor().post("/v1/audit/search", &person).await.ok();
            let items = found["items"].as_array().unwrap();
            assert!(items.iter().any(|event| event["request_id"] == request["id"]), "{email}: {found}");
        }
        let answer = app.admin().get(&format!("{}/answer", link(&request))).await.ok();
        let text = answer["text"].as_str().unwrap();
        for part in ["corrected (Article 16 GDPR", "1 record corrected as you asked", "(Article 19 GDPR)"] {
            assert!(text.contains(part), "{text}");
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_changes_are_told_with_their_place() {
    let app = apps(&[]).await.remove(0);
    let with = |changes: Value| {
        let mut body = body("rectification", "x");
        body["changes"] = changes;
        body
    };
    for (changes, code, place) in [
        (Value::Null, "invalid_body", "/changes"),
        (json!([]), "invalid_body", "/changes"),
        (json!({}), "invalid_changes", "/changes"),
        (json!({ "shop.orders": { "id": 1 } }), "invalid_changes", "/changes/shop.orders"),
        (json!({ "shop.users": { "id": 1 } }), "invalid_changes", "/changes/shop.users/id"),
        (json!({ "shop.users": { "email": 7 } }), "invalid_changes", "/changes/shop.users/email"),
        (json!({ "shop.users": { "email": "" } }), "invalid_changes", "/changes/shop.users/email"),
    ] {
        let problem = app.admin().post(PATH, &with(changes.clone())).await.problem(422, code);
        assert_eq!(problem["errors"][0]["pointer"], place, "{changes}");
    }
    assert_eq!(app.admin().get(PATH).await.ok()["items"], json!([]), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_changes_are_no_duplicate() {
    for app in apps(&[]).await {
        let admin = app.admin();
        let first = admin.post(PATH, &body("rectification", "a@example.net")).await.ok();
        let again =
            admin.post(PATH, &body("rectify", "a@example.net")).await.problem(409, "duplicate_request");
        assert_eq!(again["request_id"], first["id"]);
        assert_eq!(admin.post(PATH, &body("rectification", "b@example.net")).await.status, 202);
        assert_eq!(admin.submit(7).await.status, 202, "nor is an erasure");
        admin.post(&format!("{}/cancel", link(&first)), &json!({})).await.ok();
        assert_eq!(admin.post(PATH, &body("rectification", "a@example.net")).await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_sees_what_is_to_change_and_lets_it_go() {
    for mut app in apps(&[Kind::Rectification]).await {
        app.work();
        let request = app.admin().post(PATH, &body("rectification", "seven@example.net")).await.ok();
        assert_eq!(request["status"], "pending");
        assert_eq!(app.approver().get(link(&request)).await.ok()["changes"], request["changes"]);
        // A plan that no longer lets it be corrected cannot be approved.
        let preview = json!({ "kind": "rectification", "subject": request["subject"] });
        app.change_plan(&PLAN.replace(", rectify: [email], cascade: true", "")).await;
        let shown = app.admin().post("/v1/plans/customer/preview", &preview).await.ok();
        let approval = json!({ "plan_version": shown["plan_version"] });
        let path = format!("{}/approve", link(&request));
        app.approver().post(&path, &approval).await.problem(409, "invalid_state");
        app.change_plan(PLAN).await;
        let shown = app.admin().post("/v1/plans/customer/preview", &preview).await.ok();
        let approval = json!({ "plan_version": shown["plan_version"] });
        app.approver().post(&path, &approval).await.ok();
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!(done["outcome"], "done", "{done}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_counts_what_would_change() {
    let app = apps(&[]).await.remove(0);
    let plan = app.admin().get("/v1/plans/customer").await.ok();
    let names: Vec<&str> = plan["steps"]["rectification"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["shop.comments", "shop.users"]);
    let path = "/v1/plans/customer/preview";
    let mut asked = json!({ "kind": "rectification", "subject": { "user_id": 7 } });
    let matched = |preview: Value| -> Vec<Value> {
        preview["steps"].as_array().unwrap().iter().map(|step| step["matched"].clone()).collect()
    };
    assert_eq!(matched(app.admin().post(path, &asked).await.ok()), [json!(1), json!(1)]);
    asked["changes"] = json!({ "shop.users": { "email": "user7@example.com" } });
    assert_eq!(matched(app.admin().post(path, &asked).await.ok()), [json!(0), json!(0)], "it is so already");
    asked["changes"] = json!({ "shop.users": { "id": 8 } });
    app.admin().post(path, &asked).await.problem(422, "invalid_changes");
    asked["kind"] = json!("erasure");
    app.admin().post(path, &asked).await.problem(422, "invalid_body");
}

/// The person is held, not the address that they had: no correction leads around a hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_follows_the_person_to_a_new_address() {
    for mut app in apps(&[]).await {
        let held = |subject: Value| json!({ "plan": "customer", "subject": subject, "ground": "legal_claims", "reason": "sued us" });
        // One is known by one identity alone, as nobody is found by it when it is placed.
        app.admin().post("/v1/holds", &held(json!({ "email": "eight@example.net" }))).await.ok();
        app.admin().post("/v1/holds", &held(json!({ "email": "user7@example.com" }))).await.ok();
        app.work();
        for (user, addresses) in
            [(7, vec!["seven@example.net"]), (8, vec!["eight@example.net", "8@b.example"])]
        {
            for address in addresses {
                let mut body = body("rectification", address);
                body["subject"] = json!({ "user_id": user });
                let request = app.admin().post(PATH, &body).await.ok();
                assert_eq!(app.admin().until_end(request["id"].as_str().unwrap()).await["outcome"], "done");
            }
        }
        for subject in [json!({ "email": "seven@example.net" }), json!({ "email": "8@b.example" })] {
            let body = json!({ "kind": "erasure", "plan": "customer", "subject": subject });
            let request = app.admin().post(PATH, &body).await.ok();
            eventually("on_hold", async || {
                let now = app.admin().get(link(&request)).await.ok();
                assert_ne!(now["status"], "completed", "{now}");
                now["status"] == "on_hold"
            })
            .await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_correction_of_a_person_wins() {
    for mut app in apps(&[]).await {
        let mut last = Vec::new();
        for user in 20..30 {
            for address in ["a", "b", "c"] {
                let mut body = body("rectification", &format!("{address}{user}@example.net"));
                body["subject"] = json!({ "user_id": user });
                last.push(app.admin().post(PATH, &body).await.ok());
            }
        }
        app.work();
        for request in &last {
            assert_eq!(app.admin().until_end(request["id"].as_str().unwrap()).await["outcome"], "done");
        }
        for user in 20..30 {
            let subject = json!({ "email": format!("c{user}@example.net") });
            let asked = json!({ "kind": "erasure", "subject": subject });
            let preview = app.admin().post("/v1/plans/customer/preview", &asked).await.ok();
            let users = preview["steps"].as_array().unwrap().iter().find(|step| step["name"] == "shop.users");
            assert_eq!(users.unwrap()["matched"], 1, "{user}: {preview}");
        }
        app.stop().await;
    }
}
