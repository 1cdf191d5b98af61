//! Erasures that go on at an HTTP service: across both, and whatever the service answers.

mod answers;
mod rectify;
mod resume;

use rightful::{
    connectors::http::HttpService,
    domain::request::{Outcome, Request, RunCode, Status, StepState, StepStatus},
    service::{Pacing, preview::preview},
};
use serde_json::json;

use super::{code, count, pacing};
use crate::support::{
    faulty::Faults,
    harness::Harness,
    mailer::Mailer,
    stores::{TestStore, sqlite_store, stores},
    targets::{Dialect, Target, target, targets},
};

pub const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
connections:
  shop:
    users:
      erase: delete
  mailer:
    contacts:
      match: { email: shop.users.email }
      erase: { call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }
      export: \"GET /contacts/{email}\"
";

pub const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
    INSERT INTO users VALUES (1, 'jane+a/b@example.com'), (2, 'joe@example.com');";

pub const JANE: &str = "jane+a/b@example.com";
pub const JOE: &str = "joe@example.com";

/// A shop on SQLite with one registered plan, and a mailing service as that configuration has it.
pub struct Shop {
    pub harness: Harness,
    pub target: Target,
    pub store: TestStore,
}

impl Shop {
    pub async fn new(service: HttpService, schema: &str, plan: &str) -> Self {
        Self::faulty(service, schema, plan, pacing()).await.0
    }

    /// As [`new`](Self::new), with a database whose commits can be made to go wrong.
    pub async fn faulty(service: HttpService, schema: &str, plan: &str, pacing: Pacing) -> (Self, Faults) {
        let target = target(Dialect::Sqlite).unwrap();
        let store = sqlite_store().await;
        target.execute(schema);
        let connections = [("shop", target.url.as_str())];
        let service = ("mailer", service);
        let (harness, faults) =
            Harness::faulty_with_service(store.store.clone(), &connections, service, pacing);
        harness.register(plan).await.unwrap_or_else(|faults| panic!("{faults}"));
        (Self { harness, target, store }, faults)
    }

    /// Erases Jane, up to where it ends or waits.
    pub async fn erase(&self) -> Request {
        let id = self.harness.submit("customer", json!({ "user_id": 1 })).await;
        self.harness.run(id).await
    }

    pub async fn go_on(&self, request: &Request) -> Request {
        self.harness.make_due(request.id).await;
        self.harness.run(request.id).await
    }
}

pub fn at_service(request: &Request) -> &StepState {
    request.steps.iter().find(|step| step.name.starts_with("mailer.")).unwrap()
}

