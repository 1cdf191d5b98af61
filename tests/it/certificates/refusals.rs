//! When there is no certificate, and what is said then.

use serde_json::json;

use super::{PLAN, World, id, path, sign, world, worlds};
use crate::support::{
    app::{Setup, TestApp},
    stores::{sqlite_store, stores},
};

#[tokio::test(flavor = "multi_thread")]
async fn there_is_none_before_the_end_and_before_a_checkpoint_covers_it() {
    for world in worlds(PLAN).await {
        let (app, admin) = (&world.app, world.app.admin());
        admin.get(&path("019a0000-0000-7000-8000-000000000000")).await.problem(404, "not_found");
        let request = admin.submit(1).await.ok();
        assert!(request["links"]["certificate"].is_null(), "{request}");
        let problem = admin.get(&path(id(&request))).await.problem(409, "invalid_state");
        assert_eq!(problem["detail"], "A request that is approved cannot be certified.");
        sign(&app.service).await;
        let ended = admin.post(&format!("/v1/requests/{}/cancel", id(&request)), &json!({})).await.ok();
        assert_eq!(ended["links"]["certificate"], path(id(&request)));
        let reply = admin.get(&path(id(&request))).await;
        reply.problem(503, "unavailable");
        assert_eq!(reply.header("retry-after"), "1");
        world.certified(id(&request)).await;
        admin.get(&format!("{}?format=xml", path(id(&request)))).await.problem(422, "invalid_body");
        admin.get(&format!("{}?forma=json", path(id(&request)))).await.problem(422, "invalid_body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_those_of_its_own_requests() {
    let World { app, .. } = world(sqlite_store().await, PLAN).await;
    let (own, other) = (app.service_account("crm"), app.service_account("shop"));
    let request = own.submit(1).await.ok();
    app.admin().post(&format!("/v1/requests/{}/cancel", id(&request)), &json!({})).await.ok();
    sign(&app.service).await;
    own.get(&path(id(&request))).await.ok();
    app.approver().get(&path(id(&request))).await.ok();
    other.get(&path(id(&request))).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_can_be_proved() {
    for store in stores().await {
        let app = TestApp::with(store, Setup::default()).await;
        let request = app.admin().submit(1).await.ok();
        app.admin().post(&format!("/v1/requests/{}/cancel", id(&request)), &json!({})).await.ok();
        let problem = app.auditor().get(&path(id(&request))).await.problem(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains("no evidence.key"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_before_there_were_certificates_has_none() {
    for world in worlds(PLAN).await {
        let request = world.app.admin().submit(1).await.ok();
        // As the program before has written it.
        let mut tx = world.app.store.store.begin().await.unwrap();
        let mut old = tx.lock_request(id(&request).parse().unwrap()).await.unwrap().unwrap();
        let cancelled = old.cancel("alice", rightful::domain::request::WithReason::None, old.created_at);
        let rightful::domain::request::Cancelled::AtOnce(mut event) = cancelled.unwrap() else {
            panic!("at once")
        };
        event.details.as_object_mut().unwrap().remove("statement").unwrap();
        tx.write(&mut old, vec![event]).await.unwrap();
        tx.commit().await.unwrap();
        sign(&world.app.service).await;
        let problem = world.app.admin().get(&path(id(&request))).await.problem(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains("before there were certificates"), "{problem}");
    }
}
