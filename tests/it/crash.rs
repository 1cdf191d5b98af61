//! The service is killed with SIGKILL at random moments and started again: every accepted request still completes,
//! nothing of the subjects is left, nothing of anybody else is changed, and the audit log verifies.
//!
//! `RIGHTFUL_KILLS=300 cargo test crash` is the long run.

mod consents;
mod export;
mod keeps;
mod log;
mod manual;
mod rectification;
mod replay;
mod retention;
mod services;
mod states;

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    properties::random::Random,
    support::{
        environment,
        site::{Process, Settings, Site},
        stores::stores,
        targets::{Target, targets},
    },
};

pub const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
    orders:
      match: { user_id: users.id }
      erase: { mask: { name: { string_rewrite: gone }, user_id: null_rewrite }, basis: accounting }
    order_items:
      match: { order_id: orders.id }
      erase: { keep: part of the invoice }
    visits:
      match: { email: users.email }
      erase: delete
    notes:
      match: { user_id: users.id }
      erase: { mask: { body: { hmac: {} } } }
";

pub const PEOPLE: usize = 24;
/// Every second person is erased.
const ERASED: usize = PEOPLE / 2;

pub fn schema() -> String {
    let mut sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), name VARCHAR(100));
        CREATE TABLE order_items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id));
        CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER, body VARCHAR(100));\n"
        .to_owned();
    for user in 1..=PEOPLE {
        // Every third person has more than fits one batch, so that both ways of working are killed.
        let visits = if user % 3 == 0 { 400 } else { 7 };
        sql.push_str(&format!("INSERT INTO users VALUES ({user}, 'u{user}@example.com');\n"));
        for n in 0..5 {
            let id = user * 1000 + n;
            sql.push_str(&format!("INSERT INTO orders VALUES ({id}, {user}, 'name {id}');\n"));
            sql.push_str(&format!("INSERT INTO order_items VALUES ({id}, {id});\n"));
            sql.push_str(&format!("INSERT INTO notes VALUES ({id}, {user}, 'body {id}');\n"));
        }
        let rows: Vec<String> =
            (0..visits).map(|n| format!("({}, 'u{user}@example.com')", user * 1000 + n)).collect();
        sql.push_str(&format!("INSERT INTO visits VALUES {};\n", rows.join(", ")));
    }
    sql
}

pub type Rows = Vec<Vec<Option<String>>>;

/// Everything but what must have changed; panics when that has not.
pub fn untouched(target: &Target) -> BTreeMap<String, Rows> {
    let mut dump = BTreeMap::new();
    for (table, query) in [
        ("users", "SELECT id, email FROM users ORDER BY id"),
        ("visits", "SELECT id, email FROM visits ORDER BY id"),
        ("orders", "SELECT id, user_id, name FROM orders ORDER BY id"),
        ("order_items", "SELECT id, order_id FROM order_items ORDER BY id"),
        ("notes", "SELECT id, user_id, body FROM notes ORDER BY id"),
    ] {
        dump.insert(table.to_owned(), target.rows(query));
    }
    dump
}

pub fn expect(before: &BTreeMap<String, Rows>, after: &BTreeMap<String, Rows>, erased: &[usize]) {
    let is_erased = |user: usize| erased.contains(&user);
    let owner = |row: &[Option<String>]| row[0].as_ref().unwrap().parse::<usize>().unwrap() / 1000;
    let left = |rows: &Rows, keep: &dyn Fn(&[Option<String>]) -> bool| -> Rows {
        rows.iter().filter(|row| keep(row)).cloned().collect()
    };
    let users = left(&before["users"], &|row| !is_erased(row[0].as_ref().unwrap().parse().unwrap()));
    assert_eq!(after["users"], users, "users");
    assert_eq!(after["visits"], left(&before["visits"], &|row| !is_erased(owner(row))), "visits");
    assert_eq!(after["order_items"], before["order_items"], "order_items are kept");
    let orders: Rows = before["orders"]
        .iter()
        .map(|row| {
            if is_erased(owner(row)) { vec![row[0].clone(), None, Some("gone".into())] } else { row.clone() }
        })
        .collect();
    assert_eq!(after["orders"], orders, "orders");
    for (was, is) in before["notes"].iter().zip(&after["notes"]) {
        if is_erased(owner(was)) {
            let body = is[2].as_ref().unwrap();
            assert!(body.len() == 64 && body.bytes().all(|b| b.is_ascii_hexdigit()), "masked: {body}");
        } else {
            assert_eq!(was, is, "notes");
        }
    }
    assert_eq!(before["notes"].len(), after["notes"].len());
}

