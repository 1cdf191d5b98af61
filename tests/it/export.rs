//! Exports: what a package holds, of every type of column on every database, and what becomes of one that fails.

mod services;
mod trouble;
mod types;

use std::collections::BTreeMap;

use rightful::{
    domain::request::{Kind, Outcome, Request, Status},
    service::Pacing,
};
use serde_json::{Value, json};

use crate::support::{
    faulty::Faults,
    harness::Harness,
    package::{package, rows, unzip},
    stores::{TestStore, stores},
    targets::{Target, target_like, targets},
};

const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL, secret_token VARCHAR(20));
    CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, total VARCHAR(20), internal VARCHAR(20));
    CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL);
    CREATE TABLE messages (id INTEGER PRIMARY KEY, sender INTEGER, recipient INTEGER, kind VARCHAR(200));
    CREATE TABLE comments (id INTEGER PRIMARY KEY, user_id INTEGER, parent_id INTEGER);
    CREATE TABLE audits (id INTEGER PRIMARY KEY, user_id INTEGER);
    INSERT INTO users VALUES (1, 'jane@example.com', 'hush'), (2, 'joe@example.com', 'hush');
    INSERT INTO orders VALUES (10, 1, '9.90', 'x'), (11, 1, '1.00', 'x'), (20, 2, '5.00', 'x');
    INSERT INTO items VALUES (100, 10), (101, 11), (200, 20);
    INSERT INTO messages VALUES (1, 1, 2, 'text'), (2, 2, 1, 'text'), (3, 1, 1, 'text'), (4, 2, 2, 'text'), (5, 1, 2, 'system');
    INSERT INTO comments VALUES (1, 1, NULL), (2, 2, 1), (3, 1, 2);
    INSERT INTO audits VALUES (1, 1);";

const CRM: &str = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email VARCHAR(100));
    CREATE TABLE calls (id INTEGER PRIMARY KEY, order_id INTEGER);
    INSERT INTO contacts VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
    INSERT INTO calls VALUES (1, 10), (2, 20), (3, 11);";

const PLAN: &str = "plan: customer
about: { purpose: selling things, legal_basis: [contract, consent] }
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  crm:
    contacts:
      match: { email: shop.users.email }
      erase: delete
      portable: [email]
    calls:
      match: { order_id: shop.orders.id }
      erase: delete
  shop:
    messages:
      match: [ { sender: users.id }, { recipient: users.id } ]
      where: \"kind <> 'system'\"
      erase: delete
    items:
      match: { order_id: orders.id }
      erase: { keep: invoices }
      about: { retention: 10 years }
    orders:
      match: { user_id: users.id }
      erase: { mask: { user_id: null_rewrite } }
      export: [id, total]
    comments:
      - match: { user_id: users.id }
        erase: delete
      - name: replies
        match: { parent_id: comments.id }
        erase: unlink
    audits:
      match: { user_id: users.id }
      erase: delete
      export: none
    users:
      erase: delete
      export: [email, id]
      portable: [email]
";

/// A harness with a shop and a customer list, and what must be kept alive for it.
struct Fixture {
    harness: Harness,
    faults: Faults,
    shop: Target,
    _crm: Target,
    _store: TestStore,
}

async fn fixture(store: TestStore, shop: Target) -> Fixture {
    let crm = target_like(&shop);
    shop.execute(SCHEMA);
    crm.execute(CRM);
    let connections = [("shop", shop.url.as_str()), ("crm", crm.url.as_str())];
    let (harness, faults) = Harness::faulty(store.store.clone(), &connections, Pacing::default());
    harness.register(PLAN).await.unwrap_or_else(|faults| panic!("{faults}"));
    Fixture { harness, faults, shop, _crm: crm, _store: store }
}

impl Fixture {
    async fn export(&self, subject: Value) -> Request {
        let id = self.harness.submit_as(Kind::Export, "customer", subject).await;
        self.harness.run(id).await
    }

