//! Retention over HTTP: what a policy would do, a run, four eyes, and the same call twice.

use rightful::{
    domain::run::TaskKind,
    service::runs::{Upkeep, worker::run_one},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    retention::policies,
    support::{
        app::{Setup, TestApp},
        stores::stores,
    },
};

const POLICY: &str =
    "    old_logins: { connection: shop, table: logins, timestamp: at, older_than: 1y, action: delete,
      basis: no purpose any more }
";

async fn apps(approval: &[TaskKind]) -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        let upkeep = Upkeep { policies: policies(POLICY), approval: approval.to_vec(), ..Upkeep::default() };
        apps.push(TestApp::with(store, Setup { upkeep, ..Setup::default() }).await);
    }
    apps
}

async fn carry_out(app: &TestApp, run: &Value) {
    let (_stop, stopped) = watch::channel(false);
    let id = run["id"].as_str().unwrap().parse().unwrap();
    run_one(&app.service, id, "worker:test", stopped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_looked_at_and_run() {
    for app in apps(&[]).await {
        let admin = app.admin();
        let listed = admin.get("/v1/retention").await.json();
        assert_eq!(listed["items"][0]["name"], "old_logins", "{listed}");
        assert_eq!(listed["items"][0]["last_run"], Value::Null);
        let preview = admin.post("/v1/retention/old_logins/preview", &json!({})).await.json();
        assert_eq!(preview["tables"], json!([{ "table": "shop.logins", "matched": 1, "withheld": 0 }]));
        let key = [("idempotency-key", "k1")];
        let begun = admin.post_with("/v1/retention/old_logins/run", &json!({}), &key).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let location = begun.header("location").to_owned();
        let run = begun.json();
        assert_eq!(run["status"], "approved");
        assert_eq!(run["policy_version"], preview["policy_version"]);
        let again = admin.post_with("/v1/retention/old_logins/run", &json!({}), &key).await;
        assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &run["id"]));
        let beside = admin.post("/v1/retention/old_logins/run", &json!({})).await;
        assert_eq!(beside.problem(409, "duplicate_run")["run_id"], run["id"]);
        carry_out(&app, &run).await;
        let ended = admin.get(&location).await.json();
        assert_eq!((&ended["status"], &ended["outcome"]), (&json!("completed"), &json!("done")), "{ended}");
        assert_eq!(ended["steps"][0]["rows_affected"], 1);
        let listed = app.auditor().get("/v1/runs?task=retention:old_logins&open=false").await.json();
        assert_eq!(listed["items"][0]["id"], run["id"]);
        let audit = app.auditor().get("/v1/audit?event=run.completed").await.json();
        assert_eq!(audit["items"][0]["rows"]["affected"], 1, "{audit}");
        assert_eq!(app.auditor().get("/v1/audit/verify").await.json()["ok"], true);
        for (path, status) in [
            ("/v1/retention/older_logins/run", 404),
            ("/v1/retention/older_logins/preview", 404),
            ("/v1/schedules/nightly/run", 404),
            ("/v1/backups/shop/verify", 404),
            (&*format!("{location}/cancel"), 409),
            (&*format!("{location}/retry"), 409),
        ] {
            assert_eq!(admin.post(path, &json!({})).await.status, status, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_somebody_else() {
    for app in apps(&[TaskKind::Retention]).await {
        let admin = app.admin();
        let run = admin.post("/v1/retention/old_logins/run", &json!({})).await.json();
        assert_eq!(run["status"], "pending", "{run}");
        carry_out(&app, &run).await;
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        assert_eq!(admin.get(&path).await.json()["status"], "pending", "nobody may claim it");
        let both = app.user(run["created_by"].as_str().unwrap(), &["admin", "approver"]);
        let own = both.post(&format!("{path}/approve"), &json!({})).await;
        assert_eq!(own.status, 403, "{own:?}");
        let approver = app.approver();
        let (approve, deny, nothing) = (format!("{path}/approve"), format!("{path}/deny"), json!({}));
        let (one, two) = tokio::join!(approver.post(&approve, &nothing), approver.post(&deny, &nothing));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{one:?} {two:?}");
        carry_out(&app, &run).await;
        let ended = admin.get(&path).await.json();
        let expected = if one.status == 200 { "completed" } else { "denied" };
        assert_eq!(ended["status"], expected, "{ended}");
    }
}
