//! Consents that are recorded while persons are erased, in a service that is killed at random moments: what was answered is
//! there, under each key once, and nobody who was erased keeps a name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    audit_verifies,
    kills::{Asked, Kills, through_kills},
};
use crate::support::{
    site::{Settings, Site},
    stores::stores,
    targets::{Dialect, Target, target},
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
";

const PEOPLE: usize = 8;
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[tokio::test(flavor = "multi_thread")]
async fn consents_survive_sigkill_once_each() {
    for store in stores().await {
        println!("store {}", store.url);
        survive(&target(Dialect::Sqlite).unwrap(), &store.url, &Kills::Random).await;
    }
}

/// One of four acts of each person; `None` when nobody answered.
async fn give(site: &Site, person: usize, number: usize) -> Option<Value> {
    let subject = match number % 2 {
        0 => json!({ "user_id": person }),
        _ => json!({ "email": format!("u{person}@example.com") }),
    };
    let body = json!({
        "plan": "customer", "subject": subject, "purpose": format!("purpose{number}"), "state": "given",
        "text": { "version": "1", "hash": HASH }, "source": "app",
    });
    let (status, consent) =
        site.post("/v1/consents", &body, Some(&format!("consent-{person}-{number}"))).await?;
    assert!(status == 201 || status == 200, "{status}: {consent}");
    Some(consent)
}

pub async fn survive(target: &Target, store: &str, kills: &Kills) {
    let rows: Vec<String> = (0..PEOPLE).map(|n| format!("({n}, 'u{n}@example.com')")).collect();
    target.execute(&format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL); INSERT INTO users VALUES {}",
        rows.join(", ")
    ));
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n",
    });
    let site = &site;
    let (mut erasures, mut given) = (Asked::default(), BTreeMap::new());
    through_kills(site, kills, async |random| {
        for turn in 0..PEOPLE {
            let erased = random.below(PEOPLE / 2);
            // Also of whoever is erased next.
            let person = if turn % 2 == 0 { erased } else { random.below(PEOPLE) };
            let number = random.below(4);
            if let Some(consent) = give(site, person, number).await {
                let before = given.insert((person, number), consent["id"].clone());
                assert!(before.is_none_or(|before| before == consent["id"]), "once under each key");
            }
            erasures.erase(site, erased).await;
        }
    })
    .await;
    let _process = site.serve().await;
    let erasures = erasures.all(site).await;
    let mut ended = BTreeMap::new();
    for (person, id) in &erasures {
        ended.insert(*person, site.finished(id).await["finished_at"].as_str().unwrap().to_owned());
    }
    for person in 0..PEOPLE {
        for number in 0..4 {
            let consent = give(site, person, number).await.expect("an answer");
            let known = given.entry((person, number)).or_insert_with(|| consent["id"].clone());
            assert_eq!(*known, consent["id"], "what was answered is there");
            let is_erased =
                ended.get(&person).is_some_and(|end| consent["at"].as_str().unwrap() <= end.as_str());
            assert!(!is_erased || consent["pseudonymised"] == true, "{consent}");
            assert!(ended.contains_key(&person) || consent["pseudonymised"] == false, "{consent}");
        }
    }
    let all = site.get("/v1/consents?limit=500").await.expect("an answer");
    assert_eq!(all["items"].as_array().unwrap().len(), PEOPLE * 4, "none lost, none doubled");
    audit_verifies(site).await;
}
