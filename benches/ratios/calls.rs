//! What the admin panel does most: it submits, beside pgbench inserting the same rows, and it asks how far a request is, beside
//! a server of the bare framework that gives the same bytes.

use std::time::Duration;

use actix_web::{App, HttpServer, web};
use serde_json::{Value, json};

use super::{
    client::{CLIENTS, Client, rate},
    memory::resident_mib,
    pgbench, plans, record,
    site::{Settings, Site},
    store::Store,
    table::{Goal, Row},
    target::Target,
};

const TIME: Duration = Duration::from_secs(8);

pub fn accept_name() -> String {
    format!("submissions over HTTP, {CLIENTS} clients, PostgreSQL store")
}

pub fn poll_name(store: Store) -> String {
    format!("a request's status over HTTP, {CLIENTS} clients, {} store", store.as_str())
}

/// A service whose requests wait for an approver, so that nothing else is measured.
async fn site(store: &str, target: &Target) -> Site {
    target.run("CREATE TABLE users (id int PRIMARY KEY)").await;
    Site::new(&Settings {
        store,
        connections: &[("shop", &target.url())],
        service: None,
        plan: plans::USERS,
        worker: "  concurrency: 4\napproval: { erasure: required }\n",
    })
}

/// One for each client.
fn tokens(site: &Site) -> Vec<String> {
    (0..CLIENTS).map(|number| site.token("admin", &format!("panel{number}"))).collect()
}

fn submission(number: u64) -> String {
    json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": number } }).to_string()
}

pub async fn accept() -> Row {
    let target = Target::new("accept").await;
    let (url, store) = Store::Postgres.open().await;
    let store = store.expect("a database");
    let site = site(&url, &target).await;
    let process = site.serve().await;
    let tokens = tokens(&site);
    let (base, _) = site.access();
    let service = rate(base, &tokens, TIME, (202, "POST /v1/requests"), submission).await;
    let resident_mib = resident_mib(&process);
    let script = record::script(&store).await;
    drop(process);
    #[expect(clippy::cast_possible_truncation, reason = "a few thousand a second")]
    let transactions = (service * TIME.as_secs_f64()) as i64;
    let beside = pgbench::rate(&store, &script, transactions);
    store.drop().await;
    target.drop().await;
    Row { name: accept_name(), unit: "1/s", service, beside, goal: Goal::AtLeast(0.5), resident_mib }
}

pub async fn poll(kind: Store) -> Row {
    let target = Target::new("poll").await;
    let (url, store) = kind.open().await;
    let site = site(&url, &target).await;
    let process = site.serve().await;
    let tokens = tokens(&site);
    let (base, token) = site.access();
    let mut client = Client::connect(base, token).await.expect("a connection");
    let request = client.expect(202, "POST /v1/requests", &submission(1)).await;
    let request: Value = serde_json::from_slice(&request).expect("JSON");
    let what = format!("GET /v1/requests/{}", request["id"].as_str().expect("an id"));
    let bytes = client.expect(200, &what, "").await;
    let service = rate(base, &tokens, TIME, (200, &what), |_| String::new()).await;
    let resident_mib = resident_mib(&process);
    drop(process);
    let beside = bare(bytes).await;
    if let Some(store) = store {
        store.drop().await;
    }
    target.drop().await;
    Row { name: poll_name(kind), unit: "1/s", service, beside, goal: Goal::AtLeast(0.5), resident_mib }
}

/// The same with nothing behind it.
async fn bare(bytes: Vec<u8>) -> f64 {
    let bytes = web::Bytes::from(bytes);
    let app = move || {
        let bytes = bytes.clone();
        let give = move || {
            let answer = bytes.clone();
            async move { answer }
        };
        App::new().route("/v1/requests/{id}", web::get().to(give))
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(app).disable_signals().bind("127.0.0.1:0").expect("a port");
            let port = server.addrs().first().expect("an address").port();
            let server = server.run();
            sender.send((port, server.handle())).expect("somebody who waits");
            server.await
        })
    });
    let (port, handle) = receiver.recv().expect("a server");
    let base = format!("http://127.0.0.1:{port}");
    let rate = rate(&base, &[], TIME, (200, "GET /v1/requests/1"), |_| String::new()).await;
    handle.stop(false).await;
    rate
}
