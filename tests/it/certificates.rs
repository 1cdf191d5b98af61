//! Certificates: what each end is certified to be, how one looks, and that nothing in one can be changed.

mod ends;
mod mutations;
mod outside;
mod page;
mod refusals;

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use rightful::{
    domain::{
        certificate::{Verified, verify},
        checkpoint::{NewKey, PublicKey, Signer, SigningKey},
        request::Kind,
    },
    service::{
        Service,
        evidence::{Evidence, sequence},
    },
};
use serde_json::{Value, json};

use crate::support::{
    app::{Reply, Setup, TestApp, User, eventually},
    stores::{TestStore, sqlite_store, stores},
};

const ORIGIN: &str = "rightful.test/audit";

/// Rectifications wait for an approver, so that they can be denied and cancelled.
const PLAN: &str = "
plan: customer
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
connections:
  shop:
    users: { erase: delete, rectify: [email], cascade: true }
    orders: { match: { user_id: users.id }, erase: { keep: \"§ 147 AO\" } }
    comments: { match: { email: users.email }, erase: delete, shared: true }
";

/// A service that signs, and the key to its log.
struct World {
    app: TestApp,
    key: NewKey,
}

async fn world(store: TestStore, plan: &str) -> World {
    let key = NewKey::generate(ORIGIN).unwrap();
    let signing = SigningKey::parse(&key.private).unwrap();
    let signer = Signer { origin: ORIGIN.to_owned(), keys: vec![signing] };
    let evidence = Evidence { signer: Some(signer), sinks: Vec::new() };
    let setup = Setup { evidence, approval: vec![Kind::Rectification], ..Setup::default() };
    let app = TestApp::with(store, setup).await;
    app.change_plan(plan).await;
    World { app, key }
}

async fn worlds(plan: &str) -> Vec<World> {
    let mut worlds = Vec::new();
    for store in stores().await {
        worlds.push(world(store, plan).await);
    }
    worlds
}

fn path(id: &str) -> String {
    format!("/v1/requests/{id}/certificate")
}

fn id(request: &Value) -> &str {
    request["id"].as_str().unwrap()
}

/// Sequences until everything has its place and is signed.
async fn sign(service: &Service) {
    eventually("everything is signed", async || {
        sequence(service).await.unwrap();
        let state = service.store.log_state().await.unwrap();
        let newest = service.store.newest_checkpoint().await.unwrap();
        !state.is_behind && newest.is_some_and(|newest| newest.size == state.size)
    })
    .await;
}

impl World {
    fn keys(&self) -> [PublicKey; 1] {
        [self.key.public.parse().unwrap()]
    }

    /// The certificate of a request that has ended, which everybody who may read it gets alike, and which holds.
    async fn certified(&self, id: &str) -> (Value, Verified) {
        sign(&self.app.service).await;
        let reply = self.app.admin().get(&path(id)).await;
        assert_eq!(reply.header("content-type"), "application/json", "{reply:?}");
        assert_eq!(self.app.auditor().get(&path(id)).await.text, reply.text);
        let verified =
            verify(reply.text.as_bytes(), &self.keys()).unwrap_or_else(|why| panic!("{why}: {reply:?}"));
        (reply.ok(), verified)
    }

    async fn submit(&self, body: &Value) -> Value {
        submit(&self.app.admin(), body).await
    }

    async fn ended(&self, request: &Value) -> Value {
        self.app.admin().until_end(id(request)).await
    }

    /// An erasure of somebody with an order, which stays.
    async fn erased(&self, number: u32) -> String {
        let request = self.app.admin().submit(number).await.ok();
        id(&self.ended(&request).await).to_owned()
    }

    fn target(&self, sql: &str) {
        let file = self.app.folder.path().join("shop.db");
        let mut target = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        target.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).unwrap();
    }
}

async fn submit(user: &User<'_>, body: &Value) -> Value {
    let mut whole = json!({ "kind": "erasure", "plan": "customer" });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let reply = user.post("/v1/requests", &whole).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.ok()
}

/// One certificate, as JSON, for tests that take it apart.
async fn one() -> (World, String) {
    let mut world = world(sqlite_store().await, PLAN).await;
    // Others before and after it, so that the proof is a long one.
    world.app.work();
    world.erased(3).await;
    let id = world.erased(1).await;
    world.erased(4).await;
    let (certificate, _) = world.certified(&id).await;
    (world, certificate.to_string())
}

fn step<'a>(statement: &'a Value, name: &str) -> &'a Value {
    let steps = statement["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {statement}"))
}

async fn html(user: &User<'_>, id: &str) -> Reply {
    user.get(&format!("{}?format=html", path(id))).await
}
