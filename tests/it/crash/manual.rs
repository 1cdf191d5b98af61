//! Requests that wait for people, in a service that is killed at random moments: whatever was answered holds, and nobody
//! is waited for twice.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

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
connections:
  shop:
    users:
      erase: delete
manual:
  - { name: paper_file, do: Shred it }
  - { name: mailer, do: Write to them, recipient: Mailer Inc. }
";

const STEPS: [&str; 2] = ["paper_file", "mailer"];
/// Every other one has no row.
const PEOPLE: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_people_said_survives_sigkill() {
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        survive(&target, &store.url, &Kills::Random).await;
    }
}

pub async fn survive(target: &Target, store: &str, kills: &Kills) {
    println!("store {store}");
    let people: Vec<String> = (0..PEOPLE).step_by(2).map(|person| format!("({person})")).collect();
    target.execute(&format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES {}",
        people.join(", ")
    ));
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n",
    });
    let mut asked = Asked::default();
    let mut said: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    through_kills(&site, kills, async |random| {
        for _ in 0..PEOPLE {
            let person = random.below(PEOPLE);
            asked.erase(&site, person).await;
            let (step, result) = (STEPS[random.below(2)], ["done", "impossible"][random.below(2)]);
            if let Some(id) = asked.of(person)
                && let Some((200, _)) = say(&site, id, step, result).await
            {
                assert_eq!(said.insert((person, step), result), None, "a step is completed once");
            }
        }
    })
    .await;
    let _process = site.serve().await;
    let accepted = asked.all(&site).await;
    for (person, id) in &accepted {
        let request = finish(&site, id).await;
        assert_eq!(request["status"], "completed", "{request}");
        for step in request["steps"].as_array().unwrap() {
            let told = said.iter().find(|((of, name), _)| of == person && step["name"] == **name);
            assert!(told.is_none_or(|(_, result)| step["result"] == **result), "{told:?}: {request}");
        }
    }
    audit_verifies(&site).await;
}

async fn say(site: &Site, id: &str, step: &str, result: &str) -> Option<(u16, Value)> {
    let path = format!("/v1/requests/{id}/steps/{step}/complete");
    site.post(&path, &json!({ "result": result }), None).await
}

/// Says what is left to say, as soon as no worker is at the request.
async fn finish(site: &Site, id: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        for step in STEPS {
            say(site, id, step, "done").await;
        }
        let request = site.get(&format!("/v1/requests/{id}?wait=1s")).await.unwrap_or_default();
        if request.is_object() && !request["finished_at"].is_null() {
            return request;
        }
        assert!(Instant::now() < until, "not finished: {request}");
    }
}
