//! A server that hangs, and a network that swallows packets: nobody says that anything is wrong.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{LARGE, SLOWLY, Scene};
use crate::support::{
    proxy::Proxy,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target, targets},
};

#[derive(Clone, Copy, Debug)]
enum Silence {
    Hangs,
    Swallows,
}

impl Silence {
    fn falls(self, proxy: &Proxy) {
        match self {
            Self::Hangs => proxy.hangs(),
            Self::Swallows => proxy.swallows(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_is_waited_for_so_long_and_no_longer() {
    let mut scenes = Vec::new();
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        for (store, silence) in stores().await.into_iter().zip([Silence::Hangs, Silence::Swallows]) {
            if let Some(target) = target(dialect) {
                scenes.push(target_falls_silent(store, target, silence));
            }
        }
    }
    join_all(scenes).await;
}

async fn target_falls_silent(store: TestStore, target: Target, silence: Silence) {
    let what = format!("{:?} target {silence:?}, store {}", target.dialect, store.url);
    let proxy = Proxy::before_target(&target).await.expect("a server");
    let url = proxy.url(&target.url);
    let scene = Scene::new(&store.url, target, &url, &format!("  lease: 1s\n{SLOWLY}"));
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    silence.falls(&proxy);
    let fallen = Instant::now();
    scene.until_paused(&mut store.session(), &large, "connection_unavailable", "").await;
    println!("{what}: paused {:.1?} after it fell silent", fallen.elapsed());
    proxy.is_back().await;
    scene.recovers(&what, &large).await;
    scene.ends_well(process, &[(LARGE, large)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_keeps_nobody_waiting_for_ever() {
    let silences = [Silence::Hangs, Silence::Swallows];
    let mut scenes = Vec::new();
    for silence in silences {
        for store in stores().await.into_iter().filter(|store| !store.is_sqlite()) {
            scenes.push(store_falls_silent(store, silence));
        }
    }
    join_all(scenes).await;
}

async fn store_falls_silent(store: TestStore, silence: Silence) {
    let proxy = Proxy::before(Dialect::Postgres, 5432).await;
    let target = targets().remove(0);
    let url = target.url.clone();
    let scene = Scene::new(&proxy.url(&store.url), target, &url, &format!("  lease: 3s\n{SLOWLY}"));
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    silence.falls(&proxy);

    let asked = Instant::now();
    let path = format!("/v1/requests/{large}");
    let submission = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": 4 } });
    scene.is_unavailable("GET", "/readyz", &Value::Null).await;
    assert!(asked.elapsed() < Duration::from_secs(8), "whoever asks whether it is ready has little time");
    tokio::join!(
        scene.is_unavailable("POST", "/v1/requests", &submission),
        scene.is_unavailable("GET", &path, &Value::Null)
    );
    assert_eq!(scene.call("GET", "/healthz", &Value::Null).await.status, 200);

    proxy.is_back().await;
    scene.recovers(&format!("store {silence:?}"), &large).await;
    let late = scene.submit_in_the_end(6).await;
    let mut accepted = vec![(LARGE, large), (6, late)];
    // Sent while the store was silent: what hangs may be carried out after all, and its client never learned of it.
    let all = scene.read("/v1/requests?limit=500").await;
    for request in all["items"].as_array().expect("requests") {
        if request["subject"]["user_id"] == 4 {
            accepted.push((4, request["id"].as_str().expect("an id").to_owned()));
        }
    }
    scene.ends_well(process, &accepted).await;
}
