//! The service is killed at random moments while it makes packages: every export completes all the same, each package
//! holds exactly its person's rows, and no half of one is left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    PLAN, audit_verifies, finished,
    kills::{Asked, Kills, through_kills},
    schema, terminate, untouched,
};
use crate::support::{
    app::eventually,
    package::{rows, unzip},
    site::{Settings, Site},
    stores::{TestStore, stores},
    targets::{Target, target_like, targets},
};

const PEOPLE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_export_survives_sigkill() {
    for target in targets() {
        for store in stores().await {
            survive(&target_like(&target), &store.url, &Kills::Random).await;
        }
    }
}

pub async fn survive(target: &Target, store: &str, kills: &Kills) {
    println!("{:?} target, store {store}", target.dialect);
    target.execute(&schema());
    let before = untouched(target);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n",
    });
    let mut asked = Asked::default();
    through_kills(&site, kills, async |random| {
        let user = random.between(1, PEOPLE);
        asked.submit(&site, user, body(user)).await;
        if let Some(id) = asked.of(user) {
            // Taken where it is there already.
            site.get(&format!("/v1/requests/{id}/export")).await;
        }
    })
    .await;
    let process = site.serve().await;
    let accepted = asked.all(&site).await;
    for (user, request) in finished(&site, &accepted).await {
        assert_eq!(request["outcome"], "done", "{request}");
        let id = request["id"].as_str().unwrap();
        let bytes = site.download(&format!("/v1/requests/{id}/export")).await;
        holds_the_rows_of(&unzip(&bytes), user, &before);
        let folder = site.folder().join("exports").join(id);
        eventually("what earlier attempts left is gone", async || {
            std::fs::read_dir(&folder).unwrap().count() == 1
        })
        .await;
    }
    audit_verifies(&site).await;
    assert_eq!(terminate(process).1, Some(0));
    assert_eq!(untouched(target), before, "an export changes nothing");
}

fn body(user: usize) -> Value {
    json!({ "kind": "export", "plan": "customer", "subject": { "user_id": user } })
}

/// A package whose time is over while no process runs: its key goes, then its parts, and each is told of once.
pub async fn expire(target: &Target, store: &TestStore, kills: &Kills) {
    target.execute(&schema());
    let site = Site::new(&Settings {
        store: &store.url,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n",
    });
    let mut asked = Asked::default();
    let process = site.serve().await;
    for user in 1..=3 {
        asked.submit(&site, user, body(user)).await;
    }
    let accepted = asked.all(&site).await;
    finished(&site, &accepted).await;
    drop(process);
    store.session().execute("UPDATE packages SET expires_at = '2001-01-01 00:00:00.000000'");
    through_kills(&site, kills, async |_| {}).await;
    let _process = site.serve().await;
    for id in accepted.values() {
        let path = format!("/v1/requests/{id}/export");
        let folder = site.folder().join("exports").join(id);
        eventually("the package is gone", async || {
            let answer = site.get(&path).await.unwrap_or_default();
            answer["status"] == 410 && !folder.exists()
        })
        .await;
        let events = super::all(&site, &format!("/v1/requests/{id}/events")).await;
        assert_eq!(events.iter().filter(|event| event["event"] == "export.expired").count(), 1, "{events:?}");
    }
    audit_verifies(&site).await;
}

fn holds_the_rows_of(
    files: &BTreeMap<String, String>,
    user: usize,
    before: &BTreeMap<String, Vec<Vec<Option<String>>>>,
) {
    for table in ["users", "orders", "order_items", "visits", "notes"] {
        let mut found: Vec<i64> = rows(files, &format!("shop.{table}"))
            .iter()
            .map(|row: &Value| row["id"].as_i64().unwrap())
            .collect();
        found.sort_unstable();
        let number = |row: &Vec<Option<String>>| row[0].as_ref().unwrap().parse::<i64>().unwrap();
        let owner = |id: i64| if table == "users" { id } else { id / 1000 };
        let wanted: Vec<i64> = before[table]
            .iter()
            .map(number)
            .filter(|id| owner(*id) == i64::try_from(user).unwrap())
            .collect();
        assert_eq!(found, wanted, "{table} of {user}");
    }
}
