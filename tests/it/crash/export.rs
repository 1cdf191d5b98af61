//! The service is killed at random moments while it makes packages: every export completes all the same, each package
//! holds exactly its person's rows, and no half of one is left.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{PLAN, schema, terminate, untouched};
use crate::{
    properties::random::Random,
    support::{
        environment,
        package::{rows, unzip},
        site::{Settings, Site},
        stores::stores,
        targets::{Target, targets},
    },
};

const PEOPLE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_export_survives_sigkill() {
    let kills: usize = environment("RIGHTFUL_KILLS").and_then(|kills| kills.parse().ok()).unwrap_or(6);
    for target in targets() {
        for store in stores().await {
            survive(&crate::support::targets::target_like(&target), &store.url, kills).await;
        }
    }
}

async fn survive(target: &Target, store: &str, kills: usize) {
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {:?} target, store {store}", target.dialect);
    let mut random = Random::new(seed);
    target.execute(&schema());
    let before = untouched(target);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        plan: PLAN,
        worker: "  lease: 1s\n  max_attempts: 1000\n",
    });
    let mut accepted: BTreeMap<usize, String> = BTreeMap::new();
    for _ in 0..kills {
        let process = site.start();
        site.ready().await;
        let user = random.between(1, PEOPLE);
        let body = json!({ "kind": "export", "plan": "customer", "subject": { "user_id": user } });
        if let Some(request) = site.submit_body(&body, Some(&format!("key-{user}"))).await {
            accepted.insert(user, request["id"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(random.below(60) as u64)).await;
        drop(process);
    }
    assert!(!accepted.is_empty(), "no submission was answered before its kill");
    let process = site.start();
    site.ready().await;
    for (user, id) in &accepted {
        let request = site.finished(id).await;
        assert_eq!(
            (&request["status"], &request["outcome"]),
            (&json!("completed"), &json!("done")),
            "{request}"
        );
        let bytes = site.download(&format!("/v1/requests/{id}/export")).await;
        holds_the_rows_of(&unzip(&bytes), *user, &before);
        let folders = std::fs::read_dir(site.folder().join("exports").join(id)).unwrap().count();
        assert_eq!(folders, 1, "what earlier attempts left is gone");
    }
    let audit = site.get("/v1/audit/verify").await.unwrap();
    assert_eq!(audit["ok"], true, "{audit}");
    assert_eq!(terminate(process).1, Some(0));
    assert_eq!(untouched(target), before, "an export changes nothing");
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
