//! The service is killed with SIGKILL and started again, at random moments and at named points: every accepted request still completes,
//! nothing of the subjects is left, nothing of anybody else is changed, and the audit log verifies.
//!
//! `RIGHTFUL_KILLS=300 cargo test crash` is the long run: see the justfile.

mod consents;
mod export;
mod keeps;
mod kills;
mod log;
mod manual;
#[cfg(debug_assertions)]
mod points;
mod rectification;
mod replay;
mod retention;
mod services;
mod states;
mod sweeps;

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    site::{Process, Settings, Site},
    stores::stores,
    targets::{Target, targets},
};
use kills::{Asked, Kills, through_kills};

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

/// Every third person has more than fits one batch.
fn visits(user: usize) -> usize {
    if user.is_multiple_of(3) { 400 } else { 7 }
}

pub fn schema() -> String {
    let mut sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), name VARCHAR(100));
        CREATE TABLE order_items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id));
        CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER, body VARCHAR(100));\n"
        .to_owned();
    for user in 1..=PEOPLE {
        let visits = visits(user);
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
            let is_hmac = body.len() == 64 && body.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_hmac || body == "gone", "masked: {body}");
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

/// The requests, ended, of those who were accepted.
async fn finished(site: &Site, accepted: &BTreeMap<usize, String>) -> Vec<(usize, Value)> {
    let mut requests = Vec::new();
    for (user, id) in accepted {
        let request = site.finished(id).await;
        assert_eq!(request["status"], "completed", "{request}");
        requests.push((*user, request));
    }
    requests
}

/// What an erasure says that it did is what there was to do.
fn each_row_counts_once(user: usize, request: &Value) {
    for step in request["steps"].as_array().unwrap() {
        let (affected, withheld) = match step["name"].as_str().unwrap() {
            "shop.users" => (1, 0),
            "shop.orders" | "shop.notes" => (5, 0),
            "shop.order_items" => (0, 5),
            "shop.visits" => (visits(user), 0),
            other => panic!("{other}"),
        };
        let counts = ["rows_matched", "rows_affected", "rows_withheld", "rows_remaining"];
        let counts = counts.map(|name| step[name].as_u64().unwrap());
        let expected = [affected + withheld, affected, withheld, 0].map(|rows| rows as u64);
        assert_eq!(counts, expected, "{step} of {user}: {request}");
    }
}

/// Each request was created and completed once, and its batches come to what its steps say; one that was taken up again
/// at the end of a keep was completed once more for each time.
async fn nothing_was_told_twice(site: &Site) {
    for request in all(site, "/v1/requests").await {
        let request = site.get(request["links"]["self"].as_str().unwrap()).await.unwrap();
        if request["finished_at"].is_null() {
            // It may go on between this reading and the next.
            continue;
        }
        let events = all(site, request["links"]["events"].as_str().unwrap()).await;
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        let ends = usize::from(request["status"] == "completed") + count("keep.ended");
        assert_eq!((count("request.created"), count("request.completed")), (1, ends), "{request}");
        if request["kind"] == "export" {
            continue;
        }
        for step in request["steps"].as_array().unwrap() {
            let batches = events.iter().filter(|event| {
                event["event"] == "step.batch"
                    && event["step"] == step["name"]
                    && event["details"]["opener"].is_null()
            });
            let told: i64 = batches.map(|event| event["rows"]["affected"].as_i64().unwrap()).sum();
            assert_eq!(told, step["rows_affected"].as_i64().unwrap(), "{step}: {events:?}");
        }
    }
}

/// Everything of a list.
async fn all(site: &Site, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = format!("{path}?limit=500");
    loop {
        let page = site.get(&next).await.unwrap();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return items };
        next = format!("{path}?limit=500&cursor={cursor}");
    }
}

async fn audit_verifies(site: &Site) {
    let audit = site.get("/v1/audit/verify").await.unwrap();
    assert_eq!(audit["ok"], true, "{audit}");
    let told = site.run(&["audit", "verify"]);
    assert!(told.starts_with("intact: "), "{told}");
    nothing_was_told_twice(site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_request_survives_sigkill() {
    for target in targets() {
        for store in stores().await {
            survive(&target, &store.url, PLAN, &Kills::Random).await;
            target.execute("DROP TABLE order_items; DROP TABLE orders; DROP TABLE notes; DROP TABLE visits; DROP TABLE users");
        }
    }
}

async fn survive(target: &Target, store: &str, plan: &str, kills: &Kills) {
    println!("{:?} target, store {store}", target.dialect);
    target.execute(&schema());
    let before = untouched(target);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan,
        worker: "  lease: 1s\n  max_attempts: 1000\n  batch: { min_rows: 10, max_rows: 50, pause: 0 }\n",
    });
    let mut asked = Asked::default();
    through_kills(&site, kills, async |random| asked.erase(&site, 2 * random.between(1, ERASED)).await).await;
    let process = site.serve().await;
    let accepted = asked.all(&site).await;
    for (user, request) in finished(&site, &accepted).await {
        each_row_counts_once(user, &request);
    }
    audit_verifies(&site).await;
    let (took, code) = terminate(process);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "graceful shutdown took {took:?}");
    let erased: Vec<usize> = accepted.keys().copied().collect();
    expect(&before, &untouched(target), &erased);
}