/// SIGTERM, then how long it took to end and with which code.
fn terminate(mut process: Process) -> (Duration, Option<i32>) {
    let begun = Instant::now();
    Command::new("kill").arg(process.0.id().to_string()).status().expect("kill");
    let status = process.0.wait().expect("it ended");
    (begun.elapsed(), status.code())
}

/// Lives of a service that all end with SIGKILL, at moments that the seed decides. `life` is what goes on in each from
/// when it is ready to shortly before its end.
async fn through_kills(site: &Site, mut life: impl AsyncFnMut(&mut Random)) {
    let kills: usize = environment("RIGHTFUL_KILLS").and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    for _ in 0..kills {
        let process = site.serve().await;
        life(&mut random).await;
        tokio::time::sleep(Duration::from_millis(random.below(60) as u64)).await;
        drop(process);
    }
}

/// Notes who was accepted; nobody, when the process died before it answered.
fn note(accepted: &mut BTreeMap<usize, String>, user: usize, answer: Option<Value>) {
    accepted.extend(answer.map(|request| (user, request["id"].as_str().unwrap().to_owned())));
}

/// The requests, ended, of those who were accepted.
async fn finished(site: &Site, accepted: &BTreeMap<usize, String>) -> Vec<(usize, Value)> {
    assert!(!accepted.is_empty(), "no submission was answered before its kill");
    let mut requests = Vec::new();
    for (user, id) in accepted {
        let request = site.finished(id).await;
        assert_eq!(request["status"], "completed", "{request}");
        requests.push((*user, request));
    }
    requests
}

async fn audit_verifies(site: &Site) {
    let audit = site.get("/v1/audit/verify").await.unwrap();
    assert_eq!(audit["ok"], true, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_request_survives_sigkill() {
    for target in targets() {
        for store in stores().await {
            survive(&target, &store.url).await;
            target.execute("DROP TABLE order_items; DROP TABLE orders; DROP TABLE notes; DROP TABLE visits; DROP TABLE users");
        }
    }
}

async fn survive(target: &Target, store: &str) {
    println!("{:?} target, store {store}", target.dialect);
    target.execute(&schema());
    let before = untouched(target);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n  batch: { min_rows: 10, max_rows: 50, pause: 0 }\n",
    });
    let mut accepted = BTreeMap::new();
    through_kills(&site, async |random| {
        let user = 2 * random.between(1, ERASED);
        let subject = json!({ "user_id": user });
        let answer = site.submit("customer", subject, Some(&format!("key-{user}"))).await;
        note(&mut accepted, user, answer);
    })
    .await;
    let process = site.serve().await;
    for (_, request) in finished(&site, &accepted).await {
        for step in request["steps"].as_array().unwrap() {
            let count = |name: &str| step[name].as_i64().unwrap();
            assert_eq!(
                count("rows_matched"),
                count("rows_affected") + count("rows_withheld") + count("rows_remaining"),
                "{request}"
            );
        }
    }
    audit_verifies(&site).await;
    let (took, code) = terminate(process);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "graceful shutdown took {took:?}");
    let erased: Vec<usize> = accepted.keys().copied().collect();
    expect(&before, &untouched(target), &erased);
}
