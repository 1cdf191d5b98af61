//! The retention of the service's own data: identities, then whatever else leads to a person, then keys; counts and the
//! audit log stay.

mod holds;
mod keys;
pub mod months;
mod rectifications;
mod reductions;
mod sharing;

use chrono::{DateTime, TimeDelta, Utc};
use rightful::{
    domain::{
        clock::Clock,
        sweep::{Periods, Sweep, Swept},
    },
    service::{
        Service,
        runs::Upkeep,
        sweeps::{carry_out, carry_out_batch},
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    app::{Setup, TestApp},
    stores::{TestStore, stores},
};

/// What no table may show once it is gone; of the request that [`submit`] makes.
const REASON: &str = "she asked at the counter";

pub fn upkeep(identities: Option<&str>, requests: Option<&str>, idempotency_keys: Option<&str>) -> Upkeep {
    let period = |text: &str| text.parse().unwrap();
    let periods = Periods {
        identities: identities.map(period),
        requests: requests.map(period),
        idempotency_keys: idempotency_keys.map(period),
        pseudonyms: None,
    };
    Upkeep { periods, ..Upkeep::default() }
}

async fn apps(setup: impl Fn() -> Setup) -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        apps.push(TestApp::with(store, setup()).await);
    }
    apps
}

/// Services that keep identities for that long and everything else for ever.
async fn keeping_identities(period: &str) -> Vec<TestApp> {
    apps(|| Setup { upkeep: upkeep(Some(period), None, None), ..Setup::default() }).await
}

pub async fn sweep(service: &Service, sweep: Sweep) -> Swept {
    carry_out(service, sweep, &watch::channel(false).1).await.unwrap()
}

/// One batch, of all that was over by then.
pub async fn sweep_until(service: &Service, sweep: Sweep, before: DateTime<Utc>) -> Swept {
    carry_out_batch(service, sweep, before, Clock.now()).await.unwrap()
}

/// The first cell of each row, past the store.
pub fn column(store: &TestStore, sql: &str) -> Vec<String> {
    let rows = store.session().rows(sql);
    rows.into_iter().map(|row| row[0].clone().unwrap_or_else(|| "NULL".to_owned())).collect()
}

pub fn count(store: &TestStore, what: &str) -> usize {
    // As text: SQLite hands numbers out as they are.
    column(store, &format!("SELECT CAST(count(*) AS text) FROM {what}"))[0].parse().unwrap()
}

/// Has something end, or be answered, at another time.
pub fn set_time(store: &TestStore, row: &str, column: &str, at: DateTime<Utc>) {
    let at = at.format("%Y-%m-%d %H:%M:%S%.6f");
    let (table, id) = row.split_once(' ').unwrap();
    store.session().execute(&format!("UPDATE {table} SET {column} = '{at}' WHERE id = '{id}'"));
}

pub fn days_ago(days: i64) -> DateTime<Utc> {
    Clock.now() - TimeDelta::days(days)
}

/// Has a request have ended that long ago.
fn end_days_ago(app: &TestApp, id: &str, days: i64) {
    set_time(&app.store, &format!("requests {id}"), "finished_at", days_ago(days));
}

fn body(number: u32) -> Value {
    json!({
        "kind": "erasure", "plan": "customer", "subject": { "email": format!("user{number}@example.com") },
        "external_id": format!("ZD-{number}"), "reason": REASON,
    })
}

async fn submit(app: &TestApp, number: u32) -> String {
    let key = format!("key-{number}");
    let reply =
        app.admin().post_with("/v1/requests", &body(number), &[("idempotency-key", key.as_str())]).await;
    reply.ok()["id"].as_str().unwrap().to_owned()
}

/// A request that has ended at once, without a worker.
async fn cancelled(app: &TestApp, number: u32) -> String {
    let id = submit(app, number).await;
    app.admin().post(&format!("/v1/requests/{id}/cancel"), &json!({})).await.ok();
    id
}

async fn read(app: &TestApp, id: &str) -> Value {
    app.admin().get(&format!("/v1/requests/{id}")).await.ok()
}

