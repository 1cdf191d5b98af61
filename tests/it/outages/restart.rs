//! A PostgreSQL server that is really restarted, without being asked to finish what it does.

use super::{LARGE, LONG, SLOWLY, Scene};
use crate::support::{
    cluster::Cluster,
    stores::sqlite_store,
    targets::{Dialect, Target, target},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_restarted_is_gone_on_with() {
    let Some(cluster) = Cluster::start(50) else { return };
    let store = sqlite_store().await;
    let target = Target::at(Dialect::Postgres, &cluster.url());
    let url = target.url.clone();
    let scene = Scene::new(&store.url, target, &url, SLOWLY);
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    cluster.restart();
    scene.recovers("target restarted", &large).await;
    let small = scene.submit(4).await;
    cluster.restart();
    scene.target.reconnect();
    scene.has_waited(&large).await;
    scene.ends_well(process, &[(LARGE, large), (4, small)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_restarted_has_what_it_accepted() {
    let Some(cluster) = Cluster::start(50) else { return };
    let target = target(Dialect::Sqlite).expect("SQLite");
    let url = target.url.clone();
    let store = format!("{}/postgres", cluster.url());
    let scene = Scene::new(&store, target, &url, &format!("{LONG}{SLOWLY}"));
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    cluster.restart();
    scene.recovers("store restarted", &large).await;
    let small = scene.submit_in_the_end(4).await;
    cluster.restart();
    let late = scene.submit_in_the_end(6).await;
    scene.has_waited(&large).await;
    scene.ends_well(process, &[(LARGE, large), (4, small), (6, late)]).await;
}
