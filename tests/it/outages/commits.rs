//! A commit whose answer was lost has happened all the same. Whoever did not get it finds that out.

use futures::future::join_all;

use super::{LARGE, LONG, Scene};
use crate::support::{
    proxy::Proxy,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target, targets},
};

const BATCHES: &str = "  batch: { min_rows: 50, max_rows: 50, pause: 0 }\n";

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
        scene.ends_well(process, &accepted).await;
    }
}
