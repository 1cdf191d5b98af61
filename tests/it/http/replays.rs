//! Replays over HTTP: what one would do, its run and requests, four eyes, and the same call twice.

use rightful::{
    domain::{request::Kind, run::TaskKind},
    service::runs::Upkeep,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    app::{Setup, TestApp, eventually},
    stores::stores,
};

async fn apps(approval: &[TaskKind], of_requests: &[Kind]) -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        let upkeep = Upkeep { approval: approval.to_vec(), ..Upkeep::default() };
        let setup = Setup { upkeep, approval: of_requests.to_vec(), ..Setup::default() };
        let mut app = TestApp::with(store, setup).await;
        app.work();
        apps.push(app);
    }
    apps
}

async fn look(app: &TestApp, run: &Value) -> Value {
    let (_stop, stopped) = watch::channel(false);
    let id = run["id"].as_str().unwrap().parse().unwrap();
    rightful::service::runs::worker::run_one(&app.service, id, "worker:test", stopped).await.unwrap();
    app.admin().get(&format!("/v1/runs/{id}")).await.ok()
}

async fn erased(app: &TestApp, user: u32) -> Value {
    let request = app.admin().submit(user).await.ok();
    if request["status"] == "pending" {
        let body = json!({ "plan_version": request["plan"]["version"] });
        let path = format!("{}/approve", request["links"]["self"].as_str().unwrap());
        app.approver().post(&path, &body).await.ok();
    }
    let ended = app.admin().until_end(request["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    ended
}

fn bring_back(app: &TestApp, user: u32) {
    use diesel::{Connection, connection::SimpleConnection};
    let path = app.folder.path().join("shop.db");
    let mut file = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    file.batch_execute(&format!(
        "PRAGMA busy_timeout = 20000; INSERT INTO users VALUES ({user}, 'user{user}@example.com')"
    ))
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_looked_at_begun_and_followed() {
    for app in apps(&[], &[]).await {
        let admin = app.admin();
        let first = erased(&app, 1).await;
        erased(&app, 2).await;
        bring_back(&app, 1);
        let preview = admin.post("/v1/replays/preview", &json!({ "all": true })).await.ok();
        assert_eq!(
            (&preview["entries"], &preview["found"], &preview["absent"]),
            (&json!(2), &json!(1), &json!(1))
        );
        assert_eq!(preview["plans"][0]["oldest"], first["finished_at"], "{preview}");
        assert_eq!(preview["plans"][0]["registered"], true);

        let key = [("idempotency-key", "k1")];
        let body = json!({ "since": first["finished_at"] });
        let begun = admin.post_with("/v1/replays", &body, &key).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let location = begun.header("location").to_owned();
        let run = begun.json();
        assert_eq!((&run["task"], &run["since"]), (&json!("replay"), &first["finished_at"]), "{run}");
        let again = admin.post_with("/v1/replays", &body, &key).await;
        assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &run["id"]));
        admin
            .post_with("/v1/replays", &json!({ "all": true }), &key)
            .await
            .problem(422, "idempotency_key_reused");
        let beside = admin.post("/v1/replays", &json!({ "all": true })).await;
        assert_eq!(beside.problem(409, "duplicate_run")["run_id"], run["id"]);

        eventually("its end", async || look(&app, &run).await["status"] == "completed").await;
        let ended = admin.get(&location).await.ok();
        let report = &ended["report"];
        assert_eq!(
            (&report["entries"], &report["completed"], &report["with_exceptions"]),
            (&json!(2), &json!(2), &json!(2))
        );
        assert_eq!(
            ended["outcome"], "done_with_exceptions",
            "orders are kept, also of who is not back: {ended}"
        );

        let path = format!("/v1/replays/{}", run["id"].as_str().unwrap());
        let page = app.auditor().get(&format!("{path}?limit=1")).await.ok();
        let next = page["next_cursor"].as_str().unwrap();
        let rest = app.approver().get(&format!("{path}?limit=1&cursor={next}")).await.ok();
        assert_eq!(rest["next_cursor"], Value::Null);
        let item = &page["items"][0];
        assert_eq!((&item["of"], &item["status"]), (&first["id"], &json!("completed")), "{item}");
        assert_eq!(rest["items"][0]["outcome"], "done_with_exceptions", "{rest}");
        let after = admin.post("/v1/replays/preview", &json!({ "since": run["created_at"] })).await.ok();
        let newest = |of: &Value| of["plans"][0]["newest"].as_str().unwrap().to_owned();
        assert_eq!(after["entries"], 2, "clocks of workers may be minutes apart: {after}");
        assert!(newest(&after) > newest(&preview), "the entry of who was erased again has moved: {after}");
        let request = admin.get(&format!("/v1/requests/{}", item["request_id"].as_str().unwrap())).await.ok();
        assert_eq!(request["replay"], json!({ "of": first["id"], "run_id": run["id"] }));
        assert_eq!(
            (&request["deadline"]["due_at"], &request["deadline"]["overdue"]),
            (&Value::Null, &json!(false))
        );
        assert_eq!(first["replay"], Value::Null);
        let answered = json!({ "at": request["finished_at"], "channel": "email" });
        let own = request["links"]["self"].as_str().unwrap();
        admin.post(&format!("{own}/answered"), &answered).await.problem(409, "invalid_state");
        let listed = admin.get("/v1/runs?task=replay").await.ok();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_scope_is_asked_for() {
    for app in apps(&[], &[]).await {
        let admin = app.admin();
        for (body, pointer) in [
            (json!({}), "/since"),
            (json!({ "all": false }), "/since"),
            (json!({ "since": null, "all": null }), "/since"),
            (json!({ "all": true, "since": "2026-01-01T00:00:00Z" }), "/all"),
            (json!({ "since": "yesterday" }), "/since"),
            (json!({ "since": "2999-01-01T00:00:00Z" }), "/since"),
            (json!({ "all": "yes" }), "/all"),
            (json!({ "all": true, "plan": "customer" }), "/plan"),
        ] {
            for path in ["/v1/replays", "/v1/replays/preview"] {
                let refused = admin.post(path, &body).await.problem(422, "invalid_body");
                let pointers: Vec<_> =
                    refused["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
                assert!(pointers.contains(&&json!(pointer)), "{path} {body}: {refused}");
            }
        }
        let none = "/v1/replays/019a0000-0000-7000-8000-000000000000";
        admin.get(none).await.problem(404, "not_found");
        assert_eq!(admin.get("/v1/runs?task=replay").await.ok()["items"], json!([]));
    }
}

/// The run is approved, and with it each of its requests, whatever the configuration asks of people's own.
#[tokio::test(flavor = "multi_thread")]
async fn the_run_is_approved_and_not_each_request() {
    for app in apps(&[TaskKind::Replay], &[Kind::Erasure]).await {
        erased(&app, 1).await;
        bring_back(&app, 1);
        let run = app.admin().post("/v1/replays", &json!({ "all": true })).await.ok();
        assert_eq!(run["status"], "pending", "{run}");
        assert_eq!(look(&app, &run).await["status"], "pending", "nobody may claim it");
        let path = format!("/v1/runs/{}/approve", run["id"].as_str().unwrap());
        let own = app.user(run["created_by"].as_str().unwrap(), &["admin", "approver"]);
        own.post(&path, &json!({})).await.problem(403, "forbidden");
        app.approver().post(&path, &json!({})).await.ok();
        eventually("its end", async || look(&app, &run).await["status"] == "completed").await;
        let page = app.admin().get(&format!("/v1/replays/{}", run["id"].as_str().unwrap())).await.ok();
        let id = page["items"][0]["request_id"].as_str().unwrap().to_owned();
        let events = app.admin().get(&format!("/v1/requests/{id}/events")).await.ok();
        let names: Vec<_> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"request.completed") && !names.contains(&"request.approved"), "{names:?}");
    }
}
