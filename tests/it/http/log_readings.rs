//! Whoever reads the audit log stands in it.

use futures::future::join_all;
use serde_json::{Value, json};

use super::apps;
use crate::{
    store::support::raw,
    support::app::{TestApp, User},
};

const PERSON: &str = "user2@example.com";

fn person() -> Value {
    json!({ "plan": "customer", "subject": { "user_id": 2, "email": PERSON } })
}

/// What is on record of this reader, the last first, read by somebody else.
async fn readings(app: &TestApp, reader: &str) -> Vec<(String, Value)> {
    let page = app.user("controller", &["auditor"]).get(&format!("/v1/audit?actor={reader}")).await.ok();
    let events = page["items"].as_array().unwrap().iter();
    let events = events.filter(|event| event["event"].as_str().unwrap().starts_with("audit."));
    let told = |event: &Value| {
        assert!(event["stream"].as_str().unwrap().starts_with("reading:2"), "{event}");
        (event["event"].as_str().unwrap().to_owned(), event["details"].clone())
    };
    events.map(told).collect()
}

async fn intact(app: &TestApp) {
    let verified = app.user("controller", &["auditor"]).get("/v1/audit/verify").await.ok();
    assert_eq!(verified["ok"], true, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reading_says_what_was_looked_for() {
    for app in apps().await {
        let request = app.admin().submit(2).await.ok();
        let (id, known) = (&request["id"], &request["subject_refs"][0]["ref"]);
        let auditor = app.auditor();
        auditor.get("/v1/audit").await.ok();
        let query = format!(
            "/v1/audit?request_id={}&event=request.created&actor=alice&subject_ref={}&from=2020-01-01T00:00:00Z",
            id.as_str().unwrap(),
            known.as_str().unwrap()
        );
        let found = auditor.get(&query).await.ok();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "no page begins with its own reading");
        auditor.post("/v1/audit/search", &person()).await.ok();
        let exported = auditor.get("/v1/audit/export?format=csv&to=2120-01-01T00:00:00Z").await;
        assert!(
            exported.text.lines().last().unwrap().contains("audit.exported"),
            "its own event is the last"
        );
        let verified = auditor.get("/v1/audit/verify").await.ok();
        auditor.get("/v1/audit/summary?kind=erasure").await.ok();
        let told = readings(&app, "audrey").await;
        let expected = [
            ("audit.summarised", json!({ "kind": ["erasure"], "format": "json" })),
            ("audit.verified", json!({ "ok": true, "events": verified["events"], "head": verified["head"] })),
            ("audit.exported", json!({ "format": "csv", "to": "2120-01-01T00:00:00.000000Z" })),
            ("audit.searched", json!({ "plan": "customer", "identities": ["email", "user_id"] })),
            (
                "audit.read",
                json!({
                    "request_id": id, "event": "request.created", "actor": "alice", "subject_ref": known,
                    "from": "2020-01-01T00:00:00.000000Z",
                }),
            ),
            ("audit.read", json!({})),
        ];
        assert_eq!(told, expected.map(|(event, details)| (event.to_owned(), details)));
        intact(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_a_reading_and_what_was_refused_is_none() {
    for app in apps().await {
        for number in 1..=3 {
            app.admin().submit(number).await.ok();
        }
        let query = "/v1/audit?event=request.created&limit=2";
        let first = app.auditor().get(query).await.ok();
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = app.auditor().get(&format!("{query}&cursor={cursor}")).await.ok();
        assert_eq!(second["items"].as_array().unwrap().len(), 1);
        app.auditor().get("/v1/audit?event=none").await.problem(422, "invalid_body");
        app.admin().get("/v1/audit").await.problem(403, "forbidden");
        assert_eq!(readings(&app, "audrey").await.len(), 2);
        assert_eq!(readings(&app, "alice").await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_identity_that_somebody_looks_for_gets_into_the_log() {
    for app in apps().await {
        let auditor = app.auditor();
        auditor.post("/v1/audit/search", &person()).await.ok();
        for wrong_place in ["actor", "subject_ref"] {
            for path in ["", "/export"] {
                let reply = auditor.get(&format!("/v1/audit{path}?{wrong_place}={PERSON}")).await;
                assert_eq!(reply.status, 200, "{reply:?}");
            }
        }
        let events = app.store.session().rows("SELECT * FROM audit_events");
        let text = format!("{events:?}");
        assert!(!text.contains("user2") && text.contains("audit.searched"), "{text}");
        let told = readings(&app, "audrey").await;
        assert_eq!(told[1], ("audit.read".to_owned(), json!({ "subject_ref": null })));
        assert_eq!(told[3], ("audit.read".to_owned(), json!({ "actor": null })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_at_the_same_time_keep_the_chain_whole() {
    for app in apps().await {
        app.admin().submit(2).await.ok();
        let users: Vec<User<'_>> = (0..4).map(|n| app.user(&format!("auditor{n}"), &["auditor"])).collect();
        let read = users.iter().flat_map(|user| {
            ["/v1/audit", "/v1/audit/verify", "/v1/audit/export", "/v1/audit/summary"]
                .map(|path| user.get(path))
        });
        for reply in join_all(read).await {
            assert_eq!(reply.status, 200, "{reply:?}");
            assert!(!reply.text.contains("\"ok\":false"), "{reply:?}");
        }
        let count = "SELECT count(*), count(DISTINCT seq) FROM audit_events WHERE event LIKE 'audit.%'";
        let seen = app.store.session().rows(count)[0].clone();
        assert_eq!(seen[0].as_deref(), Some("16"));
        intact(&app).await;
    }
}

/// A log that cannot be written in: for one by who has the rights, for another by a trigger.
async fn refuse_readings(app: &TestApp) {
    let sql = match app.store.is_sqlite() {
        true => "CREATE TRIGGER refuse BEFORE INSERT ON audit_readings BEGIN SELECT RAISE(ABORT, 'no'); END".to_owned(),
        false => "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT ON audit_readings FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
            .to_owned(),
    };
    raw(&app.store, &sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_that_cannot_be_put_on_record() {
    for app in apps().await {
        let request = app.admin().submit(2).await.ok();
        let path = format!("{}/events", request["links"]["self"].as_str().unwrap());
        refuse_readings(&app).await;
        let auditor = app.auditor();
        for path in ["/v1/audit", "/v1/audit/export", "/v1/audit/verify", "/v1/audit/summary", path.as_str()]
        {
            let reply = auditor.get(path).await;
            reply.problem(500, "internal");
            assert!(!reply.text.contains("request.created"), "{reply:?}");
        }
        auditor.post("/v1/audit/search", &person()).await.problem(500, "internal");
        // Whoever works with requests goes on.
        app.admin().get(&path).await.ok();
        app.admin().submit(3).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_request_are_on_record_when_an_auditor_reads_them() {
    for app in apps().await {
        let request = app.service_account("crm").submit(2).await.ok();
        let path = format!("{}/events", request["links"]["self"].as_str().unwrap());
        let both = app.user("panel", &["admin", "auditor"]);
        for user in [app.admin(), app.approver(), app.service_account("crm"), both, app.auditor()] {
            user.get(&path).await.ok();
        }
        for reader in ["alice", "arno", "crm", "panel"] {
            assert_eq!(readings(&app, reader).await, [], "{reader}");
        }
        let told = readings(&app, "audrey").await;
        assert_eq!(told, [("audit.read".to_owned(), json!({ "request_id": request["id"] }))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_name_is_a_formula_is_text_in_a_file() {
    for app in apps().await {
        let reader = app.user("=cmd|' /C calc'!A0", &["auditor"]);
        reader.get("/v1/audit").await.ok();
        let file = app.auditor().get("/v1/audit/export?format=csv&event=audit.read").await.text;
        let mut rows = csv::Reader::from_reader(file.as_bytes());
        assert_eq!(&rows.records().next().unwrap().unwrap()[7], "'=cmd|' /C calc'!A0");
    }
}
