//! The audit log over HTTP.

use rightful::domain::{audit::Event, clock::Clock};
use serde_json::{Value, json};

use super::{app, apps};
use crate::support::app::TestApp;

async fn some_history(app: &TestApp) -> [Value; 2] {
    let admin = app.admin();
    let first = admin.submit(1).await.ok();
    let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "email": "user2@example.com" } });
    let second = app.user("bob", &["admin"]).post("/v1/requests", &body).await.ok();
    admin.post(&format!("{}/cancel", first["links"]["self"].as_str().unwrap()), &json!({})).await.ok();
    [first, second]
}

fn events(page: &Value) -> Vec<(&str, &str)> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|event| (event["event"].as_str().unwrap(), event["actor"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_filter_and_by_person() {
    for app in apps().await {
        let before = Clock.now();
        let [first, second] = some_history(&app).await;
        let auditor = app.auditor();
        let all = auditor.get("/v1/audit").await.ok();
        assert_eq!(
            events(&all)[..3],
            [("request.cancelled", "alice"), ("request.created", "bob"), ("request.created", "alice")]
        );
        assert!(events(&all).iter().any(|(event, _)| *event == "plan.registered"));
        let id = |request: &Value| request["id"].as_str().unwrap().to_owned();
        let refs = |request: &Value| request["subject_refs"][0]["ref"].as_str().unwrap().to_owned();
        let from = rightful::domain::audit::timestamp(before);
        for (query, expected) in [
            (format!("request_id={}", id(&second)), vec!["request.created"]),
            ("event=request.cancelled".to_owned(), vec!["request.cancelled"]),
            ("actor=bob".to_owned(), vec!["request.created"]),
            (format!("from={from}&actor=alice"), vec!["request.cancelled", "request.created"]),
            (format!("to={from}&actor=alice"), vec![]),
            (format!("subject_ref={}", refs(&first)), vec!["request.cancelled", "request.created"]),
            ("subject_ref=0".to_owned(), vec![]),
        ] {
            let page = auditor.get(&format!("/v1/audit?{query}")).await.ok();
            let names: Vec<&str> = events(&page).into_iter().map(|(event, _)| event).collect();
            assert_eq!(names, expected, "{query}");
        }
        let person = json!({ "plan": "customer", "subject": { "email": "USER2@example.com" } });
        let found = auditor.post("/v1/audit/search", &person).await.ok();
        assert_eq!(events(&found), [("request.created", "bob")]);
        let nobody = json!({ "plan": "customer", "subject": { "user_id": 99 } });
        assert_eq!(auditor.post("/v1/audit/search", &nobody).await.ok()["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_query_is_refused() {
    let app = app().await;
    for query in ["request_id=1", "event=request.eaten", "from=now", "limit=0", "cursor=x", "subject=jane"] {
        app.auditor().get(&format!("/v1/audit?{query}")).await.problem(422, "invalid_body");
    }
    app.auditor().get("/v1/audit/export?format=xml").await.problem(422, "invalid_body");
    for (body, code) in [
        (json!({ "plan": "customer" }), "invalid_body"),
        (json!({ "plan": "other", "subject": { "user_id": 1 } }), "unknown_plan"),
        (json!({ "plan": "customer", "subject": { "phone": 1 } }), "unknown_identity"),
        (json!({ "plan": "customer", "subject": { "user_id": true } }), "invalid_identity"),
    ] {
        app.auditor().post("/v1/audit/search", &body).await.problem(422, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_events_hold_each_once() {
    for app in apps().await {
        for number in 1..=5 {
            app.admin().submit(number).await.ok();
        }
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = format!("/v1/audit?limit=2&event=request.created{cursor}");
            let page = app.auditor().get(&query).await.ok();
            seen.extend(page["items"].as_array().unwrap().iter().map(|event| event["id"].to_string()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut newest_first = seen.clone();
        newest_first.sort_by(|a, b| b.cmp(a));
        newest_first.dedup();
        assert_eq!((seen.len(), &seen), (5, &newest_first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_is_the_log_and_verifies() {
    for app in apps().await {
        some_history(&app).await;
        let auditor = app.auditor();
        let csv = auditor.get("/v1/audit/export?format=csv&event=request.created").await;
        assert!(csv.header("content-type").starts_with("text/csv"));
        let mut rows = csv::Reader::from_reader(csv.text.as_bytes());
        assert_eq!(rows.records().filter(|row| row.as_ref().unwrap()[4] == *"request.created").count(), 2);
        let reply = auditor.get("/v1/audit/export").await;
        assert_eq!(reply.header("content-type"), "application/x-ndjson");
        let exported: Vec<Event> =
            reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(exported.len() >= 4 && exported.iter().all(|event| event.computed_hash() == event.hash));
        let verified = auditor.get("/v1/audit/verify").await.ok();
        assert_eq!((&verified["ok"], &verified["events"]), (&json!(true), &json!(exported.len())));
        let mut heads = std::collections::BTreeMap::new();
        for event in &exported {
            heads.insert(event.stream.clone(), (event.seq, event.hash.clone()));
        }
        let lines: String =
            heads.iter().map(|(stream, (seq, hash))| format!("{stream} {seq} {hash}\n")).collect();
        let head = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, lines.as_bytes());
        assert_eq!(verified["head"], rightful::domain::audit::hex(head.as_ref()));
    }
}

/// Somebody with the file in hand and the triggers out of the way.
pub fn damage(app: &TestApp, sql: &str) {
    use diesel::{Connection, connection::SimpleConnection};
    let file = app.store.file().unwrap();
    let mut conn = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let triggers = "SELECT 'DROP TRIGGER ' || name AS sql FROM sqlite_master WHERE type = 'trigger'";
    #[derive(diesel::QueryableByName)]
    struct Statement {
        #[diesel(sql_type = diesel::sql_types::Text)]
        sql: String,
    }
    let drops: Vec<Statement> = diesel::RunQueryDsl::load(diesel::sql_query(triggers), &mut conn).unwrap();
    for drop in drops {
        conn.batch_execute(&drop.sql).unwrap();
    }
    conn.batch_execute(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_log_is_told_where() {
    for (sql, seq, reason) in [
        ("UPDATE audit_events SET actor = 'mallory' WHERE stream = :s AND seq = 1", 1, "hash_mismatch"),
        ("DELETE FROM audit_events WHERE stream = :s AND seq = 1", 1, "sequence_gap"),
        ("DELETE FROM audit_events WHERE stream = :s AND seq = 2", 2, "tail_missing"),
        ("DELETE FROM audit_events WHERE stream = :s", 1, "tail_missing"),
    ] {
        let app = app().await;
        let [first, _] = some_history(&app).await;
        let stream = format!("request:{}", first["id"].as_str().unwrap());
        damage(&app, &sql.replace(":s", &format!("'{stream}'")));
        let verified = app.auditor().get("/v1/audit/verify").await.ok();
        assert_eq!(
            verified,
            json!({
                "ok": false, "events": null, "head": null, "tree_size": null, "root": null, "waiting": null,
                "checkpoints": null, "signatures": null,
                "broken": { "stream": stream, "seq": seq, "reason": reason, "index": null },
            }),
            "{sql}"
        );
    }
}
