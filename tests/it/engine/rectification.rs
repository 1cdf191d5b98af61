//! Rectification: copies of a value, what other rows stand in the way of, resumes, and what the audit tells.

use rightful::{
    domain::request::{Outcome, Request, RunCode, Status},
    service::error::ServiceError,
};
use serde_json::{Value, json};

use super::{code, harness, pacing, resume::faulty};
use crate::support::{
    faulty::Fault::{self, Deadlock, LostReply},
    harness::Harness,
    stores::{TestStore, sqlite_store},
    targets::{Dialect, Target, target_like, targets},
};

const SCHEMA: &str = "CREATE TABLE cities (id INTEGER PRIMARY KEY);
    CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, name VARCHAR(100), code VARCHAR(20) UNIQUE);
    CREATE TABLE profiles (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), bio VARCHAR(100),
      city_id INTEGER REFERENCES cities (id));
    CREATE TABLE badges (id INTEGER PRIMARY KEY, user_code VARCHAR(20) REFERENCES users (code));
    CREATE TABLE mails (id INTEGER PRIMARY KEY, sender VARCHAR(100), recipient VARCHAR(100));
    INSERT INTO cities VALUES (1);
    INSERT INTO users VALUES (1, 'jane@example.com', 'Jane', 'j'), (2, 'joe@example.com', 'Joe', 'k');
    INSERT INTO profiles VALUES (10, 1, 'old', NULL), (11, 1, 'new', 1), (20, 2, 'old', 1);
    INSERT INTO mails VALUES (1, 'jane@example.com', 'joe@example.com'), (2, 'joe@example.com', 'jane@example.com'),
      (3, 'jane@example.com', 'jane@example.com'), (4, 'joe@example.com', 'joe@example.com');";

const CRM: &str =
    "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email VARCHAR(50) NOT NULL, name VARCHAR(100));
    CREATE TABLE calls (id INTEGER PRIMARY KEY, contact VARCHAR(50));
    INSERT INTO contacts VALUES (1, 'jane@example.com', 'J.'), (2, 'joe@example.com', 'J.');
    INSERT INTO calls VALUES (1, 'jane@example.com'), (2, 'joe@example.com');";

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
      rectify: [email, name, code, id]
    profiles:
      match: { user_id: users.id }
      erase: delete
      rectify: [bio, city_id, user_id]
    badges:
      match: { user_code: users.code }
      erase: delete
    mails:
      match: [ { sender: users.email }, { recipient: users.email } ]
      erase: delete
  crm:
    contacts:
      match: { email: shop.users.email }
      erase: delete
      rectify: [name, email]
    calls:
      match: { contact: contacts.email }
      erase: delete
";

/// The plan with copies carried along.
fn cascading() -> String {
    PLAN.replace("[email, name, code, id]", "[email, name, code, id]\n      cascade: true")
}

/// Both databases filled, and the plan registered.
struct Two {
    shop: Target,
    crm: Target,
    harness: Harness,
    _store: TestStore,
}

async fn two(shop: Target, plan: &str) -> Two {
    let crm = target_like(&shop);
    shop.execute(SCHEMA);
    crm.execute(CRM);
    let store = sqlite_store().await;
    let harness = Harness::new(store.store.clone(), &[("shop", &shop.url), ("crm", &crm.url)], pacing());
    harness.register(plan).await.unwrap_or_else(|faults| panic!("{faults}"));
    Two { shop, crm, harness, _store: store }
}

fn jane() -> Value {
    json!({ "user_id": 1 })
}

fn texts(target: &Target, sql: &str) -> Vec<String> {
    target.rows(sql).into_iter().flatten().map(|cell| cell.unwrap_or_else(|| "NULL".to_owned())).collect()
}

