//! Holds that have ended are forgotten like requests, those in force never.

use reqwest::Method;
use rightful::domain::{
    clock::Clock,
    sweep::{Sweep, Swept},
};
use serde_json::{Value, json};

use super::{apps, audit_verifies, column, count, days_ago, set_time, sweep, sweep_until, swept, upkeep};
use crate::{
    store::support::raw,
    support::app::{Setup, TestApp},
};

async fn place(app: &TestApp, number: u32) -> Value {
    let body = json!({
        "plan": "customer", "subject": { "user_id": number }, "ground": "legal_claims", "reason": "Jane sued us",
    });
    app.admin().post("/v1/holds", &body).await.ok()
}

fn path(hold: &Value) -> String {
    format!("/v1/holds/{}", hold["id"].as_str().unwrap())
}

async fn end(app: &TestApp, hold: &Value, days: i64) {
    app.approver().call(Method::DELETE, &path(hold), None, &[]).await.ok();
    let row = format!("holds {}", hold["id"].as_str().unwrap());
    set_time(&app.store, &row, "ended_at", days_ago(days));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_has_ended_loses_its_person_and_then_its_pseudonyms() {
    let setup = || Setup { upkeep: upkeep(Some("90d"), Some("1y"), None), ..Setup::default() };
    for app in apps(setup).await {
        let (old, late, active) = (place(&app, 1).await, place(&app, 2).await, place(&app, 3).await);
        end(&app, &old, 91).await;
        end(&app, &late, 89).await;
        let one = Swept { holds: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::Identities).await, one);
        assert_eq!(sweep(&app.service, Sweep::Identities).await, Swept::default());
        let lengths = column(
            &app.store,
            "SELECT CAST(length(wrapped_key) + length(confidential) AS text) FROM holds ORDER BY id",
        );
        assert_eq!((lengths[0].as_str(), lengths.iter().filter(|bytes| *bytes != "0").count()), ("0", 2));

        let shown = app.admin().get(&path(&old)).await.ok();
        assert_eq!((&shown["subject"], &shown["reason"]), (&Value::Null, &Value::Null));
        assert!(shown["identities_destroyed_at"].is_string() && shown["reduced_at"].is_null(), "{shown}");
        assert_eq!((&shown["subject_refs"], &shown["ground"]), (&old["subject_refs"], &old["ground"]));
        for whole in [&late, &active] {
            let shown = app.admin().get(&path(whole)).await.ok();
            assert_eq!(
                (&shown["reason"], &shown["identities_destroyed_at"]),
                (&json!("Jane sued us"), &Value::Null)
            );
        }
        let again = app.approver().call(Method::DELETE, &path(&old), None, &[]).await;
        again.problem(409, "invalid_state");
        assert_eq!(app.admin().get("/v1/holds").await.ok()["items"].as_array().unwrap().len(), 3);

        // Whatever the time: one in force is needed. One that still has its person loses that along.
        let two = Swept { holds: 2, ..Swept::default() };
        let later = Clock.now() + chrono::TimeDelta::days(4000);
        assert_eq!(sweep_until(&app.service, Sweep::Requests, later).await, two);
        let left = column(&app.store, "SELECT DISTINCT hold_id FROM hold_refs");
        assert_eq!(left, [active["id"].as_str().unwrap()]);
        let shown = app.admin().get(&path(&late)).await.ok();
        assert_eq!((&shown["subject"], &shown["subject_refs"]), (&Value::Null, &json!([])));
        assert!(shown["identities_destroyed_at"].is_string() && shown["reduced_at"].is_string(), "{shown}");
        assert_eq!(app.admin().get(&path(&active)).await.ok()["reason"], "Jane sued us");
        let told: Vec<(Value, Value)> = swept(&app)
            .await
            .iter()
            .map(|event| (event["details"]["what"].clone(), event["details"]["holds"].clone()))
            .collect();
        assert_eq!(told, [(json!("requests"), json!(2)), (json!("identities"), json!(1))]);
        audit_verifies(&app).await;
    }
}

/// It still keeps the person that nobody could name any more if it had been forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_in_force_keeps_its_person_after_a_sweep() {
    let setup = || Setup { upkeep: upkeep(Some("1d"), Some("1d"), None), ..Setup::default() };
    for mut app in apps(setup).await {
        place(&app, 4).await;
        let later = Clock.now() + chrono::TimeDelta::days(4000);
        for what in [Sweep::Identities, Sweep::Requests] {
            assert_eq!(sweep_until(&app.service, what, later).await, Swept::default());
        }
        app.work();
        let id = app.admin().submit(4).await.ok()["id"].as_str().unwrap().to_owned();
        crate::support::app::eventually("it is held", async || {
            app.admin().get(&format!("/v1/requests/{id}")).await.ok()["status"] == "on_hold"
        })
        .await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_a_half_forgotten_hold_or_request() {
    for app in apps(Setup::default).await {
        let hold = place(&app, 1).await;
        end(&app, &hold, 0).await;
        let id = super::cancelled(&app, 2).await;
        for change in [
            "UPDATE holds SET identities_destroyed_at = ended_at",
            "UPDATE holds SET reduced_at = ended_at",
            "INSERT INTO swept_requests VALUES ('nobody', '2026-01-01 00:00:00', NULL, NULL)",
            &format!(
                "INSERT INTO swept_requests VALUES ('{id}', '2026-01-01 00:00:00', '{{}}', '2026-01-01 00:00:00')"
            ),
        ] {
            assert!(raw(&app.store, change).await.is_err(), "{change}");
        }
        raw(
            &app.store,
            &format!("INSERT INTO swept_requests VALUES ('{id}', '2026-01-01 00:00:00', NULL, NULL)"),
        )
        .await
        .unwrap();
        assert_eq!(count(&app.store, "swept_requests"), 1);
    }
}
