//! Calls to an HTTP service beside those of an erasure: what is handed out, what is corrected, and what no key can make a
//! call mean.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rightful::{
    connectors::{
        ErrorKind, Keys,
        http::{Correction, Sent, Session, Target, targets},
    },
    domain::{
        call::{CallTemplate, NewFields},
        compile::compile,
        compiled::{CompiledPlan, ResourceAct},
        key::Key,
        package,
        plan::parse,
        schema::{Catalog, Column, Family, Rights, RowAddress, Table, TableKind},
    },
};
use serde_json::{Value, json};

use crate::support::mailer::{Mailer, Twist};

const PLAN: &str = "plan: p
subject: { email: shop.users.email }
connections:
  shop:
    users: { erase: { keep: for the test } }
  mailer:
    contacts:
      match: { email: shop.users.email }
      erase: { call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }
      export: \"GET /contacts/{email}\"
      rectify: { call: \"PATCH /contacts/{email}\", fields: [name, phone] }
";

const JANE: &str = "jane@example.com";

fn plan() -> CompiledPlan {
    let email = Column {
        name: "email".to_owned(),
        type_name: "text".to_owned(),
        base_type: None,
        family: Family::Text,
        nullable: false,
        max_length: None,
        generated: false,
    };
    let rights =
        Rights { select: true, delete: true, update: true, update_columns: Vec::new(), role: String::new() };
    let users = Table {
        schema: "main".to_owned(),
        name: "users".to_owned(),
        kind: TableKind::Table,
        columns: vec![email],
        primary_key: vec!["email".to_owned()],
        unique_keys: vec![vec!["email".to_owned()]],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        triggers: Vec::new(),
        estimated_rows: None,
        rights,
        address: RowAddress::Rowid,
        obstacles: Vec::new(),
    };
    let shop = Catalog { default_schema: "main".to_owned(), tables: vec![users], ..Catalog::default() };
    let catalogs = BTreeMap::from([("shop".to_owned(), shop), ("mailer".to_owned(), Catalog::of_service())]);
    compile(&parse("p.yaml", PLAN).unwrap(), &catalogs).unwrap().plan
}

fn target(email: &str) -> Target {
    let plan = plan();
    let keys = Keys { root: Arc::new(vec![Some(Key::Text(email.to_owned()))]), ..Keys::default() };
    let mut found = targets(&plan.rectification[0].rows.any_of[0], &keys).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn lookup() -> CallTemplate {
    CallTemplate::parse("GET /contacts/{email}").unwrap()
}

#[tokio::test]
async fn a_resource_is_handed_out_as_it_is() {
    let mailer = Mailer::start(&[JANE]).await;
    let service = mailer.service();
    let mut session = Session::new(&service);
    let content = session.read(&lookup(), &target(JANE)).await.unwrap().expect("is there");
    assert_eq!(content.content_type.as_deref(), Some("application/json"));
    let package::Value::Json(text) = content.body else { panic!("JSON") };
    assert_eq!(serde_json::from_str::<Value>(&text).ok(), mailer.contact(JANE));
    mailer.next("GET", Twist::Body("image/png", vec![0, 255, 1]));
    let content = session.read(&lookup(), &target(JANE)).await.unwrap().expect("is there");
    assert!(content.body == package::Value::Bytes(vec![0, 255, 1]));
    assert!(session.read(&lookup(), &target("joe@example.com")).await.unwrap().is_none());
    mailer.set_health(500);
    let mut session = Session::new(&service);
    let error = session.read(&lookup(), &target("joe@example.com")).await.err().unwrap().error;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn more_than_64_mib_of_one_resource_is_refused() {
    let mailer = Mailer::start(&[JANE]).await;
    let service = mailer.service();
    let mut session = Session::new(&service);
    for (excess, refused) in [(0, false), (1, true)] {
        mailer.next("GET", Twist::Body("text/plain", vec![b'a'; 64 * 1024 * 1024 + excess]));
        let read = session.read(&lookup(), &target(JANE)).await;
        assert_eq!(read.is_err(), refused);
        if let Err(error) = read {
            assert_eq!(
                (error.error.kind, error.to_string().as_str()),
                (ErrorKind::Internal, "its answer is too large")
            );
        }
    }
}

fn fields(value: Value) -> NewFields {
    let Value::Object(fields) = value else { panic!("an object") };
    NewFields(fields)
}

#[tokio::test]
async fn changed_fields_are_sent_and_read_back() {
    let mailer = Mailer::start(&[JANE, "joe@example.com"]).await;
    let service = mailer.service();
    let mut session = Session::new(&service);
    let plan = plan();
    let resource = plan.rectification[0].resource().unwrap();
    let ResourceAct::Rectify { call, .. } = &resource.act else { panic!() };
    let lookup = resource.lookup.as_ref().unwrap();
    let new = fields(json!({ "name": "Jane", "phone": null }));
    let found = session.correction(lookup, &target(JANE), &new).await.unwrap();
    assert_eq!(found, Correction::Needed);
    let timeout = Duration::from_secs(5);
    let sent = session.change(call, &target(JANE), "key-1", Some(new.to_json()), timeout).await.unwrap();
    assert!(sent == Sent::Done);
    assert_eq!(mailer.contact(JANE), Some(json!({ "email": JANE, "name": "Jane", "phone": null })));
    assert_eq!(mailer.seen("PATCH")[0].idempotency_key.as_deref(), Some("key-1"));
    let found = session.correction(lookup, &target(JANE), &new).await.unwrap();
    assert_eq!(found, Correction::Done);
    for (email, new, expected) in [
        ("nobody@example.com", json!({ "name": "Jane" }), Correction::NothingThere),
        // It has got a new name: it is where the field says, if that is it.
        ("old@example.com", json!({ "email": JANE, "name": "Jane" }), Correction::Done),
        ("old@example.com", json!({ "email": "joe@example.com", "name": "Jane" }), Correction::NothingThere),
    ] {
        let found = session.correction(lookup, &target(email), &fields(new)).await.unwrap();
        assert_eq!(found, expected, "{email}");
    }
    for body in [&b"[]"[..], b"hello"] {
        mailer.next("GET", Twist::Body("application/json", body.to_vec()));
        let error = session.correction(lookup, &target(JANE), &new).await.err().unwrap().error;
        assert_eq!((error.kind, error.detail.contains("no JSON object")), (ErrorKind::Internal, true));
    }
    assert_eq!(format!("{new:?}"), "NewFields([redacted])");
}

/// A client would take such a segment out, and `DELETE /contacts/..` would mean everybody.
#[tokio::test]
async fn a_key_of_dots_is_never_called_for() {
    let mailer = Mailer::start(&[JANE]).await;
    let service = mailer.service();
    let mut session = Session::new(&service);
    for key in [".", ".."] {
        let error = session.is_there(&lookup(), &target(key)).await.err().unwrap().error;
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.detail.contains("made of dots"), "{error}");
    }
    for key in ["../jane@example.com", "%2e%2e", "a/../b", "?x", "#", "..."] {
        assert_eq!(session.is_there(&lookup(), &target(key)).await.ok(), Some(false), "{key}");
    }
    assert_eq!(mailer.seen("GET").len(), 6);
}

#[test]
fn what_leads_to_nobody_is_no_target() {
    let plan = plan();
    let rows = &plan.rectification[0].rows;
    for root in [vec![None], vec![Some(Key::Text(String::new()))]] {
        let keys = Keys { root: Arc::new(root), ..Keys::default() };
        assert_eq!(targets(&rows.any_of[0], &keys).unwrap(), []);
    }
    let keys = Keys { root: Arc::new(vec![Some(Key::Bytes(vec![1]))]), ..Keys::default() };
    assert!(targets(&rows.any_of[0], &keys).is_err());
    assert_eq!(format!("{:?}", target(JANE)), "Target([redacted])");
    assert_ne!(target("a").tagged_bytes(), target("b").tagged_bytes());
}