/// matched, affected, withheld.
pub fn rows(step: &StepState) -> (Option<i64>, i64, i64) {
    (step.rows_matched, step.rows_affected, step.rows_withheld)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_covers_a_database_and_a_service() {
    for target in targets() {
        for store in stores().await {
            let mailer = Mailer::start(&[JANE, JOE]).await;
            target.execute(SCHEMA);
            let connections = [("shop", target.url.as_str())];
            let harness = Harness::with_service(
                store.store.clone(),
                &connections,
                ("mailer", mailer.service()),
                pacing(),
            );
            harness.register(PLAN).await.unwrap();
            let id = harness.submit("customer", json!({ "email": "JANE+a/b@example.com" })).await;
            let request = harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
            let names: Vec<&str> = request.steps.iter().map(|step| step.name.as_str()).collect();
            assert_eq!(names, ["mailer.contacts", "shop.users"], "the person's row goes last");
            let step = at_service(&request);
            assert_eq!((step.action.as_str(), step.rows_remaining), ("call", Some(0)));
            assert_eq!((rows(step), step.batches), ((Some(1), 1, 0), 1));
            assert_eq!((mailer.contacts(), count(&target, "users")), (vec![JOE.to_owned()], 1));
            let [deleted] = &mailer.seen("DELETE")[..] else { panic!("{:?}", mailer.seen("DELETE")) };
            assert_eq!(deleted.path, "/api/contacts/jane%2Ba%2Fb%40example.com", "one piece of the path");
            let key = deleted.idempotency_key.as_deref().unwrap();
            let call = key.strip_suffix("-0").expect("no call of it went wrong");
            assert!(call.len() == 32 && call.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
            audited(&harness, &request).await;
            assert!(store.store.key_parts(id, "").await.unwrap().is_empty(), "sealed keys are destroyed");
            target.execute("DROP TABLE users");
        }
    }
}

/// Announced, called, recorded and verified, and nothing of the person in it.
async fn audited(harness: &Harness, request: &Request) {
    let events = harness.service.store.request_events(request.id, 0, 100).await.unwrap();
    let steps: Vec<&str> = events
        .iter()
        .filter(|event| event.step.as_deref() == Some("mailer.contacts"))
        .map(|event| event.event.as_str())
        .collect();
    assert_eq!(steps, ["step.started", "step.batch", "step.completed", "step.verified"]);
    let text = format!("{events:?}").to_lowercase();
    assert!(!text.contains("jane") && !text.contains("a%2fb"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_needs_no_call() {
    let mailer = Mailer::start(&[JOE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    let request = shop.erase().await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(rows(at_service(&request)), (Some(0), 0, 0));
    assert_eq!(mailer.seen("DELETE"), []);
}

/// The keys lie in a table whose rows go as well: several per person, one of them twice, one empty.
#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_the_person_is_called_for_once() {
    let schema = format!(
        "{SCHEMA} CREATE TABLE emails (id INTEGER PRIMARY KEY, user_id INTEGER, address VARCHAR(100));
         INSERT INTO emails VALUES (1, 1, 'b@example.com'), (2, 1, 'b@example.com'), (3, 1, ''),
           (4, 1, NULL), (5, 1, '{JANE}'), (6, 1, 'gone@example.com'), (7, 2, 'joe2@example.com');"
    );
    let plan = PLAN
        .replace(
            "{ email: shop.users.email }",
            "[ { email: shop.users.email }, { email: shop.emails.address } ]",
        )
        .replace("  mailer:", "    emails: { match: { user_id: users.id }, erase: delete }\n  mailer:");
    let mailer = Mailer::start(&[JANE, "b@example.com", "joe2@example.com"]).await;
    let shop = Shop::new(mailer.service(), &schema, &plan).await;
    let request = shop.erase().await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(rows(at_service(&request)), (Some(2), 2, 0));
    assert_eq!((mailer.contacts(), count(&shop.target, "emails")), (vec!["joe2@example.com".to_owned()], 1));
    let keys: Vec<_> = mailer.seen("DELETE").into_iter().map(|seen| seen.idempotency_key).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_withheld_as_far_as_it_is_there() {
    let call = "{ call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }";
    let export = "      export: \"GET /contacts/{email}\"\n";
    for (export_line, contacts, withheld) in
        [(export, &[JANE][..], 1), (export, &[], 0), ("      export: none\n", &[], 1)]
    {
        let plan = PLAN.replace(call, "{ keep: they asked for it }").replace(export, export_line);
        let mailer = Mailer::start(contacts).await;
        let shop = Shop::new(mailer.service(), SCHEMA, &plan).await;
        let request = shop.erase().await;
        let step = at_service(&request);
        assert_eq!((step.action.as_str(), rows(step)), ("keep", (Some(withheld), 0, withheld)));
        let (status, outcome) = match withheld {
            0 => (StepStatus::Completed, Outcome::Done),
            _ => (StepStatus::Withheld, Outcome::DoneWithExceptions),
        };
        assert_eq!((step.status, request.state.outcome()), (status, Some(outcome)));
        assert_eq!((mailer.seen("DELETE"), mailer.contacts().len()), (vec![], contacts.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_asks_the_service_or_says_why_not() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    let service = &shop.harness.service;
    let registered = rightful::service::intake::registered(service, "customer").unwrap();
    let subject = rightful::domain::request::Subject([("user_id".to_owned(), json!(1))].into());
    let look = || preview(service, &registered, rightful::domain::request::Kind::Erasure, &subject, None);
    let counted = look().await.unwrap();
    let step = &counted.steps[0];
    assert_eq!((step.name.as_str(), step.action, step.matched), ("mailer.contacts", "call", Some(1)));
    assert_eq!(counted.warnings, Vec::<String>::new());
    mailer.next("GET", crate::support::mailer::Twist::Status(500));
    let counted = look().await.unwrap();
    assert_eq!((counted.steps[0].matched, counted.steps[1].matched), (None, Some(1)));
    assert_eq!(
        counted.warnings,
        ["mailer.contacts was not counted: it answered with status 500"],
        "the rest is counted"
    );
    assert_eq!(mailer.contacts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_no_more_configured_pauses_the_request() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, PLAN).await;
    let id = shop.harness.submit("customer", json!({ "user_id": 1 })).await;
    let without = Harness::new(shop.store.store.clone(), &[("shop", &shop.target.url)], pacing());
    let request = without.run(id).await;
    assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}", request.state);
    assert_eq!((request.status(), count(&shop.target, "users")), (Status::Paused, 2));
}
