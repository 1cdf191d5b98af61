//! The service over real HTTP on a free port, on a store of its own, with users of every role.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use diesel::{Connection, connection::SimpleConnection};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, StatusCode, header::HeaderMap};
use rightful::{
    connectors::{Connector, objects::Objects, sql::SqlConnector, web::WebClient},
    domain::{clock::Clock, request::Kind, vault::Vault},
    http::{
        Options, Running,
        auth::{KeySource, Settings},
        serve,
    },
    service::{
        Connectors, Pacing, Service, backups::Backups, code::CodeSteps, evidence::Evidence, ledger::Ledgers,
        metrics::Metrics, packages::Packages, pseudonyms::Pseudonyms, registry::Registry, runs::Upkeep,
        watchers::Watchers, webhooks::Webhooks,
    },
    worker,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::stores::TestStore;

pub const ISSUER: &str = "https://idp.test";
pub const AUDIENCE: &str = "rightful";
pub const SECRET: &[u8] = b"a secret of the tests, long enough for HS256";
/// How long a condition may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The plan of most tests, on the shop of [`SHOP`].
pub const CUSTOMER: &str = "
plan: customer
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
connections:
  shop:
    users: { erase: delete }
    orders: { match: { user_id: users.id }, erase: { keep: invoices } }
    comments: { match: { email: users.email }, erase: delete, shared: true }
";

pub const SHOP: &str = "
CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER);
CREATE TABLE comments (id INTEGER PRIMARY KEY, email TEXT);
CREATE INDEX orders_user ON orders (user_id);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
  INSERT INTO users SELECT i, 'user' || i || '@example.com' FROM n;
INSERT INTO orders (user_id) SELECT id FROM users;
INSERT INTO comments (email) SELECT email FROM users;
CREATE TABLE logins (id INTEGER PRIMARY KEY, at TEXT NOT NULL);
INSERT INTO logins VALUES (1, '2001-01-01'), (2, '2199-01-01');
";

/// What differs from one test to the next.
pub struct Setup {
    pub keys: KeySource,
    pub approval: Vec<Kind>,
    pub webhooks: Webhooks,
    pub backups: Backups,
    pub upkeep: Upkeep,
    pub evidence: Evidence,
    /// Of packages.
    pub expires_after: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let client = WebClient::new(["127.0.0.1".to_owned()]).unwrap();
        Self {
            keys: KeySource::Hmac { secret: SECRET.to_vec() },
            approval: Vec::new(),
            webhooks: Webhooks { endpoints: BTreeMap::new(), client },
            backups: Backups::default(),
            upkeep: Upkeep::default(),
            evidence: Evidence::default(),
            expires_after: Duration::from_secs(600),
        }
    }
}

/// A running service. Dropping it stops what runs.
pub struct TestApp {
    pub service: Arc<Service>,
    pub base: String,
    pub store: TestStore,
    client: reqwest::Client,
    /// The target database and the plans.
    pub folder: TempDir,
    stop: watch::Sender<bool>,
    running: Option<Running>,
    worker: Option<JoinHandle<()>>,
}

impl TestApp {
    /// Without a worker: requests stay `approved`.
    pub async fn start(store: TestStore) -> Self {
        Self::with(store, Setup::default()).await
    }

    pub async fn with(mut store: TestStore, setup: Setup) -> Self {
        let Setup { keys, approval, webhooks, backups, upkeep, evidence, expires_after } = setup;
        let names = webhooks.endpoints.keys().cloned();
        store.store = store.store.clone().announcing_to(names);
        let folder = tempfile::tempdir().unwrap();
        let mut file =
            diesel::SqliteConnection::establish(folder.path().join("shop.db").to_str().unwrap()).unwrap();
        file.batch_execute(SHOP).unwrap();
        let plans = folder.path().join("plans");
        std::fs::create_dir(&plans).unwrap();
        std::fs::write(plans.join("customer.yaml"), CUSTOMER).unwrap();
        let service = Arc::new(Service {
            store: store.store.clone(),
            vault: Arc::new(Vault::new(&[7; 32])),
            clock: Clock,
            connectors: Arc::new(shop(&folder.path().join("shop.db"))),
            plans: Registry::default(),
            pacing: Pacing::default(),
            approval,
            metrics: Arc::new(Metrics::default()),
            wake: Arc::new(Notify::new()),
            watchers: Watchers::default(),
            webhooks,
            packages: Packages {
                objects: Objects::folder(&folder.path().join("exports")).unwrap(),
                expires_after,
            },
            backups,
            code: CodeSteps::default(),
            runs_wake: Arc::new(Notify::new()),
            upkeep,
            ledgers: Ledgers::default(),
            pseudonyms: Pseudonyms::default(),
            evidence,
        });
        load(&service, &plans).await;
        let running = serve(Arc::clone(&service), options(keys)).await.unwrap();
        Self {
            base: format!("http://{}", running.address),
            service,
            store,
            client: reqwest::Client::new(),
            folder,
            stop: watch::Sender::new(false),
            running: Some(running),
            worker: None,
        }
    }

