//! A PostgreSQL store that is restarted: nobody listens for a while.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LARGE, LONG, SLOWLY, Scene};
use crate::support::{
    proxy::Proxy,
    stores::stores,
    targets::{Dialect, targets},
};

#[tokio::test(flavor = "multi_thread")]
async fn callers_come_again_and_requests_go_on_when_the_store_is_back() {
    for store in stores().await.into_iter().filter(|store| !store.is_sqlite()) {
        let proxy = Proxy::before(Dialect::Postgres, 5432).await;
        let target = targets().remove(0);
        let url = target.url.clone();
        let scene = Scene::new(&proxy.url(&store.url), target, &url, &format!("{LONG}{SLOWLY}"));
        let mut process = scene.site.serve().await;
        let large = scene.submit(LARGE).await;
        let small = scene.submit(4).await;
        scene.until_under_way(&large).await;
        proxy.goes_down().await;

        let path = format!("/v1/requests/{large}");
        let submission = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": 6 } });
        for _ in 0..3 {
            scene.is_unavailable("POST", "/v1/requests", &submission).await;
            scene.is_unavailable("GET", &path, &Value::Null).await;
            scene.is_unavailable("GET", "/readyz", &Value::Null).await;
            assert_eq!(scene.call("GET", "/healthz", &Value::Null).await.status, 200);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(process.0.try_wait().expect("its state").is_none(), "the service has ended");

        proxy.is_back().await;
        scene.recovers("store down", &large).await;
        let late = scene.submit_in_the_end(6).await;
        scene.site.ready().await;
        scene.ends_well(process, &[(LARGE, large), (4, small), (6, late)]).await;
    }
}
