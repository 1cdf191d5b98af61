//! A verification on both stores: kept apart, stored, audited, announced, and shown.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use rightful::{
    connectors::{backups::Backup, web::WebClient},
    domain::{
        backup::{Expected, Reason},
        clock::Clock,
        webhook::SigningKey,
    },
    service::{
        backups::{Backups, verify, verify_as},
        error::ServiceError,
        webhooks::{Endpoint, Webhooks, deliver},
    },
    store::Store,
};
use serde_json::{Value, json};

use super::{app, command, configured};
use crate::support::{
    app::{Setup, TestApp, eventually},
    receiver::Receiver,
    stores::stores,
};

fn says(answer: &str) -> Backup {
    command(&["sh", "-c", &format!("echo '{answer}'")])
}

fn good() -> Backup {
    let answer = format!(
        r#"{{ "ok": true, "last_success": "{}", "retention_days": 30, "size": 4096, "checksum": "abc" }}"#,
        (Clock.now() - TimeDelta::hours(1)).to_rfc3339()
    );
    let expected = Expected { max_age: Some(TimeDelta::hours(26)), ..Expected::default() };
    Backup { expected, ..says(&answer) }
}

fn backups() -> Backups {
    configured([
        ("good", good()),
        ("never", good()),
        ("wrong", says(r#"{ "ok": false, "message": "disk full" }"#)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_stored_audited_and_shown() {
    for store in stores().await {
        let app = app(store, backups()).await;
        verify_as(&app.service, "good", "alice").await.unwrap();
        verify(&app.service, "wrong").await.unwrap();
        verify(&app.service, "wrong").await.unwrap();
        assert!(matches!(verify(&app.service, "other").await, Err(ServiceError::NotFound)));

        let list = app.auditor().get("/v1/backups").await.ok();
        assert_eq!(list["next_cursor"], Value::Null);
        let [good, never, wrong] = &list["items"].as_array().unwrap()[..] else { panic!("{list}") };
        assert_eq!(
            (&good["name"], &good["ok"], &good["reasons"], &good["message"]),
            (&json!("good"), &json!(true), &json!([]), &Value::Null)
        );
        assert_eq!((&good["retention_days"], &good["size"]), (&json!(30), &json!(4096)));
        assert!((3_600..3_700).contains(&good["age"].as_i64().unwrap()), "{good}");
        assert!(good["duration"].is_f64() && good["verified_at"].is_string(), "{good}");
        assert_eq!((&never["ok"], &never["reasons"]), (&json!(false), &json!(["never_verified"])));
        assert_eq!((&never["verified_at"], &never["age"]), (&Value::Null, &Value::Null));
        assert_eq!((&wrong["ok"], &wrong["reasons"]), (&json!(false), &json!(["command"])));
        assert!(wrong["message"].as_str().unwrap().contains("disk full"));

        let whole = app.admin().get("/v1/backups/wrong").await.ok();
        assert_eq!((whole["history"].as_array().unwrap().len(), &whole["ok"]), (2, &json!(false)));
        assert_eq!(app.admin().get("/v1/backups/never").await.ok()["history"], json!([]));
        app.admin().get("/v1/backups/other").await.problem(404, "not_found");

        let metrics = app.nobody().get("/metrics").await.text;
        for line in [
            "rightful_backup_ok{backup=\"good\"} 1",
            "rightful_backup_ok{backup=\"never\"} 0",
            "rightful_backup_ok{backup=\"wrong\"} 0",
            "rightful_backup_size_bytes{backup=\"good\"} 4096",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
        }
        assert!(metrics.contains("rightful_backup_age_seconds{backup=\"good\"} 36"), "{metrics}");
        assert!(metrics.contains("rightful_backup_last_success_timestamp_seconds{backup=\"good\"} "));
        assert!(!metrics.contains("rightful_backup_age_seconds{backup=\"never\"}"));

        let events = app.auditor().get("/v1/audit?event=backup.failed").await.ok();
        assert_eq!(events["items"].as_array().unwrap().len(), 2, "{events}");
        assert_eq!(events["items"][0]["details"]["reasons"], json!(["command"]));
        assert!(!events.to_string().contains("disk full"), "no free text");
        let events = app.auditor().get("/v1/audit?event=backup.verified").await.ok();
        let event = &events["items"][0];
        assert_eq!((&event["stream"], &event["actor"]), (&json!("backup:good"), &json!("alice")));
        // Chains of every kind, in their order.
        app.admin().submit(1).await.ok();
        let chains = app.auditor().get("/v1/audit/verify").await.ok();
        assert_eq!(chains["ok"], true, "{chains}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_at_once_and_a_success_is_not() {
    for store in stores().await {
        let receiver = Receiver::default();
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let endpoint = Endpoint { url: format!("{}/hook", receiver.listen()), key };
        let webhooks = Webhooks {
            endpoints: BTreeMap::from([("panel".to_owned(), endpoint)]),
            client: WebClient::new(["127.0.0.1".to_owned()]).unwrap(),
        };
        let app = TestApp::with(store, Setup { webhooks, backups: backups(), ..Setup::default() }).await;
        verify(&app.service, "good").await.unwrap();
        assert_eq!(deliver(&app.service).await.unwrap(), 0);
        verify(&app.service, "wrong").await.unwrap();
        assert_eq!(deliver(&app.service).await.unwrap(), 1);
        let told = receiver.seen()[0].json();
        assert_eq!(told["type"], "backup.failed");
        assert_eq!(
            told["data"],
            json!({ "name": "wrong", "ok": false, "reasons": ["command"], "last_success": null,
                    "links": { "self": "/v1/backups/wrong" } })
        );
        let delivery = &app.admin().get("/v1/webhooks").await.ok()["items"][0];
        assert_eq!((&delivery["type"], &delivery["request_id"]), (&json!("backup.failed"), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_kept_apart() {
    for store in stores().await {
        let slow = command(&["sh", "-c", r#"sleep 1; echo '{ "ok": true }'"#]);
        let url = store.url.clone();
        let app = app(store, configured([("shop", slow), ("other", good())])).await;
        let service = app.service.clone();
        let first = tokio::spawn(async move { verify(&service, "shop").await });
        // In another process.
        let elsewhere = Store::open(&url, Clock).await.unwrap();
        let mut refused = false;
        for _ in 0..200 {
            let mut tx = elsewhere.begin().await.unwrap();
            let taken = tx.keep_backup("shop", Clock.new_id()).await.unwrap();
            tx.rollback().await.unwrap();
            assert!(!taken);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if first.is_finished() {
                break;
            }
            match verify(&app.service, "shop").await {
                Err(ServiceError::BackupUnderWay) => refused = true,
                Ok(_) => break,
                Err(error) => panic!("{error}"),
            }
            assert!(verify(&app.service, "other").await.unwrap().ok, "another one is not kept");
        }
        assert!(refused);
        assert!(first.await.unwrap().unwrap().ok);
        assert!(verify(&app.service, "shop").await.unwrap().ok, "it was given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_process_is_gone_is_free_after_its_lease_and_reports_nothing() {
    for store in stores().await {
        let app = app(store, backups()).await;
        let gone = Clock.new_id();
        let mut tx = app.service.store.begin().await.unwrap();
        assert!(tx.take_backup("good", gone).await.unwrap());
        tx.commit().await.unwrap();
        assert!(matches!(verify(&app.service, "good").await, Err(ServiceError::BackupUnderWay)));
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true, "no event yet");
        for lease in ["2026-01-01 00:00:00", "2126-01-01 00:00:00"] {
            // It ran out; or it was taken before the clock was set back by a century.
            set_lease(&app, lease).await;
            let report = verify(&app.service, "good").await.unwrap();
            assert!(report.ok, "{lease}");
            let mut tx = app.service.store.begin().await.unwrap();
            let late = tx.report_backup(&report, gone, "system").await;
            tx.rollback().await.unwrap();
            assert!(late.is_err(), "its report comes too late");
        }
    }
}

async fn set_lease(app: &TestApp, until: &str) {
    let sql = format!("UPDATE backups SET run_id = 'x', lease_until = '{until}'");
    crate::store::support::raw(&app.store, &sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_thirty_reports_are_kept_and_the_newest_is_the_last() {
    for store in stores().await {
        let app = app(store, backups()).await;
        for _ in 0..32 {
            verify(&app.service, "wrong").await.unwrap();
        }
        let history = app.service.store.backup_history("wrong").await.unwrap();
        assert_eq!(history.len(), 30);
        // Also when the clock was set back meanwhile.
        let ahead = "UPDATE backup_reports SET verified_at = '2126-01-01 00:00:00'";
        crate::store::support::raw(&app.store, ahead).await.unwrap();
        verify(&app.service, "wrong").await.unwrap();
        let newest = app.service.store.backup_reports().await.unwrap().pop().unwrap();
        assert!((newest.verified_at - Clock.now()).num_days().abs() < 1, "{newest:?}");
        assert_eq!(newest.reasons, [Reason::Command]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_whose_caller_is_gone_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 300", pid.display());
    let backups = configured([("shop", command(&["sh", "-c", &script]))]);
    let app = app(crate::support::stores::sqlite_store().await, backups).await;
    let service = app.service.clone();
    let running = tokio::spawn(async move { verify(&service, "shop").await });
    let read = || std::fs::read_to_string(&pid).unwrap_or_default();
    eventually("the command", async || read().ends_with('\n')).await;
    let proc = format!("/proc/{}/stat", read().trim());
    running.abort();
    eventually("its end", async || std::fs::read_to_string(&proc).map_or(true, |stat| stat.contains(") Z ")))
        .await;
}