    /// Registers another version of the plan.
    pub async fn change_plan(&self, plan: &str) {
        let plans = self.folder.path().join("plans");
        std::fs::write(plans.join("customer.yaml"), plan).unwrap();
        load(&self.service, &plans).await;
    }

    /// Starts a worker in this process.
    pub fn work(&mut self) {
        let (service, stop) = (Arc::clone(&self.service), self.stop.subscribe());
        self.worker = Some(tokio::spawn(async move {
            worker::run(service, "worker:test", stop).await.unwrap();
        }));
    }

    /// Stops the server; calls under way are answered first.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(running) = self.running.take() {
            running.stop().await.unwrap();
        }
        if let Some(worker) = self.worker.take() {
            worker.await.unwrap();
        }
    }

    pub fn admin(&self) -> User<'_> {
        self.user("alice", &["admin"])
    }

    pub fn approver(&self) -> User<'_> {
        self.user("arno", &["approver"])
    }

    pub fn auditor(&self) -> User<'_> {
        self.user("audrey", &["auditor"])
    }

    pub fn service_account(&self, name: &str) -> User<'_> {
        self.user(name, &["service"])
    }

    pub fn user(&self, sub: &str, roles: &[&str]) -> User<'_> {
        self.bearer(Some(token(&claims(sub, roles))))
    }

    pub fn nobody(&self) -> User<'_> {
        self.bearer(None)
    }

    pub fn bearer(&self, token: Option<String>) -> User<'_> {
        User { app: self, token }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn load(service: &Service, plans: &Path) {
    let loaded = service.plans.load(service, plans).await.unwrap();
    assert!(!loaded.is_refused(), "{:?}", loaded.faults);
}

fn options(keys: KeySource) -> Options {
    Options {
        listen: "127.0.0.1:0".to_owned(),
        auth: Settings {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            roles_claim: "roles".to_owned(),
            keys,
        },
        origins: vec!["https://panel.test".to_owned()],
        has_worker: false,
        has_api: true,
    }
}

fn shop(file: &Path) -> Connectors {
    let url = format!("sqlite:{}", file.display());
    let connector: Arc<dyn Connector> = Arc::new(SqlConnector::new(&url, 4).unwrap());
    let mut connectors = Connectors::default();
    connectors.insert("shop".to_owned(), connector);
    connectors
}

/// The claims of a good token.
pub fn claims(sub: &str, roles: &[&str]) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "roles": roles,
        "exp": Clock.now().timestamp() + 600,
    })
}

/// Signed as the configuration says.
pub fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A caller with a token, or without one.
#[derive(Clone)]
pub struct User<'a> {
    app: &'a TestApp,
    token: Option<String>,
}

impl User<'_> {
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.call(Method::GET, path, None, headers).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, body, &[]).await
    }

    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        self.call(Method::POST, path, Some(body.to_string()), &headers).await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = self.app.client.request(method, format!("{}{path}", self.app.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.unwrap_or_default()).send().await.unwrap();
        Reply {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    /// An answer's bytes, which need not be text.
    pub async fn download(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = self.app.client.get(format!("{}{path}", self.app.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
    }

    /// Submits an erasure of the user of that number.
    pub async fn submit(&self, number: u32) -> Reply {
        let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": number } });
        self.post("/v1/requests", &body).await
    }

    /// Reads a request until it has ended.
    pub async fn until_end(&self, id: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let request = self.get(&format!("/v1/requests/{id}?wait=5s")).await.ok();
            if !request["finished_at"].is_null() {
                return request;
            }
            assert!(Instant::now() < until, "still {request}");
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json()
    }

    /// The body of a problem with that code, which is one in every respect.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert!(body["type"].as_str().unwrap().ends_with(code), "{self:?}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{self:?}");
        assert!(!self.header("x-request-id").is_empty(), "{self:?}");
        body
    }
}

/// Waits until a condition holds; the test fails when it does not in time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