    async fn files(&self, request: &Request) -> BTreeMap<String, String> {
        unzip(&package(&self.harness.service, request.id).await)
    }
}

fn ids(files: &BTreeMap<String, String>, step: &str) -> Vec<i64> {
    let mut ids: Vec<i64> = rows(files, step).iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_holds_the_persons_rows_of_every_connection_and_nobody_elses() {
    for target in targets() {
        for store in stores().await {
            let fixture = fixture(store, crate::support::targets::target_like(&target)).await;
            let before = fixture.shop.rows("SELECT * FROM messages ORDER BY id");
            let request = fixture.export(json!({ "email": "jane@example.com" })).await;
            assert_eq!(
                request.state.outcome(),
                Some(Outcome::Done),
                "{:?}: {:?}",
                target.dialect,
                request.state
            );
            assert!(!request.touched);
            let files = fixture.files(&request).await;
            assert_eq!(ids(&files, "crm.contacts"), [1]);
            assert_eq!(ids(&files, "crm.calls"), [1, 3], "keys cross connections");
            assert_eq!(ids(&files, "shop.messages"), [1, 2, 3], "each once");
            assert_eq!(ids(&files, "shop.items"), [100, 101]);
            assert_eq!(ids(&files, "shop.comments"), [1, 3]);
            let mut orders = rows(&files, "shop.orders");
            orders.sort_by_key(|row| row["id"].as_i64());
            assert_eq!(json!(orders), json!([{ "id": 10, "total": "9.90" }, { "id": 11, "total": "1.00" }]));
            assert_eq!(rows(&files, "shop.users"), [json!({ "email": "jane@example.com", "id": 1 })]);
            assert!(
                files["tables/shop.users.json"].contains("\"email\":\"jane@example.com\",\"id\":1"),
                "as listed"
            );
            let whole: String = files.values().map(String::as_str).collect();
            assert!(!whole.contains("hush") && !whole.contains("joe@"), "nobody else's, no credential");
            manifest(&files);
            assert_eq!(before, fixture.shop.rows("SELECT * FROM messages ORDER BY id"));
        }
    }
}

fn manifest(files: &BTreeMap<String, String>) {
    let manifest: Value = serde_json::from_str(&files["manifest.json"]).unwrap();
    let steps: Vec<&str> =
        manifest["files"].as_array().unwrap().iter().map(|file| file["step"].as_str().unwrap()).collect();
    let in_order = [
        "crm.contacts",
        "crm.calls",
        "shop.messages",
        "shop.items",
        "shop.orders",
        "shop.comments",
        "shop.users",
    ];
    assert_eq!(steps, in_order, "the order of the plan");
    assert_eq!(manifest["plan"]["about"]["legal_basis"], json!(["contract", "consent"]));
    assert_eq!(manifest["files"][3]["about"]["retention"], json!(["10 years"]));
    assert_eq!(manifest["subject"], json!({ "email": "jane@example.com" }));
    assert!(files["index.html"].contains("selling things"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_nobody_has_no_package_and_one_of_a_person_without_rows_has_one() {
    for store in stores().await {
        let fixture = fixture(store, crate::support::targets::targets().remove(0)).await;
        let nobody = fixture.export(json!({ "user_id": 77 })).await;
        assert_eq!(nobody.state.outcome(), Some(Outcome::NoMatch));
        assert_eq!(fixture.harness.service.store.package(nobody.id).await.unwrap(), None);
        fixture.shop.execute("INSERT INTO users VALUES (3, 'jim@example.com', NULL)");
        let bare = fixture.export(json!({ "user_id": 3 })).await;
        assert_eq!((bare.status(), bare.state.outcome()), (Status::Completed, Some(Outcome::Done)));
        let files = fixture.files(&bare).await;
        assert_eq!(files["tables/shop.orders.json"], "[]\n");
        assert_eq!(ids(&files, "shop.users"), [3]);
    }
}
