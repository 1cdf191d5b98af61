//! A commit whose answer was lost has happened all the same. Whoever did not get it finds that out.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use super::{LARGE, LONG, PATIENCE, Scene};
use crate::support::{
    proxy::Proxy,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target, targets},
};

const BATCHES: &str = "  batch: { min_rows: 50, max_rows: 50, pause: 0 }\n";

const POLICY: &str = "retention:
  policies:
    logins: { connection: shop, table: logins, timestamp: at, older_than: 1y, action: delete, basis: no purpose any more }
";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_target_has_committed_is_counted_once() {
    let mut scenes = Vec::new();
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        for store in stores().await {
            if let Some(target) = target(dialect) {
                scenes.push(lost_by_target(store, target));
            }
        }
    }
    join_all(scenes).await;
}

async fn lost_by_target(store: TestStore, target: Target) {
    let proxy = Proxy::before_target(&target).await.expect("a server");
    let url = proxy.url(&target.url);
    let scene = Scene::new(&store.url, target, &url, BATCHES);
    let process = scene.site.serve().await;
    proxy.loses_one_in(4);
    let mut accepted = Vec::new();
    for user in [LARGE, 4, 6, 8, 10] {
        accepted.push((user, scene.submit(user).await));
    }
    let mut recovered = 0;
    for (_, id) in &accepted {
        let request = scene.site.finished(id).await;
        let events = scene.events(&request).await;
        recovered += events.iter().filter(|event| event["details"]["recovered"] == true).count();
    }
    println!("{url}: {} answers lost, {recovered} recovered", proxy.lost());
    assert!(proxy.lost() > 0 && recovered > 0);
    scene.counts_what_was_there(&accepted).await;
    scene.ends_well(process, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_has_committed_is_accepted_and_counted_once() {
    for store in stores().await.into_iter().filter(|store| !store.is_sqlite()) {
        let proxy = Proxy::before(Dialect::Postgres, 5432).await;
        let target = targets().remove(0);
        let url = target.url.clone();
        let scene = Scene::new(&proxy.url(&store.url), target, &url, &format!("{LONG}{BATCHES}"));
        let process = scene.site.serve().await;
        // Of submissions, claims, records and ends alike.
        proxy.loses_one_in(5);
        let mut accepted = Vec::new();
        for user in [LARGE, 4, 6, 8, 10] {
            accepted.push((user, scene.submit_in_the_end(user).await));
        }
        for (_, id) in &accepted {
            scene.until(id, "it ends", |request| !request["finished_at"].is_null()).await;
        }
        println!("{} answers lost", proxy.lost());
        assert!(proxy.lost() > accepted.len());
        proxy.loses_one_in(0);
        scene.counts_what_was_there(&accepted).await;
        scene.ends_well(process, &accepted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_claim_was_not_answered_is_taken_up_again() {
    for store in stores().await.into_iter().filter(|store| !store.is_sqlite()) {
        let proxy = Proxy::before(Dialect::Postgres, 5432).await;
        let target = targets().remove(0);
        let url = target.url.clone();
        let scene = Scene::new(&proxy.url(&store.url), target, &url, &format!("{LONG}{POLICY}"));
        scene.target.execute("CREATE TABLE logins (id INTEGER PRIMARY KEY, at DATE NOT NULL)");
        scene.target.execute("INSERT INTO logins VALUES (1, '2001-01-01'), (2, '2199-01-01')");
        let process = scene.site.serve().await;
        proxy.loses_one_in(1);
        let begun = Instant::now();
        let mut session = store.session();
        let mut is_claimed =
            || session.rows("SELECT id FROM runs WHERE epoch > 0 AND lease_until IS NOT NULL").len() == 1;
        while !is_claimed() {
            let answer = scene.call("POST", "/v1/retention/logins/run", &json!({})).await;
            assert!(matches!(answer.status, 503 | 409), "{}", answer.body);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(begun.elapsed() < PATIENCE, "never claimed");
        }
        proxy.loses_one_in(0);
        let begun = Instant::now();
        loop {
            let runs = scene.read("/v1/runs").await;
            if runs["items"][0]["status"] == "completed" {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "not taken up again: {runs}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("taken up again after {:.1?}", begun.elapsed());
        assert_eq!(scene.target.rows("SELECT id FROM logins"), [[Some("2".to_owned())]]);
        scene.ends_well(process, &[]).await;
    }
}