/// Where it was refused, and what was said.
async fn refused(harness: &Harness, changes: Value) -> Vec<(String, String)> {
    match harness.rectify("customer", jane(), changes).await {
        Err(ServiceError::Changes(fault)) => {
            fault.errors.into_iter().map(|error| (error.pointer, error.detail)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// All that the audit holds of a request.
async fn told(harness: &Harness, request: &Request) -> Vec<Value> {
    let events = harness.service.store.request_events(request.id, 0, 100).await.unwrap();
    events
        .into_iter()
        .map(|event| json!({ "event": event.event.as_str(), "step": event.step, "details": event.details, "rows": event.rows }))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_corrected_and_the_audit_tells_which_but_not_what() {
    for shop in targets() {
        let two = two(shop, PLAN).await;
        let changes = json!({
            "shop.users": { "name": "Jane Doe 🦀" },
            "shop.profiles": { "bio": "new", "city_id": 1 },
            "crm.contacts": { "name": null },
        });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", two.shop.dialect);
        let counts: Vec<_> = request
            .steps
            .iter()
            .map(|step| (step.name.as_str(), step.action.as_str(), step.rows_affected))
            .collect();
        assert_eq!(
            counts,
            [("crm.contacts", "rectify", 1), ("shop.profiles", "rectify", 1), ("shop.users", "rectify", 1)],
            "one profile was so already"
        );
        assert_eq!(texts(&two.shop, "SELECT name FROM users ORDER BY id"), ["Jane Doe 🦀", "Joe"]);
        assert_eq!(texts(&two.shop, "SELECT bio FROM profiles ORDER BY id"), ["new", "new", "old"]);
        assert_eq!(texts(&two.shop, "SELECT city_id FROM profiles ORDER BY id"), ["1", "1", "1"]);
        assert_eq!(texts(&two.crm, "SELECT name FROM contacts ORDER BY id"), ["NULL", "J."]);
        let told = told(&two.harness, &request).await;
        for event in ["step.batch", "step.completed"] {
            let of_profiles = told.iter().find(|one| one["event"] == event && one["step"] == "shop.profiles");
            assert_eq!(of_profiles.unwrap()["details"]["columns"], json!(["bio", "city_id"]), "{event}");
        }
        let log = json!(told).to_string();
        assert!(!log.contains("Jane Doe") && !log.contains("🦀"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_others_copied_is_refused_or_given_with_its_copies() {
    for shop in targets() {
        let two = two(shop, PLAN).await;
        let told = refused(&two.harness, json!({ "shop.users": { "email": "new@example.com" } })).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "/changes/shop.users/email");
        for word in ["crm.contacts", "shop.mails", "cascade: true"] {
            assert!(told[0].1.contains(word), "{told:?}");
        }
        let other = json!({ "shop.users": { "email": "a@b.c" }, "crm.contacts": { "email": "x@y.z" } });
        let told = refused(&two.harness, other).await;
        assert!(told.iter().any(|(place, _)| place == "/changes/crm.contacts/email"), "{told:?}");
        let alone = refused(&two.harness, json!({ "crm.contacts": { "email": "x@y.z" } })).await;
        assert!(alone.iter().any(|(_, detail)| detail.contains("found by it")), "{alone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_carried_along_into_every_database() {
    for shop in targets() {
        let two = two(shop, &cascading()).await;
        let changes = json!({ "shop.users": { "email": "new@example.com" } });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", two.shop.dialect);
        assert!(
            request.steps.iter().all(|step| step.rows_matched == Some(step.rows_affected)),
            "{request:?}"
        );
        assert_eq!(
            texts(&two.shop, "SELECT email FROM users ORDER BY id"),
            ["new@example.com", "joe@example.com"]
        );
        let (new, joe) = ("new@example.com", "joe@example.com");
        assert_eq!(texts(&two.shop, "SELECT sender FROM mails ORDER BY id"), [new, joe, new, joe]);
        assert_eq!(texts(&two.shop, "SELECT recipient FROM mails ORDER BY id"), [joe, new, new, joe]);
        assert_eq!(texts(&two.crm, "SELECT email FROM contacts ORDER BY id"), [new, joe]);
        assert_eq!(texts(&two.crm, "SELECT contact FROM calls ORDER BY id"), [new, joe]);
        // The person is known by both addresses.
        let refs = two.harness.service.store.refs(id).await.unwrap();
        assert_eq!(refs.iter().filter(|known| known.identity == "email").count(), 2, "{refs:?}");
        assert_eq!(refs.iter().filter(|known| known.identity == "user_id").count(), 1, "{refs:?}");
        // And the same once more finds nothing to do.
        let changes = json!({ "shop.users": { "email": "new@example.com" } });
        let again = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(again).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{request:?}");
        assert!(request.steps.iter().all(|step| step.rows_affected == 0), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_does_not_let_be_corrected_is_refused() {
    let shop = targets().remove(0);
    let two = two(shop, &cascading()).await;
    let places = |told: Vec<(String, String)>| told.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
    for (changes, place) in [
        (json!({}), "/changes"),
        (json!({ "shop.users": {} }), "/changes/shop.users"),
        (json!({ "shop.users": 7 }), "/changes/shop.users"),
        (json!({ "shop.user": { "name": "x" } }), "/changes/shop.user"),
        (json!({ "shop.badges": { "user_code": "x" } }), "/changes/shop.badges"),
        (json!({ "shop.users": { "nam/e": "x" } }), "/changes/shop.users/nam~1e"),
        // The person's key, and what a foreign key points at.
        (json!({ "shop.users": { "id": 3 } }), "/changes/shop.users/id"),
        (json!({ "shop.users": { "code": "x" } }), "/changes/shop.users/code"),
        (json!({ "shop.users": { "email": null } }), "/changes/shop.users/email"),
        // Empty, it would match nothing any more; too long, it does not fit its copy.
        (json!({ "shop.users": { "email": "" } }), "/changes/shop.users/email"),
        (json!({ "shop.profiles": { "user_id": 2 } }), "/changes/shop.profiles/user_id"),
    ] {
        let told = refused(&two.harness, changes.clone()).await;
        assert!(places(told).iter().all(|told| told == place), "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_somebody_else_has_waits_with_nothing_written() {
    for shop in targets() {
        let two = two(shop, &cascading()).await;
        let changes =
            json!({ "shop.users": { "email": "joe@example.com" }, "crm.contacts": { "name": "x" } });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConstraintViolation), "{:?}: {request:?}", two.shop.dialect);
        assert_eq!(request.status(), Status::Paused);
        assert!(!request.touched);
        let error = request.state.error().unwrap();
        assert_eq!(error.step.as_deref(), Some("shop.users"));
        assert!(error.detail.contains("email") && !error.detail.contains("joe"), "{}", error.detail);
        assert_eq!(texts(&two.crm, "SELECT name FROM contacts ORDER BY id"), ["J.", "J."], "nowhere");
        two.shop.execute("UPDATE users SET email = 'joseph@example.com' WHERE id = 2;");
        two.harness.make_due(id).await;
        let request = two.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", two.shop.dialect);
        assert_eq!(
            texts(&two.shop, "SELECT email FROM users ORDER BY id"),
            ["joe@example.com", "joseph@example.com"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_there_to_point_at_waits_with_nothing_written() {
    for shop in targets() {
        let two = two(shop, PLAN).await;
        let changes =
            json!({ "shop.profiles": { "city_id": 7, "bio": "x" }, "crm.contacts": { "name": "x" } });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConstraintViolation), "{:?}: {request:?}", two.shop.dialect);
        assert!(request.state.error().unwrap().detail.contains("city_id"), "{request:?}");
        assert_eq!(texts(&two.crm, "SELECT name FROM contacts ORDER BY id"), ["J.", "J."], "nowhere");
        two.shop.execute("INSERT INTO cities VALUES (7);");
        two.harness.make_due(id).await;
        let request = two.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", two.shop.dialect);
        assert_eq!(texts(&two.shop, "SELECT city_id FROM profiles ORDER BY id"), ["7", "7", "1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_writes_something_else_is_found_out() {
    for shop in targets() {
        let two = two(shop, &cascading()).await;
        two.shop.execute(match two.shop.dialect {
            Dialect::Postgres => {
                "CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = lower(NEW.name); RETURN NEW; END';
                 CREATE TRIGGER lows BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION low();"
            }
            Dialect::MySql => "CREATE TRIGGER lows BEFORE UPDATE ON users FOR EACH ROW SET NEW.name = LOWER(NEW.name)",
            Dialect::Sqlite => {
                "CREATE TRIGGER lows AFTER UPDATE OF name ON users WHEN NEW.name <> lower(NEW.name)
                 BEGIN UPDATE users SET name = lower(name) WHERE id = NEW.id; END;"
            }
        });
        let changes = json!({ "shop.users": { "name": "JANE" }, "shop.profiles": { "bio": "x" } });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        // What fires has changed the version of the schema, not what the plan touches.
        assert_eq!(code(&request), Some(RunCode::RowsRemaining), "{:?}: {request:?}", two.shop.dialect);
        assert_eq!(texts(&two.shop, "SELECT name FROM users ORDER BY id"), ["Jane", "Joe"], "taken back");
        assert_eq!(
            texts(&two.shop, "SELECT bio FROM profiles ORDER BY id"),
            ["old", "new", "old"],
            "taken back"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_booked_and_the_person_is_still_the_same() {
    let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
        INSERT INTO visits VALUES (10, 'jane@example.com'), (11, 'jane@example.com'), (20, 'joe@example.com');";
    let plan = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
      rectify: [email]
      cascade: true
    visits:
      match: { email: users.email }
      erase: delete
";
    for target in targets() {
        let (harness, faults, _store) = faulty(&target, schema, plan).await;
        faults.next(&[Deadlock, Fault::None, LostReply]);
        let subject = json!({ "email": "jane@example.com" });
        let first = json!({ "shop.users": { "email": "janet@example.com" } });
        let id = harness.rectify("customer", subject, first).await.unwrap();
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "a deadlock repeats it");
        let second = json!({ "shop.users": { "email": "jane@example.net" } });
        let id = harness.rectify("customer", json!({ "user_id": 1 }), second).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::ConnectionUnavailable), "{:?}: {request:?}", target.dialect);
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", target.dialect);
        let counts: Vec<_> =
            request.steps.iter().map(|step| (step.rows_matched, step.rows_affected)).collect();
        assert_eq!(counts, [(Some(2), 2), (Some(1), 1)], "{:?}", target.dialect);
        let told = told(&harness, &request).await;
        let recovered = told.iter().find(|event| event["details"]["recovered"] == true).unwrap();
        assert_eq!(recovered["details"]["columns"], json!(["email"]));
        let refs = harness.service.store.refs(id).await.unwrap();
        assert_eq!(refs.iter().filter(|known| known.identity == "email").count(), 2, "{refs:?}");
        assert_eq!(texts(&target, "SELECT email FROM visits ORDER BY id")[..2], ["jane@example.net"; 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_changes_are_a_duplicate_and_others_wait_for_their_turn() {
    let target = targets().remove(0);
    let (harness, _store) = harness(&target, SCHEMA, PLAN.split_once("  crm:").unwrap().0).await;
    let name = |name: &str| json!({ "shop.users": { "name": name } });
    let first = harness.rectify("customer", jane(), name("A")).await.unwrap();
    let again = harness.rectify("customer", jane(), name("A")).await;
    assert!(matches!(again, Err(ServiceError::Duplicate(Some(open))) if open == first));
    let second = harness.rectify("customer", jane(), name("B")).await.unwrap();
    let erasure = harness.submit("customer", json!({ "user_id": 2 })).await;
    for id in [first, second, erasure] {
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
    }
    assert_eq!(texts(&target, "SELECT name FROM users"), ["B"]);
    harness.rectify("customer", jane(), name("A")).await.unwrap();
    let nobody = harness.rectify("customer", json!({ "user_id": 99 }), name("A")).await.unwrap();
    assert_eq!(harness.run(nobody).await.state.outcome(), Some(Outcome::NoMatch));
}

/// Once the copies in one database are corrected, only the sealed values still lead from one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_done_rectification_goes_on_after_its_other_database_comes_back() {
    for shop in targets() {
        let two = two(shop, &cascading()).await;
        let mut holder = two.shop.session();
        holder.execute(if two.shop.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" });
        holder.execute("UPDATE users SET name = name WHERE id = 1");
        let changes = json!({ "shop.users": { "email": "new@example.com" } });
        let id = two.harness.rectify("customer", jane(), changes).await.unwrap();
        let request = two.harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::LockTimeout), "{:?}: {request:?}", two.shop.dialect);
        holder.execute("ROLLBACK");
        drop(holder);
        two.harness.make_due(id).await;
        let request = two.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {request:?}", two.shop.dialect);
        assert_eq!(texts(&two.crm, "SELECT contact FROM calls ORDER BY id")[0], "new@example.com");
        assert_eq!(texts(&two.shop, "SELECT sender FROM mails ORDER BY id")[0], "new@example.com");
    }
}
