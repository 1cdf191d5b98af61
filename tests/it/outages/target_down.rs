//! A target database that is restarted: nobody listens for a while.

use futures::future::join_all;

use super::{LARGE, SLOWLY, Scene};
use crate::support::{
    proxy::Proxy,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_waits_for_a_target_that_is_down_and_goes_on_when_it_is_back() {
    let mut scenes = Vec::new();
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        for store in stores().await {
            if let Some(target) = target(dialect) {
                scenes.push(goes_on(store, target));
            }
        }
    }
    join_all(scenes).await;
}

async fn goes_on(store: TestStore, target: Target) {
    let proxy = Proxy::before_target(&target).await.expect("a server");
    let what = format!("{:?} target, store {}", target.dialect, store.url);
    let url = proxy.url(&target.url);
    let scene = Scene::new(&store.url, target, &url, SLOWLY);
    let process = scene.site.serve().await;

    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    proxy.goes_down().await;
    // One whose person is not even known yet.
    let small = scene.submit(4).await;
    for id in [&large, &small] {
        scene.until_paused(&mut store.session(), id, "connection_unavailable", "nobody answers").await;
    }
    proxy.is_back().await;
    let (middle, start) = (format!("{what}, in the middle"), format!("{what}, before the first batch"));
    tokio::join!(scene.recovers(&middle, &large), scene.recovers(&start, &small));
    scene.ends_well(process, &[(LARGE, large), (4, small)]).await;
}
