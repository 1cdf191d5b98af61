//! What is left of a request is what was done: nothing leads to a person.

use rightful::{
    domain::sweep::{Sweep, Swept},
    service::packages::expire,
};
use serde_json::{Value, json};

use super::{
    apps, audit_verifies, cancelled, column, count, days_ago, end_days_ago, events, found, read, set_time,
    submit, sweep, swept, upkeep,
};
use crate::support::app::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_reduced_request_is_counts_kinds_and_times() {
    // Without a period of their own identities go along.
    let setup = || Setup { upkeep: upkeep(None, Some("3y"), None), ..Setup::default() };
    for mut app in apps(setup).await {
        let other = cancelled(&app, 8).await;
        app.work();
        let id = submit(&app, 7).await;
        let done = app.admin().until_end(&id).await;
        let told = events(&app, &format!("&request_id={id}")).await;
        let refs = column(&app.store, "SELECT ref FROM request_refs");
        assert_eq!((refs.len(), found(&app, 7).await), (3, 1));

        end_days_ago(&app, &id, 3 * 365);
        assert_eq!(sweep(&app.service, Sweep::Requests).await, Swept::default());
        end_days_ago(&app, &id, 3 * 365 + 2);
        let one = Swept { requests: 1, idempotency_keys: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::Requests).await, one);
        assert_eq!(sweep(&app.service, Sweep::Requests).await, Swept::default(), "there is nothing left");

        let after = read(&app, &id).await;
        for gone in ["subject", "subject_ref", "external_id", "reason"] {
            assert_eq!(after[gone], Value::Null, "{gone}");
            assert_ne!(done[gone], Value::Null, "{gone}");
        }
        assert_eq!(after["subject_refs"], json!([]));
        for stays in
            ["kind", "plan", "status", "outcome", "progress", "steps", "created_by", "created_at", "deadline"]
        {
            assert_eq!(after[stays], done[stays], "{stays}");
        }
        assert!(after["reduced_at"].is_string() && after["reduced_at"] == after["identities_destroyed_at"]);
        for table in ["request_secrets", "request_keys", "request_refs", "idempotency_keys"] {
            let of_other = format!("{table} WHERE request_id <> '{other}'");
            assert_eq!(count(&app.store, &of_other), 0, "{table}");
        }
        let row = app.store.session().rows(&format!("SELECT * FROM requests WHERE id = '{id}'"));
        let row = format!("{row:?}");
        assert!(!row.contains("ZD-7") && refs.iter().all(|pseudonym| !row.contains(pseudonym)), "{row}");

        assert_eq!((found(&app, 7).await, found(&app, 8).await), (0, 1));
        let by_number = |number: u32| format!("/v1/requests?external_id=ZD-{number}");
        for (number, listed) in [(7, 0), (8, 1)] {
            let page = app.admin().get(&by_number(number)).await.ok();
            assert_eq!(page["items"].as_array().unwrap().len(), listed, "{number}");
        }
        let letter = app.admin().get(&format!("/v1/requests/{id}/answer")).await.ok();
        assert!(letter["text"].as_str().unwrap().contains("What was done"), "{letter}");
        // The log is as it was, pseudonyms included.
        assert_eq!(events(&app, &format!("&request_id={id}")).await, told);
        let event = swept(&app).await.remove(0);
        assert_eq!((&event["stream"], &event["details"]["requests"]), (&json!("sweep:requests"), &json!(1)));
        audit_verifies(&app).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_first_and_the_rest_later() {
    let setup = || Setup { upkeep: upkeep(Some("90d"), Some("3y"), None), ..Setup::default() };
    for app in apps(setup).await {
        let id = cancelled(&app, 1).await;
        end_days_ago(&app, &id, 100);
        assert_eq!(sweep(&app.service, Sweep::Requests).await, Swept::default());
        assert_eq!(sweep(&app.service, Sweep::Identities).await.requests, 1);
        let first = read(&app, &id).await;
        assert_eq!((&first["external_id"], &first["reduced_at"]), (&json!("ZD-1"), &Value::Null));
        end_days_ago(&app, &id, 4 * 365);
        assert_eq!(sweep(&app.service, Sweep::Identities).await, Swept::default());
        assert_eq!(sweep(&app.service, Sweep::Requests).await.requests, 1);
        let second = read(&app, &id).await;
        assert_eq!(second["identities_destroyed_at"], first["identities_destroyed_at"]);
        assert_eq!((&second["external_id"], second["reduced_at"].is_string()), (&Value::Null, true));
        assert_eq!(sweep(&app.service, Sweep::Requests).await, Swept::default());
        audit_verifies(&app).await;
    }
}

/// A package has a key of its own, and its own time.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_handed_out_until_it_expires_and_keeps_its_request_whole_that_long() {
    let setup = || Setup { upkeep: upkeep(Some("90d"), Some("1y"), None), ..Setup::default() };
    for mut app in apps(setup).await {
        app.work();
        let body = json!({ "kind": "export", "plan": "customer", "subject": { "user_id": 9 } });
        let id = app.admin().post("/v1/requests", &body).await.ok()["id"].as_str().unwrap().to_owned();
        app.admin().until_end(&id).await;
        let package = format!("/v1/requests/{id}/export");
        app.admin().post(&format!("{package}/link"), &json!({})).await.ok();
        end_days_ago(&app, &id, 2 * 365);
        assert_eq!(sweep(&app.service, Sweep::Identities).await.requests, 1);
        assert_eq!(sweep(&app.service, Sweep::Requests).await, Swept::default());
        let (status, _, bytes) = app.admin().download(&package, &[]).await;
        assert_eq!((status.as_u16(), &bytes[..2]), (200, &b"PK"[..]));
        let shown = read(&app, &id).await;
        let export = &shown["export"];
        assert_eq!((&export["format"], &export["package"]["expired"]), (&Value::Null, &json!(false)));
        assert_eq!(shown["subject_refs"].as_array().unwrap().len(), 2);

        set_time(&app.store, &format!("requests {id}"), "answered_at", days_ago(366));
        let row = format!("UPDATE packages SET expires_at = created_at WHERE request_id = '{id}'");
        app.store.session().execute(&row);
        expire(&app.service).await.unwrap();
        assert_eq!(sweep(&app.service, Sweep::Requests).await.requests, 1);
        app.admin().get(&package).await.problem(410, "gone");
        assert_eq!(
            (count(&app.store, "package_links"), read(&app, &id).await["subject_refs"].clone()),
            (0, json!([]))
        );
        audit_verifies(&app).await;
        app.stop().await;
    }
}
