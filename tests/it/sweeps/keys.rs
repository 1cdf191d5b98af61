//! Idempotency keys can be used anew once their time is over, and not before.

use rightful::{
    domain::{
        clock::Clock,
        run::Task,
        sweep::{Sweep, Swept},
    },
    service::runs::{Asked, Upkeep, begin},
};
use serde_json::json;

use super::{
    apps, audit_verifies, body, column, count, days_ago, end_days_ago, set_time, submit, sweep, sweep_until,
    swept, upkeep,
};
use crate::{
    retention::{go_on, harness, policies, shop},
    support::{
        app::Setup,
        stores::stores,
        targets::{Dialect, target},
    },
};

const REQUESTS: &str = "/v1/requests";

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_request_is_free_a_period_after_its_end() {
    let setup = || Setup { upkeep: upkeep(None, None, Some("30d")), ..Setup::default() };
    for app in apps(setup).await {
        let id = submit(&app, 1).await;
        let open = submit(&app, 2).await;
        app.admin().post(&format!("{REQUESTS}/{id}/cancel"), &json!({})).await.ok();
        let key = [("idempotency-key", "key-1")];
        end_days_ago(&app, &id, 29);
        assert_eq!(sweep(&app.service, Sweep::IdempotencyKeys).await, Swept::default());
        let again = app.admin().post_with(REQUESTS, &body(1), &key).await;
        assert_eq!((again.status.as_u16(), again.ok()["id"].as_str()), (200, Some(id.as_str())));
        app.admin().post_with(REQUESTS, &body(3), &key).await.problem(422, "idempotency_key_reused");

        end_days_ago(&app, &id, 31);
        let one = Swept { idempotency_keys: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::IdempotencyKeys).await, one);
        assert_eq!(sweep(&app.service, Sweep::IdempotencyKeys).await, Swept::default());
        let new = app.admin().post_with(REQUESTS, &body(3), &key).await;
        assert_eq!(new.status, 202);
        assert_ne!(new.ok()["id"], json!(id));
        let later = Clock.now() + chrono::TimeDelta::days(4000);
        assert_eq!(sweep_until(&app.service, Sweep::IdempotencyKeys, later).await, Swept::default());
        let of_open = app.admin().post_with(REQUESTS, &body(2), &[("idempotency-key", "key-2")]).await;
        assert_eq!((of_open.status.as_u16(), of_open.ok()["id"].as_str()), (200, Some(open.as_str())));

        let read = super::read(&app, &id).await;
        assert_eq!(
            (&read["subject"]["email"], &read["external_id"]),
            (&json!("user1@example.com"), &json!("ZD-1"))
        );
        let event = swept(&app).await.remove(0);
        assert_eq!(
            (&event["stream"], &event["details"]["idempotency_keys"]),
            (&json!("sweep:idempotency_keys"), &json!(1))
        );
        audit_verifies(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_consent_is_free_a_period_after_it_was_recorded() {
    let setup = || Setup { upkeep: upkeep(None, None, Some("30d")), ..Setup::default() };
    for app in apps(setup).await {
        let act = |purpose: &str| {
            json!({
                "plan": "customer", "subject": { "user_id": 1 }, "purpose": purpose, "state": "given", "source": "web",
                "text": { "version": "1", "hash": "ab".repeat(32) },
            })
        };
        let key = [("idempotency-key", "form-1")];
        let first = app.admin().post_with("/v1/consents", &act("news"), &key).await.ok();
        let recorded_at =
            first["recorded_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let before = recorded_at - chrono::TimeDelta::microseconds(1);
        assert_eq!(sweep_until(&app.service, Sweep::IdempotencyKeys, before).await, Swept::default());
        app.admin().post_with("/v1/consents", &act("ads"), &key).await.problem(422, "idempotency_key_reused");
        let swept = sweep_until(&app.service, Sweep::IdempotencyKeys, recorded_at).await;
        assert_eq!(swept, Swept { idempotency_keys: 1, ..Swept::default() });
        assert_eq!(app.admin().post_with("/v1/consents", &act("ads"), &key).await.status, 201);
        assert_eq!(count(&app.store, "consents"), 2, "the consent itself stays");
        audit_verifies(&app).await;
    }
}

/// Those of schedules are no caller's: they keep a moment from being fired for twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_run_is_free_a_period_after_its_end() {
    const POLICY: &str =
        "    old_orders: { connection: shop, table: orders, timestamp: placed, older_than: 2y, nulls: keep,
      action: delete, children: [items], basis: contracts that ended }
";
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        shop(&target);
        let periods = upkeep(None, None, Some("30d")).periods;
        let upkeep = Upkeep { policies: policies(POLICY), periods, ..Upkeep::default() };
        let harness = harness(&store, &target, policies(POLICY)).keeping(upkeep);
        let service = &harness.service;
        let ask = async |by: &str| {
            let asked = Asked { by: by.to_owned(), idempotency_key: Some("k".to_owned()) };
            begin(service, Task::Retention("old_orders".to_owned()), asked).await.unwrap()
        };
        let mut ids = Vec::new();
        for by in ["alice", "schedule:nightly"] {
            let (run, is_new) = ask(by).await;
            assert!(is_new && go_on(&harness, run.id).await.status().is_end());
            set_time(&store, &format!("runs {}", run.id), "finished_at", days_ago(29));
            ids.push(run.id);
        }
        assert_eq!(sweep(service, Sweep::IdempotencyKeys).await, Swept::default());
        assert_eq!((ask("alice").await.1, ask("alice").await.0.id), (false, ids[0]));
        for id in &ids {
            set_time(&store, &format!("runs {id}"), "finished_at", days_ago(31));
        }
        let one = Swept { idempotency_keys: 1, ..Swept::default() };
        assert_eq!(sweep(service, Sweep::IdempotencyKeys).await, one);
        assert!(ask("alice").await.1, "it is free");
        assert!(!ask("schedule:nightly").await.1);
        let open = column(&store, "SELECT id FROM runs WHERE finished_at IS NULL AND idempotency_key = 'k'");
        let later = Clock.now() + chrono::TimeDelta::days(4000);
        assert_eq!(sweep_until(service, Sweep::IdempotencyKeys, later).await, Swept::default());
        assert_eq!(open.len(), 1);
    }
}
