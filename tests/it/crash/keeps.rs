//! Rows that are kept for a time, by a service that is killed at random moments: each goes when it is over, is counted once,
//! and none goes before.

use std::time::{Duration, Instant};

use rightful::domain::clock::Clock;
use serde_json::{Value, json};

use super::{
    Settings, Site, audit_verifies,
    kills::{Asked, Kills, through_kills},
};
use crate::support::{
    stores::stores,
    targets::{Dialect, Target, targets},
};

const PLAN: &str = "plan: customer
subject: { user_id: shop.users.id }
connections:
  shop:
    users: { erase: { mask: { email: { string_rewrite: gone } } } }
    orders:
      match: { user_id: users.id }
      erase: { keep: { ground: 17(3)(b), until: placed_at + 1y } }
    items:
      match: { order_id: orders.id }
      erase: { keep: { ground: 17(3)(b), until: orders.placed_at + 1y } }
";
const WORKER: &str = "  lease: 1s
  max_attempts: 1000
  batch: { min_rows: 10, max_rows: 50, pause: 0 }
";
const PEOPLE: usize = 8;
/// Until some rows are over, while people are erased; and until after that, however busy the machine is.
pub const SOON: Duration = Duration::from_secs(4);
pub const LATER: Duration = Duration::from_secs(20);
/// Of each person and each time.
const ORDERS: usize = 150;

/// Orders that are over, that will be while the service is killed, and that will not.
fn rows(target: &Target, over: Duration) {
    let time = if target.dialect == Dialect::MySql { "DATETIME(6)" } else { "TIMESTAMP" };
    let soon = Clock.now() - chrono::Months::new(12) + chrono::TimeDelta::from_std(over).unwrap();
    let times = ["2001-01-01 00:00:00", &soon.format("%Y-%m-%d %H:%M:%S").to_string(), "2199-01-01 00:00:00"];
    let mut sql = format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, placed_at {time} NOT NULL, \
            FOREIGN KEY (user_id) REFERENCES users (id));
        CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, \
            FOREIGN KEY (order_id) REFERENCES orders (id));\n"
    );
    for user in 0..PEOPLE {
        sql.push_str(&format!("INSERT INTO users VALUES ({user}, 'u{user}@example.com');\n"));
        let ids = user * 1_000..user * 1_000 + 3 * ORDERS;
        let orders: Vec<String> =
            ids.clone().map(|id| format!("({id}, {user}, '{}')", times[id % 3])).collect();
        let items: Vec<String> = ids.map(|id| format!("({id}, {id})")).collect();
        sql.push_str(&format!("INSERT INTO orders VALUES {};\n", orders.join(", ")));
        sql.push_str(&format!("INSERT INTO items VALUES {};\n", items.join(", ")));
    }
    target.execute(&sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_end_once_each_through_sigkill() {
    for target in targets() {
        for store in stores().await {
            println!("{:?} target, store {}", target.dialect, store.url);
            survive(&target, &store.url, SOON, [&Kills::Random, &Kills::Once]).await;
            target.execute("DROP TABLE items; DROP TABLE orders; DROP TABLE users");
        }
    }
}

/// Killed while people are erased, and again once what was kept of them is over.
pub async fn survive(target: &Target, store: &str, over: Duration, [erasing, ending]: [&Kills; 2]) {
    rows(target, over);
    let over = tokio::time::Instant::now() + over;
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: WORKER,
    });
    let site = &site;
    let mut asked = Asked::default();
    through_kills(site, erasing, async |random| {
        for _ in 0..3 {
            asked.erase(site, random.below(PEOPLE / 2)).await;
        }
    })
    .await;
    let process = site.serve().await;
    let erasures = asked.all(site).await;
    for id in erasures.values() {
        site.finished(id).await;
    }
    drop(process);
    // By the clock of the machine, on which the store's is. A keep is over a second after the time that it counts from, and a
    // service that looks before that looks again in an hour.
    tokio::time::sleep_until(over + Duration::from_secs(1)).await;
    through_kills(site, ending, async |_| {}).await;
    // Of whoever is erased nothing but the orders of 2199 is left in the end, and everything of everybody else.
    let erased = erasures.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let left =
        format!("SELECT count(*) FROM orders WHERE user_id IN ({erased}) AND placed_at < '2199-01-01'");
    let until = Instant::now() + Duration::from_secs(60);
    while target.rows(&left)[0][0].as_deref() != Some("0") {
        assert!(Instant::now() < until, "in vain");
        // What is over is looked for at start.
        let process = site.serve().await;
        for id in erasures.values() {
            site.finished(id).await;
        }
        drop(process);
    }
    let process = site.serve().await;
    let one = i64::try_from(ORDERS).unwrap();
    for id in erasures.values() {
        let request: Value = site.finished(id).await;
        let steps = request["steps"].as_array().unwrap().iter().filter(|step| step["name"] != "shop.users");
        for step in steps {
            assert_eq!(
                (&step["rows_affected"], &step["rows_withheld"], &step["rows_matched"], &step["action"]),
                (&json!(2 * one), &json!(one), &json!(3 * one), &json!("keep")),
                "{:?}: {request}",
                target.dialect
            );
            assert_eq!(step["kept_until"], "2200-01-01T00:00:01.000000Z");
        }
    }
    for table in ["orders", "items"] {
        let counted = target.rows(&format!("SELECT count(*) FROM {table}"));
        let all = (PEOPLE - erasures.len()) * 3 * ORDERS + erasures.len() * ORDERS;
        assert_eq!(counted[0][0], Some(all.to_string()), "{table}");
    }
    audit_verifies(site).await;
    drop(process);
}
