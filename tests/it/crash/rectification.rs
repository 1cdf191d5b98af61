//! Rectifications that are killed: every accepted one still completes, with its copies in another database, each row
//! is counted once, and the audit log verifies.

use serde_json::json;

use super::{
    audit_verifies, finished,
    kills::{Asked, Kills, through_kills},
};
use crate::support::{
    site::{Settings, Site},
    stores::stores,
    targets::{Target, target_like, targets},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
      rectify: [email, name]
      cascade: true
    notes:
      match: { user_id: users.id }
      erase: delete
      rectify: [body]
    visits:
      match: { email: users.email }
      erase: delete
  crm:
    contacts:
      match: { email: shop.users.email }
      erase: delete
      rectify: [name]
";

const PEOPLE: usize = 16;

const SHOP: &str =
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, name VARCHAR(100));
    CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), body VARCHAR(100));
    CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);\n";

const CRM: &str =
    "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL, name VARCHAR(100));\n";

fn fill(shop: &Target, crm: &Target) {
    let (mut in_shop, mut in_crm) = (SHOP.to_owned(), CRM.to_owned());
    for user in 1..=PEOPLE {
        in_shop.push_str(&format!("INSERT INTO users VALUES ({user}, 'u{user}@example.com', 'old');\n"));
        for at in 0..5 {
            let id = user * 100 + at;
            in_shop.push_str(&format!("INSERT INTO notes VALUES ({id}, {user}, 'old');\n"));
            in_shop.push_str(&format!("INSERT INTO visits VALUES ({id}, 'u{user}@example.com');\n"));
        }
        in_crm.push_str(&format!("INSERT INTO contacts VALUES ({user}, 'u{user}@example.com', 'old');\n"));
    }
    shop.execute(&in_shop);
    crm.execute(&in_crm);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_rectification_survives_sigkill() {
    for shop in targets() {
        let crm = target_like(&shop);
        for store in stores().await {
            survive(&shop, &crm, &store.url, &Kills::Random).await;
            shop.execute("DROP TABLE notes; DROP TABLE visits; DROP TABLE users");
            crm.execute("DROP TABLE contacts");
        }
    }
}

pub async fn survive(shop: &Target, crm: &Target, store: &str, kills: &Kills) {
    println!("{:?} target, store {store}", shop.dialect);
    fill(shop, crm);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &shop.url), ("crm", &crm.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n  batch: { min_rows: 10, max_rows: 50, pause: 0 }\n",
    });
    let mut asked = Asked::default();
    through_kills(&site, kills, async |random| {
        let user = random.between(1, PEOPLE);
        let body = json!({
            "kind": "rectification", "plan": "customer", "subject": { "user_id": user },
            "changes": {
                "shop.users": { "email": format!("new{user}@example.com"), "name": "new" },
                "shop.notes": { "body": "new" },
                "crm.contacts": { "name": "new" },
            },
        });
        asked.submit(&site, user, body).await;
    })
    .await;
    let _process = site.serve().await;
    let accepted = asked.all(&site).await;
    for (_, request) in finished(&site, &accepted).await {
        assert_eq!(request["outcome"], "done", "{request}");
        assert_eq!(request["progress"]["rows_affected"], 1 + 5 + 5 + 1, "{request}");
        assert_eq!(request["progress"]["rows_matched"], 1 + 5 + 5 + 1, "{request}");
    }
    audit_verifies(&site).await;
    let mut wrong = 0;
    for user in 1..=PEOPLE {
        let (email, word) = match accepted.contains_key(&user) {
            true => (format!("new{user}@example.com"), "new"),
            false => (format!("u{user}@example.com"), "old"),
        };
        let holds = |target: &Target, sql: String| target.rows(&sql).len();
        wrong += usize::from(
            holds(
                shop,
                format!("SELECT id FROM users WHERE id = {user} AND email = '{email}' AND name = '{word}'"),
            ) != 1
                || holds(shop, format!("SELECT id FROM notes WHERE user_id = {user} AND body = '{word}'"))
                    != 5
                || holds(shop, format!("SELECT id FROM visits WHERE email = '{email}'")) != 5
                || holds(crm, format!("SELECT id FROM contacts WHERE email = '{email}' AND name = '{word}'"))
                    != 1,
        );
    }
    assert_eq!(wrong, 0, "{:?}", shop.dialect);
}
