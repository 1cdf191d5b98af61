//! A server that has fewer connections than are asked for.

use futures::future::join_all;
use serde_json::Value;

use super::{LARGE, PATIENCE, SLOWLY, Scene};
use crate::support::{
    cluster::Cluster,
    stores::sqlite_store,
    targets::{Dialect, Target, target},
};

/// Of the server; the service alone would take more.
const CONNECTIONS: u16 = 10;

/// Everything that is free; they end when dropped.
async fn all_that_are_free(url: &str, taken: &mut Vec<tokio_postgres::Client>) {
    while let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_a_free_connection_is_waited_for() {
    let Some(cluster) = Cluster::start(CONNECTIONS) else { return };
    let store = sqlite_store().await;
    let target = Target::at(Dialect::Postgres, &cluster.url());
    let url = target.url.clone();
    let scene = Scene::new(&store.url, target, &url, SLOWLY);
    let process = scene.site.serve().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    let mut taken = Vec::new();
    all_that_are_free(&format!("{}/postgres", cluster.url()), &mut taken).await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rightful'";
    let begun = std::time::Instant::now();
    // It may have been quicker than the test and have one again.
    loop {
        taken[0].batch_execute(others).await.expect("ended");
        all_that_are_free(&format!("{}/postgres", cluster.url()), &mut taken).await;
        let request = scene.site.get(&format!("/v1/requests/{large}")).await.unwrap_or_default();
        if request["error"]["detail"].as_str().is_some_and(|detail| detail.contains("too many connections")) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {request}");
    }
    scene.until_paused(&mut store.session(), &large, "connection_unavailable", "too many connections").await;
    drop(taken);
    scene.recovers("target without a free connection", &large).await;
    scene.has_waited(&large).await;
    let accepted = [(LARGE, large)];
    scene.counts_what_was_there(&accepted).await;
    scene.ends_well(process, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_few_connections_makes_callers_wait_or_come_again() {
    let Some(cluster) = Cluster::start(CONNECTIONS) else { return };
    let target = target(Dialect::Sqlite).expect("SQLite");
    let url = target.url.clone();
    let scene = Scene::new(&format!("{}/postgres", cluster.url()), target, &url, SLOWLY);
    let process = scene.site.serve().await;
    let users: Vec<usize> = (1..=20).collect();
    let all = users.iter().map(|user| async {
        let (id, read) = tokio::join!(scene.submit_in_the_end(*user), reads(&scene));
        (*user, id, read)
    });
    let all = join_all(all).await;
    let refused: usize = all.iter().map(|(_, _, refused)| refused).sum();
    println!("{refused} readings were asked to come again");
    let accepted: Vec<(usize, String)> = all.into_iter().map(|(user, id, _)| (user, id)).collect();
    scene.counts_what_was_there(&accepted).await;
    scene.ends_well(process, &accepted).await;
}

/// How many of a few readings were told to come again; none was told anything else.
async fn reads(scene: &Scene) -> usize {
    let mut refused = 0;
    for path in ["/v1/requests", "/v1/audit", "/v1/plans/customer", "/readyz"] {
        let answer = scene.call("GET", path, &Value::Null).await;
        assert!(matches!(answer.status, 200 | 503), "{path}: {} {}", answer.status, answer.body);
        assert!(answer.status == 200 || answer.retry_after, "{path}");
        refused += usize::from(answer.status == 503);
    }
    refused
}
