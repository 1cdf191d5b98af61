//! Approval and denial: four eyes on a request, and exactly one decision.

use rightful::domain::request::Kind;
use serde_json::{Value, json};

use super::apps;
use crate::support::{
    app::{CUSTOMER, Setup, TestApp},
    stores::stores,
};

async fn careful_apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        apps.push(TestApp::with(store, Setup { approval: Kind::ALL.to_vec(), ..Setup::default() }).await);
    }
    apps
}

fn path(request: &Value, action: &str) -> String {
    format!("{}/{action}", request["links"]["self"].as_str().unwrap())
}

/// An approval of what the preview shows now.
async fn approval(app: &TestApp, request: &Value) -> Value {
    let body = json!({ "kind": "erasure", "subject": request["subject"] });
    let preview = app.admin().post("/v1/plans/customer/preview", &body).await.ok();
    json!({ "plan_version": preview["plan_version"] })
}

async fn events(app: &TestApp, request: &Value) -> Vec<Value> {
    let items = app.admin().get(&path(request, "events?limit=500")).await.ok()["items"].take();
    items.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_until_somebody_else_approves_what_a_preview_showed() {
    for mut app in careful_apps().await {
        app.work();
        let request = app.admin().submit(1).await.ok();
        assert_eq!((&request["status"], &request["started_at"]), (&json!("pending"), &Value::Null));
        let approval = approval(&app, &request).await;

        let own = app.user("alice", &["admin", "approver"]);
        own.post(&path(&request, "approve"), &approval).await.problem(403, "forbidden");
        app.admin().post(&path(&request, "approve"), &approval).await.problem(403, "forbidden");
        for body in [json!({}), json!({ "plan_version": "" }), json!({ "plan_version": "x", "more": 1 })] {
            app.approver().post(&path(&request, "approve"), &body).await.problem(422, "invalid_body");
        }
        let digits = json!({ "plan_version": "0123456789abcdef" });
        let unlike = app.approver().post(&path(&request, "approve"), &digits).await;
        assert_eq!(unlike.problem(422, "invalid_body")["errors"][0]["pointer"], "/plan_version");
        let other = json!({ "plan_version": "sha256:0" });
        app.approver().post(&path(&request, "approve"), &other).await.problem(409, "invalid_state");
        assert_eq!(
            app.admin().get(request["links"]["self"].as_str().unwrap()).await.ok()["status"],
            "pending"
        );

        let mut noted = approval.clone();
        noted["note"] = json!("seen by Arno");
        let approved = app.approver().post(&path(&request, "approve"), &noted).await.ok();
        assert_ne!(approved["status"], "pending");
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!(done["outcome"], "done_with_exceptions");
        app.approver().post(&path(&request, "approve"), &approval).await.problem(409, "invalid_state");

        let events = events(&app, &request).await;
        assert_eq!(
            (&events[0]["event"], &events[1]["event"]),
            (&json!("request.created"), &json!("request.approved"))
        );
        assert_eq!(events[1]["actor"], "arno");
        assert_eq!(
            events[1]["details"],
            json!({ "plan_version": approval["plan_version"], "note_given": true })
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_ends_a_request_unserved_and_its_text_is_sealed() {
    for mut app in careful_apps().await {
        app.work();
        let request = app.admin().submit(2).await.ok();
        let deny = path(&request, "deny");
        for body in [json!({}), json!({ "reason": "dislike" }), json!({ "reason": null, "text": "x" })] {
            app.approver().post(&deny, &body).await.problem(422, "invalid_body");
        }
        let body = json!({ "reason": "identity_not_verified", "text": "Jane could not name her last order" });
        let denied = app.approver().post(&deny, &body).await.ok();
        assert_eq!((&denied["status"], &denied["outcome"]), (&json!("denied"), &json!("nothing_done")));
        assert_eq!(denied["denial"], body);
        assert!(!denied["finished_at"].is_null());
        app.approver().post(&deny, &body).await.problem(409, "invalid_state");
        let approval = approval(&app, &request).await;
        app.approver().post(&path(&request, "approve"), &approval).await.problem(409, "invalid_state");
        app.admin().post(&path(&request, "cancel"), &json!({})).await.problem(409, "invalid_state");
        app.admin().post(&path(&request, "retry"), &json!({})).await.problem(409, "invalid_state");

        let seen = app.auditor().get(denied["links"]["self"].as_str().unwrap()).await.ok();
        assert_eq!(seen["denial"], json!({ "reason": "identity_not_verified", "text": null }));
        let events = events(&app, &request).await;
        let last = events.last().unwrap();
        assert_eq!((&last["event"], &last["actor"]), (&json!("request.denied"), &json!("arno")));
        let mut details = last["details"].clone();
        assert!(details.as_object_mut().unwrap().remove("statement").is_some(), "{last}");
        let told =
            json!({ "reason": "identity_not_verified", "text_given": true, "outcome": "nothing_done" });
        assert_eq!(details, told);
        assert_eq!(events.len(), 2, "no worker ever had it");
        // The person may ask again.
        assert_eq!(app.admin().submit(2).await.status, 202);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_decisions_at_once_one_wins_and_the_audit_shows_which() {
    for app in careful_apps().await {
        for person in 10..20 {
            let request = app.admin().submit(person).await.ok();
            let approval = approval(&app, &request).await;
            let denial = json!({ "reason": "excessive" });
            let (arno, anna) = (app.approver(), app.user("anna", &["approver"]));
            let (approve, deny, cancel) =
                (path(&request, "approve"), path(&request, "deny"), path(&request, "cancel"));
            let (nothing, admin) = (json!({}), app.admin());
            let (first, second, third, fourth) = tokio::join!(
                arno.post(&approve, &approval),
                anna.post(&approve, &approval),
                anna.post(&deny, &denial),
                admin.post(&cancel, &nothing),
            );
            let status =
                app.admin().get(request["links"]["self"].as_str().unwrap()).await.ok()["status"].clone();
            let names: Vec<String> = events(&app, &request)
                .await
                .iter()
                .map(|event| event["event"].as_str().unwrap().to_owned())
                .collect();
            // An approved request may be cancelled afterwards; everything else excludes each other.
            let won: Vec<&str> =
                [(&first, "approved"), (&second, "approved"), (&third, "denied"), (&fourth, "cancelled")]
                    .into_iter()
                    .filter(|(reply, _)| reply.status.is_success())
                    .map(|(_, word)| word)
                    .collect();
            for reply in [&first, &second, &third, &fourth] {
                if !reply.status.is_success() {
                    reply.problem(409, "invalid_state");
                }
            }
            assert!(
                matches!(won[..], ["approved"] | ["denied"] | ["cancelled"] | ["approved", "cancelled"]),
                "{won:?}"
            );
            assert_eq!(status, won[won.len() - 1], "{won:?}");
            let decided: Vec<&str> =
                names[1..].iter().map(|name| name.strip_prefix("request.").unwrap()).collect();
            assert_eq!(decided, won);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_approver_saw_is_what_is_carried_out() {
    for mut app in careful_apps().await {
        let request = app.admin().submit(3).await.ok();
        let before = approval(&app, &request).await;
        assert_eq!(before["plan_version"], request["plan"]["version"]);
        app.change_plan(&CUSTOMER.replace("{ keep: invoices }", "delete")).await;
        let refused = app.approver().post(&path(&request, "approve"), &before).await;
        let detail = refused.problem(409, "invalid_state")["detail"].as_str().unwrap().to_owned();
        let after = approval(&app, &request).await;
        assert!(detail.contains(after["plan_version"].as_str().unwrap()), "{detail}");

        app.work();
        app.approver().post(&path(&request, "approve"), &after).await.ok();
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!((&done["plan"]["version"], &done["outcome"]), (&after["plan_version"], &json!("done")));
        let events = events(&app, &request).await;
        assert_eq!(
            events[1]["details"],
            json!({
                "plan_version": after["plan_version"], "from_plan_version": before["plan_version"],
                "note_given": false,
            })
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_approval_there_is_nothing_to_decide_on() {
    for app in apps().await {
        let request = app.admin().submit(4).await.ok();
        assert_eq!(request["status"], "approved");
        let approval = approval(&app, &request).await;
        app.approver().post(&path(&request, "approve"), &approval).await.problem(409, "invalid_state");
        let denial = json!({ "reason": "other" });
        app.approver().post(&path(&request, "deny"), &denial).await.problem(409, "invalid_state");
        let nobody = "/v1/requests/019a0000-0000-7000-8000-000000000000";
        app.approver().post(&format!("{nobody}/approve"), &approval).await.problem(404, "not_found");
        app.approver().post(&format!("{nobody}/deny"), &denial).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_the_plan_is_approved_anew() {
    for mut app in careful_apps().await {
        app.work();
        // An identity in another case than the row's, where the plan does not ignore it: ambiguous.
        app.change_plan(&CUSTOMER.replace(", ignore_case: true", "")).await;
        let body =
            json!({ "kind": "erasure", "plan": "customer", "subject": { "email": "USER5@example.com" } });
        let request = app.admin().post("/v1/requests", &body).await.ok();
        let first = approval(&app, &request).await;
        app.approver().post(&path(&request, "approve"), &first).await.ok();
        let id = request["id"].as_str().unwrap();
        let failed = app.admin().until_end(id).await;
        assert_eq!(
            (&failed["status"], &failed["error"]["code"]),
            (&json!("failed"), &json!("subject_ambiguous"))
        );

        // Under the same version it was approved already.
        let retried = app.admin().post(&path(&request, "retry"), &json!({})).await.ok();
        assert_ne!(retried["status"], "pending");
        app.admin().until_end(id).await;

        app.change_plan(CUSTOMER).await;
        let retried = app.admin().post(&path(&request, "retry"), &json!({})).await.ok();
        assert_eq!(retried["status"], "pending");
        let second = approval(&app, &request).await;
        assert_ne!(first, second);
        app.approver().post(&path(&request, "approve"), &first).await.problem(409, "invalid_state");
        app.approver().post(&path(&request, "approve"), &second).await.ok();
        let done = app.admin().until_end(id).await;
        assert_eq!(
            (&done["status"], &done["plan"]["version"]),
            (&json!("completed"), &second["plan_version"])
        );
        app.stop().await;
    }
}
