//! Webhooks over real HTTP: every change of a status is told, signed, until it is confirmed.

use std::{collections::BTreeMap, time::Duration};

use chrono::DateTime;
use rightful::{
    connectors::web::WebClient,
    domain::webhook::SigningKey,
    service::webhooks::{Endpoint, Webhooks, deliver, run},
};
use serde_json::{Value, json};

use crate::support::{
    app::{Setup, TestApp, eventually},
    receiver::Receiver,
    stores::{TestStore, stores},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn app(store: TestStore, url: &str, private_hosts: &[&str]) -> TestApp {
    let endpoint = Endpoint { url: format!("{url}/hook"), key: SigningKey::parse(SECRET).unwrap() };
    let webhooks = Webhooks {
        endpoints: BTreeMap::from([("panel".to_owned(), endpoint)]),
        client: WebClient::new(private_hosts.iter().map(|host| (*host).to_owned())).unwrap(),
    };
    TestApp::with(store, Setup { webhooks, ..Setup::default() }).await
}

async fn deliveries(app: &TestApp) -> Vec<Value> {
    app.admin().get("/v1/webhooks?limit=500").await.ok()["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_status_is_told_signed_and_without_personal_data() {
    for store in stores().await {
        let receiver = Receiver::default();
        let mut app = app(store, &receiver.listen(), &["127.0.0.1"]).await;
        app.work();
        let body = json!({
            "kind": "erasure", "plan": "customer", "subject": { "email": "user7@example.com" },
            "external_id": "ZD-1234", "reason": "asked by e-mail",
        });
        let request = app.admin().post("/v1/requests", &body).await.ok();
        app.admin().until_end(request["id"].as_str().unwrap()).await;
        // Refused, so nothing to tell of.
        app.admin().post("/v1/requests", &json!({ "plan": "customer" })).await.problem(422, "invalid_body");
        while deliver(&app.service).await.unwrap() > 0 {}

        let mut seen = receiver.seen();
        seen.sort_by(|a, b| a.id.cmp(&b.id));
        let told: Vec<(String, String)> = seen
            .iter()
            .map(|call| {
                let body = call.json();
                (
                    body["type"].as_str().unwrap().to_owned(),
                    body["data"]["status"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        let of = |event: &str, status: &str| (format!("request.{event}"), status.to_owned());
        assert_eq!(
            told,
            [of("created", "approved"), of("started", "in_progress"), of("completed", "completed")]
        );
        let last = seen[2].json();
        assert_eq!(
            last["data"],
            json!({
                "id": request["id"], "kind": "erasure", "plan": "customer", "status": "completed",
                "outcome": "done_with_exceptions", "links": { "self": request["links"]["self"] },
            })
        );
        let key = SigningKey::parse(SECRET).unwrap();
        for call in &seen {
            let at = DateTime::from_timestamp_secs(call.timestamp).unwrap();
            assert!((app.service.clock.now() - at).num_seconds() < 60);
            assert_eq!(call.signature, key.sign(call.id.parse().unwrap(), at, &call.body));
            assert_eq!(call.path, "/hook");
            for personal in ["user7", "ZD-1234", "asked"] {
                assert!(!call.body.contains(personal), "{call:?}");
            }
        }
        for delivery in deliveries(&app).await {
            assert!(!delivery["delivered_at"].is_null() && delivery["next_attempt_at"].is_null());
            assert_eq!((&delivery["attempts"], &delivery["webhook"]), (&json!(1), &json!("panel")));
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_confirmed_is_told_again_under_the_same_id() {
    for store in stores().await {
        let receiver = Receiver::default();
        receiver.will_answer(&[500]);
        let app = app(store, &receiver.listen(), &["127.0.0.1"]).await;
        app.admin().submit(1).await.ok();
        assert_eq!(deliver(&app.service).await.unwrap(), 1);
        let waiting = &deliveries(&app).await[0];
        assert_eq!((&waiting["failure"], &waiting["attempts"]), (&json!("status 500"), &json!(1)));
        assert!(waiting["delivered_at"].is_null() && !waiting["next_attempt_at"].is_null());
        assert_eq!(deliver(&app.service).await.unwrap(), 0, "not before its time");
        eventually("the second attempt", async || deliver(&app.service).await.unwrap() == 1).await;
        let done = &deliveries(&app).await[0];
        assert_eq!((&done["failure"], &done["attempts"]), (&Value::Null, &json!(2)));
        let seen = receiver.seen();
        assert_eq!((seen.len(), &seen[0].id, &seen[0].body), (2, &seen[1].id, &seen[1].body));

        // Once more, because somebody asks for it.
        let redeliver = format!("/v1/webhooks/{}/redeliver", done["id"].as_str().unwrap());
        let again = app.admin().call(reqwest::Method::POST, &redeliver, None, &[]).await;
        assert_eq!((again.status.as_u16(), &again.ok()["attempts"]), (202, &json!(0)));
        assert_eq!(deliver(&app.service).await.unwrap(), 1);
        assert_eq!(receiver.seen()[2].id, seen[0].id);
        let nobody = "/v1/webhooks/019a0000-0000-7000-8000-000000000000/redeliver";
        app.admin().post(nobody, &json!({})).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_left_alone_and_no_redirect_is_followed() {
    for store in stores().await {
        let receiver = Receiver::default();
        receiver.will_answer(&[410, 302]);
        let app = app(store, &receiver.listen(), &["127.0.0.1"]).await;
        let first = app.admin().submit(1).await.ok();
        deliver(&app.service).await.unwrap();
        app.admin().submit(2).await.ok();
        deliver(&app.service).await.unwrap();
        let [redirected, gone] = &deliveries(&app).await[..] else { panic!("two deliveries") };
        assert_eq!((&gone["failure"], &gone["next_attempt_at"]), (&json!("status 410"), &Value::Null));
        assert_eq!(redirected["failure"], "status 302");
        assert!(!redirected["next_attempt_at"].is_null());
        assert!(receiver.seen().iter().all(|call| call.path == "/hook"));
        let path = format!("/v1/webhooks?request_id={}", first["id"].as_str().unwrap());
        assert_eq!(app.admin().get(&path).await.ok()["items"], json!([gone]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_that_is_not_listed_is_not_called() {
    for store in stores().await {
        let receiver = Receiver::default();
        let app = app(store, &receiver.listen(), &[]).await;
        app.admin().submit(1).await.ok();
        deliver(&app.service).await.unwrap();
        let failure = deliveries(&app).await[0]["failure"].as_str().unwrap().to_owned();
        assert!(failure.contains("outbound.private_hosts"), "{failure}");
        assert!(receiver.seen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_belongs_to_one_process_at_a_time() {
    for store in stores().await {
        let app = app(store, "http://127.0.0.1:9", &[]).await;
        for person in 1..=20 {
            app.admin().submit(person).await.ok();
        }
        let store = &app.service.store;
        let (first, second) = tokio::join!(store.take_deliveries(50), store.take_deliveries(50));
        let (first, second) = (first.unwrap(), second.unwrap());
        let mut ids: Vec<_> = first.iter().chain(&second).map(|delivery| delivery.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!((first.len() + second.len(), ids.len()), (20, 20));
        // Nobody settled them: they come back.
        for delivery in deliveries(&app).await {
            let next: DateTime<chrono::Utc> = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
            let seconds = (next - app.service.clock.now()).num_seconds();
            assert!((30..=60).contains(&seconds), "{seconds}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_answer_keeps_nobody_from_stopping() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let app = app(crate::support::stores::sqlite_store().await, &url, &["127.0.0.1"]).await;
    app.admin().submit(1).await.ok();
    let stop = tokio::sync::watch::Sender::new(false);
    let running = tokio::spawn(run(app.service.clone(), stop.subscribe()));
    eventually("an attempt", async || deliveries(&app).await[0]["attempts"] == 1).await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it stops at once").unwrap();
    assert!(!deliveries(&app).await[0]["next_attempt_at"].is_null(), "and comes back");
}
