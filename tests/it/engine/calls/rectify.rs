//! Corrections that go on at an HTTP service.

use rightful::{
    domain::request::{Outcome, Request, RunCode, Status},
    service::error::ServiceError,
};
use serde_json::{Value, json};

use super::{JANE, JOE, SCHEMA, Shop, at_service, rows};
use crate::{
    engine::{code, pacing},
    support::{
        faulty::Fault::LostReply,
        mailer::{Mailer, Twist},
    },
};

const NEW: &str = "jane.new@example.com";

fn plan(cascade: bool) -> String {
    let cascade = if cascade { "\n      cascade: true" } else { "" };
    format!(
        "plan: customer
subject:
  user_id: shop.users.id
  email: {{ column: shop.users.email, ignore_case: true }}
connections:
  shop:
    users:
      erase: delete
      rectify: [email]{cascade}
  mailer:
    contacts:
      match: {{ email: shop.users.email }}
      erase: {{ call: \"DELETE /contacts/{{email}}\", verify: \"GET /contacts/{{email}}\" }}
      export: \"GET /contacts/{{email}}\"
      rectify: {{ call: \"PATCH /contacts/{{email}}\", fields: [email, name] }}
"
    )
}

async fn corrected(shop: &Shop, changes: Value) -> Request {
    let id = shop.harness.rectify("customer", json!({ "user_id": 1 }), changes).await.expect("accepted");
    shop.harness.run(id).await
}

/// Where changes are refused.
async fn refused(shop: &Shop, changes: Value) -> Vec<String> {
    match shop.harness.rectify("customer", json!({ "user_id": 1 }), changes).await {
        Err(ServiceError::Changes(fault)) => fault.errors.into_iter().map(|error| error.pointer).collect(),
        other => panic!("not refused: {other:?}"),
    }
}

fn email(shop: &Shop) -> Option<String> {
    shop.target.rows("SELECT email FROM users WHERE id = 1").remove(0).remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_reaches_the_service_that_is_found_by_the_old_one() {
    let mailer = Mailer::start(&[JANE, JOE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, &plan(true)).await;
    let changes = json!({ "shop.users": { "email": NEW }, "mailer.contacts": { "name": "Jane N." } });
    let request = corrected(&shop, changes).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    let names: Vec<&str> = request.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["shop.users", "mailer.contacts"], "what a database refuses is never sent");
    assert_eq!(email(&shop).as_deref(), Some(NEW));
    assert_eq!(rows(at_service(&request)), (Some(1), 1, 0));
    let mut left = mailer.contacts();
    left.sort();
    assert_eq!(left, [NEW, JOE]);
    assert_eq!(mailer.contact(NEW).unwrap()["name"], "Jane N.");
    let events = shop.store.store.request_events(request.id, 0, 100).await.unwrap();
    let batch = events
        .iter()
        .find(|event| event.event == "step.batch" && event.step.as_deref() == Some("mailer.contacts"));
    assert_eq!(batch.unwrap().details["fields"], json!(["email", "name"]));
    let log: String = events.iter().map(|event| event.details.to_string()).collect();
    assert!(!log.contains("jane") && !log.contains("Jane"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_left_behind_unasked() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, &plan(false)).await;
    let alone = json!({ "shop.users": { "email": NEW } });
    assert_eq!(refused(&shop, alone).await, ["/changes/shop.users/email"]);
    let other =
        json!({ "shop.users": { "email": NEW }, "mailer.contacts": { "email": "other@example.com" } });
    assert_eq!(refused(&shop, other).await, ["/changes/mailer.contacts/email"]);
    let lost = json!({ "mailer.contacts": { "email": NEW, "name": "Jane" } });
    assert_eq!(refused(&shop, lost).await, ["/changes/mailer.contacts/email"], "nothing would lead there");
    let unknown = json!({ "mailer.contacts": { "phone": "1" } });
    assert_eq!(refused(&shop, unknown).await, ["/changes/mailer.contacts/phone"]);
    let both = json!({ "shop.users": { "email": NEW }, "mailer.contacts": { "email": NEW } });
    let request = corrected(&shop, both).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(mailer.contacts(), [NEW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_made_once_though_its_record_was_lost_and_the_service_was_busy() {
    let mailer = Mailer::start(&[JANE]).await;
    let (shop, faults) = Shop::faulty(mailer.service(), SCHEMA, &plan(true), pacing()).await;
    faults.next(&[LostReply]);
    mailer.next("PATCH", Twist::Status(503));
    let request = corrected(&shop, json!({ "shop.users": { "email": NEW } })).await;
    assert_eq!(request.status(), Status::Paused, "{:?}", request.state);
    assert_eq!(email(&shop).as_deref(), Some(NEW), "it was committed, and nobody was told");
    let request = shop.go_on(&request).await;
    assert_eq!(request.status(), Status::Paused, "the service is busy: {:?}", request.state);
    assert_eq!(mailer.contacts(), [JANE]);
    let request = shop.go_on(&request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(mailer.contacts(), [NEW]);
    for step in &request.steps {
        assert_eq!(rows(step), (Some(1), 1, 0), "{step:?}");
    }
}

/// The contact has the new address and not the new name: that nothing is found under the old one proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_changes_only_a_part_is_not_believed() {
    let mailer = Mailer::start(&[JANE]).await;
    let shop = Shop::new(mailer.service(), SCHEMA, &plan(true)).await;
    mailer.next("PATCH", Twist::Partly);
    let changes = json!({ "shop.users": { "email": NEW }, "mailer.contacts": { "name": "Jane N." } });
    let mut request = corrected(&shop, changes).await;
    for _ in 0..2 {
        assert!(!request.status().is_end(), "{:?}", request.state);
        assert_eq!(code(&request), Some(RunCode::RowsRemaining), "{:?}", request.state);
        request = shop.go_on(&request).await;
    }
    mailer.set(NEW, "name", "Jane N.");
    let request = shop.go_on(&request).await;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
    assert_eq!(rows(at_service(&request)), (Some(1), 1, 0));
}