async fn events(app: &TestApp, query: &str) -> Vec<Value> {
    let page = app.auditor().get(&format!("/v1/audit?limit=500{query}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

async fn swept(app: &TestApp) -> Vec<Value> {
    events(app, "&event=retention.swept").await
}

async fn audit_verifies(app: &TestApp) {
    let verified = app.auditor().get("/v1/audit/verify").await.ok();
    assert_eq!(verified["ok"], true, "{verified}");
}

async fn found(app: &TestApp, number: u32) -> usize {
    let email = format!("user{number}@example.com");
    let person = json!({ "plan": "customer", "subject": { "email": email } });
    let page = app.admin().post("/v1/requests/search", &person).await.ok();
    page["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_go_and_what_was_done_stays() {
    for mut app in keeping_identities("90d").await {
        app.work();
        let id = submit(&app, 2).await;
        let done = app.admin().until_end(&id).await;
        assert_eq!((&done["status"], &done["reason"]), (&json!("completed"), &json!(REASON)));
        let told = events(&app, &format!("&request_id={id}")).await;
        assert_eq!(count(&app.store, "request_secrets WHERE length(wrapped_key) > 32"), 1);

        end_days_ago(&app, &id, 89);
        assert_eq!(sweep(&app.service, Sweep::Identities).await, Swept::default());
        assert_eq!(read(&app, &id).await["subject"], json!({ "email": "user2@example.com" }));
        assert_eq!(swept(&app).await, Vec::<Value>::new());

        end_days_ago(&app, &id, 91);
        let one = Swept { requests: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::Identities).await, one);
        assert_eq!(sweep(&app.service, Sweep::Identities).await, Swept::default(), "there is nothing left");
        assert_eq!(count(&app.store, "request_secrets") + count(&app.store, "request_keys"), 0);

        let after = read(&app, &id).await;
        for gone in ["subject", "reason"] {
            assert_eq!(after[gone], Value::Null, "{gone}");
        }
        for stays in ["status", "outcome", "progress", "steps", "subject_refs", "external_id", "created_by"] {
            assert_eq!(after[stays], done[stays], "{stays}");
        }
        assert!(after["identities_destroyed_at"].is_string(), "{after}");
        assert_eq!((&done["identities_destroyed_at"], &after["reduced_at"]), (&Value::Null, &Value::Null));
        let list = app.admin().get("/v1/requests").await.ok();
        assert_eq!(list["items"][0]["identities_destroyed_at"], after["identities_destroyed_at"]);
        assert_eq!(found(&app, 2).await, 1, "pseudonyms are not identities");
        let letter = app.admin().get(&format!("/v1/requests/{id}/answer")).await.ok();
        assert!(letter["text"].as_str().unwrap().contains("What was done"), "{letter}");
        let refused = app.admin().post(&format!("/v1/requests/{id}/retry"), &json!({})).await;
        refused.problem(409, "invalid_state");
        let answer = json!({ "at": after["created_at"], "channel": "email" });
        app.admin().post(&format!("/v1/requests/{id}/answered"), &answer).await.ok();

        assert_eq!(events(&app, &format!("&request_id={id}")).await[1..], told);
        let event = swept(&app).await.remove(0);
        assert_eq!((&event["stream"], &event["actor"]), (&json!("sweep:identities"), &json!("system")));
        let before = &event["details"]["before"];
        let expected = json!({
            "what": "identities", "before": before, "requests": 1, "holds": 0, "idempotency_keys": 0,
        });
        assert_eq!(event["details"], expected);
        assert_eq!((&event["request_id"], &event["subject_ref"]), (&Value::Null, &Value::Null));
        audit_verifies(&app).await;
        app.stop().await;
    }
}

/// A file keeps nothing of the key either.
#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_is_overwritten_in_the_file() {
    for app in keeping_identities("1d").await.into_iter().filter(|app| app.store.is_sqlite()) {
        cancelled(&app, 1).await;
        let secret = column(&app.store, "SELECT hex(wrapped_key) FROM request_secrets").remove(0);
        let secret: Vec<u8> = secret
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let holds_it = || {
            app.store.session().rows("PRAGMA wal_checkpoint(TRUNCATE)");
            let file = std::fs::read(app.store.file().unwrap()).unwrap();
            file.windows(secret.len()).any(|window| window == secret)
        };
        assert!(holds_it());
        sweep_until(&app.service, Sweep::Identities, Clock.now()).await;
        assert!(!holds_it());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_counts_from_the_answer_or_the_end_whichever_is_later() {
    for app in keeping_identities("90d").await {
        let end = days_ago(10);
        let later = end + TimeDelta::microseconds(1);
        let mut ids = Vec::new();
        for (number, (finished_at, answered_at)) in (1_u32..).zip([
            (end, None),
            (later, None),
            (end, Some(later)),
            (later, Some(end)),
            (end, Some(end)),
        ]) {
            let id = cancelled(&app, number).await;
            set_time(&app.store, &format!("requests {id}"), "finished_at", finished_at);
            if let Some(at) = answered_at {
                set_time(&app.store, &format!("requests {id}"), "answered_at", at);
            }
            ids.push(id);
        }
        let open = submit(&app, 9).await;
        let left = || column(&app.store, "SELECT request_id FROM request_secrets ORDER BY request_id");
        let remaining = |of: &[usize]| {
            let mut ids: Vec<String> = of.iter().map(|at| ids[*at].clone()).chain([open.clone()]).collect();
            ids.sort();
            ids
        };
        for (before, expected) in [
            (end - TimeDelta::microseconds(1), remaining(&[0, 1, 2, 3, 4])),
            (end, remaining(&[1, 2, 3])),
            (later, remaining(&[])),
            // One that has not ended is never touched, whatever the time.
            (Clock.now() + TimeDelta::days(4000), remaining(&[])),
        ] {
            sweep_until(&app.service, Sweep::Identities, before).await;
            assert_eq!(left(), expected, "{before}");
        }
        assert_eq!(read(&app, &open).await["reason"], REASON);
        audit_verifies(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_cannot_be_retried_once_nobody_knows_whom_it_is_about() {
    for mut app in keeping_identities("90d").await {
        app.work();
        let mut body = body(3);
        body["subject"]["user_id"] = json!(4);
        let id = app.admin().post("/v1/requests", &body).await.ok()["id"].as_str().unwrap().to_owned();
        let failed = app.admin().until_end(&id).await;
        assert_eq!(
            (&failed["status"], &failed["error"]["code"]),
            (&json!("failed"), &json!("subject_ambiguous"))
        );
        let mut tx = app.service.store.begin().await.unwrap();
        tx.put_keys(id.parse().unwrap(), &[("root".to_owned(), vec![7; 40])]).await.unwrap();
        tx.commit().await.unwrap();
        let path = format!("/v1/requests/{id}");

        end_days_ago(&app, &id, 91);
        assert_eq!(sweep(&app.service, Sweep::Identities).await.requests, 1);
        assert_eq!(count(&app.store, "request_keys"), 0);
        let retry = || async { app.admin().post(&format!("{path}/retry"), &json!({})).await };
        let problem = retry().await.problem(409, "identities_destroyed");
        assert!(problem["detail"].as_str().unwrap().contains("submit a new one"), "{problem}");
        let extension = json!({ "months": 1, "reason": "many tables" });
        app.admin().post(&format!("{path}/extend"), &extension).await.problem(409, "identities_destroyed");
        app.admin().post(&format!("{path}/cancel"), &json!({})).await.problem(409, "invalid_state");
        let after = read(&app, &id).await;
        for stays in ["status", "error", "extension", "steps"] {
            assert_eq!(after[stays], failed[stays], "{stays}");
        }
        audit_verifies(&app).await;
        app.stop().await;
    }
}

/// Before its time a failed request is retried as ever, and is then no longer one that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_in_time_until_the_very_batch() {
    for mut app in keeping_identities("90d").await {
        app.work();
        let mut body = body(5);
        body["subject"]["user_id"] = json!(6);
        let id = app.admin().post("/v1/requests", &body).await.ok()["id"].as_str().unwrap().to_owned();
        app.admin().until_end(&id).await;
        app.stop().await;
        end_days_ago(&app, &id, 91);
        let due = app.service.store.due(Sweep::Identities, days_ago(90), 100).await.unwrap();
        assert_eq!(due.requests().unwrap().len(), 1);
        retried(&app, &id).await;
        let mut tx = app.service.store.begin().await.unwrap();
        let nothing = tx.sweep(Sweep::Identities, &due, &[], days_ago(90), Clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((nothing, count(&app.store, "request_secrets")), (Swept::default(), 1));
    }
}

async fn retried(app: &TestApp, id: &str) {
    use rightful::{
        domain::request::WithReason,
        service::{actions::retry, readings::Reader},
    };
    let alice = Reader { sub: "alice".to_owned(), every_request: true, identities: true, own: false };
    let reading = retry(&app.service, &alice, id.parse().unwrap(), WithReason::None).await.unwrap();
    assert!(!reading.request.status().is_end());
}
