//! What HTTP services hold, in the package of an export.

use rightful::{
    domain::request::{Kind, Outcome, RunCode, Status},
    service::Pacing,
};
use serde_json::{Value, json};

use crate::support::{
    harness::Harness,
    mailer::{Mailer, Twist},
    package::{package, rows, unzip},
    stores::stores,
    targets::{Dialect, target},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
      export: [id]
    emails:
      match: { user_id: users.id }
      erase: delete
      export: none
  mailer:
    contacts:
      match: { email: shop.emails.address }
      erase: { call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }
      export: \"GET /contacts/{email}\"
      about: { purpose: letters }
";

const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY);
    CREATE TABLE emails (id INTEGER PRIMARY KEY, user_id INTEGER, address TEXT);
    INSERT INTO users VALUES (1), (2);
    INSERT INTO emails VALUES (1, 1, 'a@example.com'), (2, 1, 'b@example.com'), (3, 1, 'gone@example.com'),
      (4, 2, 'joe@example.com');";

#[tokio::test(flavor = "multi_thread")]
async fn a_package_holds_what_services_answer() {
    for store in stores().await {
        let shop = target(Dialect::Sqlite).unwrap();
        shop.execute(SCHEMA);
        let mailer = Mailer::start(&["a@example.com", "b@example.com", "joe@example.com"]).await;
        let connections = [("shop", shop.url.as_str())];
        let service = ("mailer", mailer.service());
        let harness = Harness::with_service(store.store.clone(), &connections, service, Pacing::default());
        harness.register(PLAN).await.unwrap();
        let id = harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let step = request.steps.iter().find(|step| step.name == "mailer.contacts").unwrap();
        assert_eq!((step.action.as_str(), step.rows_matched, step.rows_affected), ("export", Some(2), 2));
        let files = unzip(&package(&harness.service, id).await);
        let row = |email: &str| {
            json!({
                "key": { "email": email }, "content_type": "application/json",
                "content": { "email": email, "name": "A name" },
            })
        };
        assert_eq!(rows(&files, "mailer.contacts"), [row("a@example.com"), row("b@example.com")]);
        let manifest: Value = serde_json::from_str(&files["manifest.json"]).unwrap();
        let part =
            manifest["files"].as_array().unwrap().iter().find(|file| file["step"] == "mailer.contacts");
        assert_eq!(part.unwrap()["about"], json!({ "purpose": ["letters"] }));
        assert_eq!((mailer.seen("DELETE"), mailer.contacts().len()), (vec![], 3));
    }
}

/// The second of two resources is not handed out: there is no package, and the next attempt makes a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_in_the_middle_leaves_no_package() {
    let store = crate::support::stores::sqlite_store().await;
    let shop = target(Dialect::Sqlite).unwrap();
    shop.execute(SCHEMA);
    let mailer = Mailer::start(&["a@example.com", "b@example.com"]).await;
    let service = ("mailer", mailer.service());
    let harness =
        Harness::with_service(store.store.clone(), &[("shop", &shop.url)], service, Pacing::default());
    harness.register(PLAN).await.unwrap();
    let id = harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
    // Three are looked for at first; then they are read one after the other.
    for _ in 0..4 {
        mailer.next("GET", Twist::Usual);
    }
    mailer.next("GET", Twist::Busy(503, "60".to_owned()));
    let request = harness.run(id).await;
    let error = request.state.error().expect("an error");
    assert_eq!((request.status(), error.code), (Status::Paused, RunCode::ConnectionUnavailable));
    assert_eq!(error.step.as_deref(), Some("mailer.contacts"));
    assert!(store.store.package(id).await.unwrap().is_none());
    harness.make_due(id).await;
    let request = harness.run(id).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    let files = unzip(&package(&harness.service, id).await);
    assert_eq!(rows(&files, "mailer.contacts").len(), 2);
}
