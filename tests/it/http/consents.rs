//! Consents over HTTP: recorded, found by any identity, listed, and shown to whom they may be shown.

use chrono::TimeDelta;
use rightful::domain::{audit::timestamp, clock::Clock};
use serde_json::{Value, json};

use super::apps;
use crate::support::app::{TestApp, User};

const PATH: &str = "/v1/consents";
const HASH: &str = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";

fn act(subject: Value, purpose: &str, state: &str) -> Value {
    json!({
        "plan": "customer", "subject": subject, "purpose": purpose, "state": state,
        "text": { "version": "2026-01", "hash": HASH }, "source": "web",
    })
}

fn without(body: &Value, member: &str) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().remove(member);
    body
}

async fn search(user: &User<'_>, subject: Value, query: &str) -> Value {
    user.post(&format!("{PATH}/search{query}"), &json!({ "plan": "customer", "subject": subject })).await.ok()
}

fn subject_ref(consent: &Value, identity: &str) -> String {
    let refs = consent["subject_refs"].as_array().unwrap();
    let found = refs.iter().find(|named| named["identity"] == identity).unwrap();
    found["ref"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_recorded_and_found_by_any_identity() {
    for app in apps().await {
        let before = Clock.now();
        let mut body = act(json!({ "email": "User1@example.com" }), "newsletter", "given");
        body["note"] = json!("asked her twice");
        let reply = app.service_account("crm").post(PATH, &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let consent = reply.ok();
        let at = consent["at"].as_str().unwrap();
        assert!(at >= timestamp(before).as_str() && at <= timestamp(Clock.now()).as_str());
        let refs = consent["subject_refs"].clone();
        assert_eq!(
            consent,
            json!({
                "id": consent["id"], "plan": "customer", "subject": { "email": "User1@example.com" },
                "subject_refs": refs, "purpose": "newsletter", "state": "given",
                "text": { "version": "2026-01", "hash": HASH.to_lowercase() }, "source": "web",
                "note": "asked her twice", "at": at, "recorded_by": "crm", "recorded_at": at,
                "pseudonymised": false, "subject_found": true,
            })
        );
        let shown = without(&consent, "subject_found");
        let found = search(&app.admin(), json!({ "user_id": 1 }), "").await;
        assert_eq!(found, json!({ "current": [shown], "items": [shown], "next_cursor": null }));
        for identity in ["user_id", "email"] {
            let pseudonym = subject_ref(&consent, identity);
            let list = app.admin().get(&format!("{PATH}?subject_ref={pseudonym}")).await.ok();
            assert_eq!(list["items"], json!([shown]), "{identity}");
            let current = app.admin().get(&format!("{PATH}/current?subject_ref={pseudonym}")).await.ok();
            assert_eq!(current["items"], json!([shown]), "{identity}");
        }
        assert_eq!(search(&app.admin(), json!({ "user_id": 2 }), "").await["items"], json!([]));

        let log = app.auditor().get("/v1/audit?event=consent.recorded").await.ok();
        let event = &log["items"][0];
        assert_eq!(event["stream"], format!("consent:{}", consent["id"].as_str().unwrap()));
        assert_eq!((&event["actor"], &event["seq"]), (&json!("crm"), &json!(1)));
        assert_eq!(
            event["details"],
            json!({
                "plan": "customer", "purpose": "newsletter", "state": "given", "text_version": "2026-01",
                "text_hash": HASH.to_lowercase(), "source": "web", "at": at,
            })
        );
        // By either identity, though the event carries the pseudonym of one.
        for subject in [json!({ "user_id": 1 }), json!({ "email": "user1@example.com" })] {
            let body = json!({ "plan": "customer", "subject": subject });
            let found = app.auditor().post("/v1/audit/search", &body).await.ok();
            assert_eq!(found["items"], json!([event]), "{subject}");
        }
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
        if let Some(file) = app.store.file() {
            for ending in ["", "-wal"] {
                let bytes = std::fs::read(format!("{}{ending}", file.display())).unwrap_or_default();
                for secret in ["User1@example.com", "asked her twice"] {
                    assert!(
                        !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                        "{secret}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_records_once() {
    for app in apps().await {
        let body = act(json!({ "user_id": 3 }), "newsletter", "given");
        let key = [("idempotency-key", "form-17")];
        let first = app.admin().post_with(PATH, &body, &key).await;
        let again = app.admin().post_with(PATH, &body, &key).await;
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200));
        let (first, again) = (first.ok(), again.ok());
        assert_eq!(without(&first, "subject_found"), without(&again, "subject_found"));
        assert_eq!(again["subject_found"], Value::Null);
        let other = act(json!({ "user_id": 3 }), "newsletter", "withdrawn");
        app.admin().post_with(PATH, &other, &key).await.problem(422, "idempotency_key_reused");
        // Another principal's key is another key, and without one the same body is another act.
        assert_eq!(app.service_account("crm").post_with(PATH, &other, &key).await.status, 201);
        assert_eq!(app.admin().post(PATH, &body).await.status, 201);
        let found = search(&app.admin(), json!({ "user_id": 3 }), "").await;
        assert_eq!(found["items"].as_array().unwrap().len(), 3);
        assert_eq!(found["current"][0]["state"], "given");

        let calls = (0..6).map(|_| {
            let admin = app.admin();
            let body = act(json!({ "user_id": 4 }), "newsletter", "given");
            async move { admin.post_with(PATH, &body, &[("idempotency-key", "at once")]).await.ok() }
        });
        let ids: Vec<Value> =
            futures::future::join_all(calls).await.iter().map(|consent| consent["id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(
            search(&app.admin(), json!({ "user_id": 4 }), "").await["items"].as_array().unwrap().len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_history_join_and_the_latest_act_comes_first() {
    for app in apps().await {
        let start = Clock.now() - TimeDelta::days(10);
        // Recorded in another order than they were done.
        for day in [3, 1, 4, 1, 5] {
            let mut body = act(json!({ "user_id": 5 }), if day > 3 { "ads" } else { "newsletter" }, "given");
            body["at"] = json!(timestamp(start + TimeDelta::days(day)));
            app.admin().post(PATH, &body).await.ok();
        }
        app.admin().post(PATH, &act(json!({ "user_id": 6 }), "ads", "given")).await.ok();
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = search(&app.admin(), json!({ "user_id": 5 }), &format!("?limit=2{next}")).await;
            assert!(page["items"].as_array().unwrap().len() <= 2);
            seen.extend(page["items"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        let times: Vec<String> =
            seen.iter().map(|consent| consent["at"].as_str().unwrap().to_owned()).collect();
        let days = [5, 4, 3, 1, 1].map(|day| timestamp(start + TimeDelta::days(day)));
        assert_eq!(times, days);
        assert!(seen[3]["id"].as_str() > seen[4]["id"].as_str(), "the one recorded later first");
        let pseudonym = subject_ref(&seen[0], "user_id");
        let path = format!("{PATH}?subject_ref={pseudonym}");
        let of_purpose = app.auditor().get(&format!("{path}&purpose=ads")).await.ok();
        assert_eq!(of_purpose["items"].as_array().unwrap().len(), 2);
        let page = app.admin().get(&format!("{path}&limit=1")).await.ok();
        let cursor = page["next_cursor"].as_str().unwrap();
        let second = app.admin().get(&format!("{path}&limit=1&cursor={cursor}")).await.ok();
        assert_eq!(second["items"][0], seen[1]);
        app.admin().get(&format!("{PATH}?cursor={cursor}")).await.problem(422, "invalid_body");
        assert_eq!(app.admin().get(PATH).await.ok()["items"].as_array().unwrap().len(), 6);
    }
}

/// A state without what others recorded would be wrong; the identities are another matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_where_a_person_stands_and_nobody_elses_identities() {
    for app in apps().await {
        let (crm, shop) = (app.service_account("crm"), app.service_account("shop"));
        let own = crm.post(PATH, &act(json!({ "user_id": 7 }), "newsletter", "given")).await.ok();
        shop.post(PATH, &act(json!({ "email": "user7@example.com" }), "newsletter", "withdrawn")).await.ok();
        let found = search(&crm, json!({ "user_id": 7 }), "").await;
        assert_eq!(found["current"][0]["state"], "withdrawn");
        let subjects: Vec<&Value> =
            found["items"].as_array().unwrap().iter().map(|item| &item["subject"]).collect();
        assert_eq!(subjects, [&Value::Null, &json!({ "user_id": 7 })]);
        let pseudonym = subject_ref(&own, "user_id");
        let current = crm.get(&format!("{PATH}/current?subject_ref={pseudonym}")).await.ok();
        assert_eq!(current["items"], found["current"]);
        let listed = crm.get(PATH).await.ok();
        assert_eq!(listed["items"], json!([without(&own, "subject_found")]), "its own, without a name");
        assert_eq!(app.service_account("other").get(PATH).await.ok()["items"], json!([]));

        for (user, sees) in [(app.admin(), true), (app.approver(), true), (app.auditor(), false)] {
            let list = user.get(&format!("{PATH}?subject_ref={pseudonym}")).await.ok();
            let first = list["items"][0].as_object().unwrap();
            assert_eq!(first["subject"] == json!({ "email": "user7@example.com" }), sees);
            assert!(sees || (first["subject"].is_null() && first["note"].is_null()), "null, not absent");
            assert_eq!(first["subject_refs"].as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_with_their_place() {
    for app in apps().await {
        let good = act(json!({ "user_id": 8 }), "newsletter", "given");
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            body
        };
        let text = |version: &str, hash: &str| with("text", json!({ "version": version, "hash": hash }));
        let later = timestamp(Clock.now() + TimeDelta::seconds(120));
        let all = vec!["/plan", "/subject", "/purpose", "/state", "/text", "/source"];
        for (body, code, pointers) in [
            (json!({}), "invalid_body", all),
            (with("plan", json!("nowhere")), "unknown_plan", vec!["/plan"]),
            (with("subject", json!({ "phone": 1 })), "unknown_identity", vec!["/subject/phone"]),
            (with("subject", json!({ "user_id": "x" })), "invalid_identity", vec!["/subject/user_id"]),
            (with("purpose", json!("for jane@example.com")), "invalid_body", vec!["/purpose"]),
            (with("purpose", json!("x".repeat(201))), "invalid_body", vec!["/purpose"]),
            (with("state", json!("maybe")), "invalid_body", vec!["/state"]),
            (with("source", json!("pigeon")), "invalid_body", vec!["/source"]),
            (with("at", json!("yesterday")), "invalid_body", vec!["/at"]),
            (with("at", json!(later)), "invalid_body", vec!["/at"]),
            (with("note", json!("x".repeat(2001))), "invalid_body", vec!["/note"]),
            (with("more", json!(1)), "invalid_body", vec!["/more"]),
            (with("text", Value::Null), "invalid_body", vec!["/text"]),
            (with("text", json!("we sell it")), "invalid_body", vec!["/text"]),
            (
                with("text", json!({ "lang": "en" })),
                "invalid_body",
                vec!["/text/version", "/text/hash", "/text/lang"],
            ),
            (text("the second one", HASH), "invalid_body", vec!["/text/version"]),
            (text("2", &HASH[1..]), "invalid_body", vec!["/text/hash"]),
            (text("2", &"g".repeat(64)), "invalid_body", vec!["/text/hash"]),
        ] {
            let problem = app.admin().post(PATH, &body).await.problem(422, code);
            let errors = problem["errors"].as_array().unwrap();
            let found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
            assert_eq!(found, pointers, "{body}");
        }
        app.admin().get(&format!("{PATH}/current")).await.problem(422, "invalid_body");
        app.admin().get(&format!("{PATH}?subject=jane")).await.problem(422, "invalid_body");
        app.admin().post_with(PATH, &good, &[("idempotency-key", " ")]).await.problem(422, "invalid_body");
        assert_eq!(app.admin().get(PATH).await.ok()["items"], json!([]), "nothing was recorded");
        a_little_ahead_counts_as_now(&app, &good).await;
    }
}

async fn a_little_ahead_counts_as_now(app: &TestApp, good: &Value) {
    let mut body = good.clone();
    body["at"] = json!(timestamp(Clock.now() + TimeDelta::seconds(30)));
    body["note"] = Value::Null;
    let consent = app.admin().post(PATH, &body).await.ok();
    assert!(consent["at"].as_str().unwrap() <= timestamp(Clock.now()).as_str());
    body["subject"] = json!({ "user_id": 9999 });
    assert_eq!(app.admin().post(PATH, &body).await.ok()["subject_found"], false);
}
