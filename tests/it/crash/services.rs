//! The same with an HTTP service that erases at once, later, or without its answer arriving.

use std::time::Duration;

use serde_json::json;

use super::{
    audit_verifies, finished,
    kills::{Asked, Kills, through_kills},
};
use crate::support::{
    mailer::{Mailer, TOKEN, Twist},
    site::{Settings, Site},
    stores::stores,
    targets::{Dialect, Target, target},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    emails:
      match: { user_id: users.id }
      erase: delete
  mailer:
    contacts:
      match: [ { email: shop.users.email }, { email: shop.emails.address } ]
      erase: { call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }
      export: \"GET /contacts/{email}\"
";

const PEOPLE: usize = 12;
/// Of each person: one by the own row, the others by addresses of another table.
const CONTACTS: usize = 3;

fn contacts(user: usize) -> Vec<String> {
    (0..CONTACTS).map(|n| format!("u{user}-{n}@example.com")).collect()
}

fn schema() -> String {
    let mut sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
        CREATE TABLE emails (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), address TEXT);\n"
        .to_owned();
    for user in 1..=PEOPLE {
        for (n, address) in contacts(user).into_iter().enumerate() {
            sql.push_str(&match n {
                0 => format!("INSERT INTO users VALUES ({user}, '{address}');\n"),
                _ => format!("INSERT INTO emails VALUES ({}, {user}, '{address}');\n", user * 10 + n),
            });
        }
    }
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_survive_sigkill_and_are_booked_once() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        survive(&target, &store.url, &Kills::Random).await;
    }
}

pub async fn survive(target: &Target, store: &str, kills: &Kills) {
    println!("store {store}");
    target.execute(&schema());
    let all: Vec<String> = (1..=PEOPLE).flat_map(contacts).collect();
    let mailer = Mailer::start(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for _ in 0..3 {
        mailer.next("DELETE", Twist::Accepted(2, None));
        mailer.next("DELETE", Twist::LostReply);
        mailer.next("DELETE", Twist::Slow(Duration::from_millis(50)));
        mailer.next("DELETE", Twist::Busy(503, "1".to_owned()));
    }
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: Some((&mailer.url, TOKEN)),
        plan: PLAN,
        worker: "  lease: 2s\n  max_attempts: 1000\n  batch: { pause: 0 }\n",
    });
    let mut asked = Asked::default();
    through_kills(&site, kills, async |random| {
        asked.erase(&site, 2 * random.between(1, PEOPLE / 2)).await;
    })
    .await;
    let _process = site.serve().await;
    let accepted = asked.all(&site).await;
    for (_, request) in finished(&site, &accepted).await {
        assert_eq!(request["outcome"], "done", "{request}");
        let step = &request["steps"][0];
        let counts =
            json!([step["name"], step["rows_matched"], step["rows_affected"], step["rows_remaining"]]);
        assert_eq!(counts, json!(["mailer.contacts", CONTACTS, CONTACTS, 0]), "{request}");
    }
    audit_verifies(&site).await;
    let mut left: Vec<String> =
        (1..=PEOPLE).filter(|user| !accepted.contains_key(user)).flat_map(contacts).collect();
    left.sort_unstable();
    assert_eq!(mailer.contacts(), left);
    assert_eq!(target.rows("SELECT id FROM users").len(), PEOPLE - accepted.len());
    for seen in mailer.seen("DELETE") {
        let same: Vec<_> =
            mailer.seen("DELETE").into_iter().filter(|other| other.path == seen.path).collect();
        assert!(same.iter().all(|other| *other == seen), "one key for all of them: {same:?}");
    }
}
