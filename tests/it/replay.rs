//! Replays: a restored backup brings erased people back, and they are erased again, they and nobody else.

mod cli;
mod edges;
mod ledger;
mod restore;
mod under_way;

use rightful::{
    domain::{
        replay::{Item, Progress},
        request::{Kind, Request},
        run::Run,
    },
    service::{
        Pacing,
        readings::Reader,
        replays,
        runs::{self, Asked},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    retention::go_on,
    support::{
        harness::Harness,
        stores::{TestStore, stores},
        targets::{Dialect, Target, target},
    },
};

pub const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users: { erase: delete }
    visits: { match: { email: users.email }, erase: delete }
";

/// Users 1 to 5, each with two visits.
pub fn seed(target: &Target) {
    let mut sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);\n"
        .to_owned();
    for user in 1..=5 {
        sql.push_str(&row_of(user));
    }
    target.execute(&sql);
}

fn row_of(user: usize) -> String {
    let (one, two) = (user * 10, user * 10 + 1);
    format!(
        "INSERT INTO users VALUES ({user}, 'u{user}@example.com');\n\
         INSERT INTO visits VALUES ({one}, 'u{user}@example.com'), ({two}, 'u{user}@example.com');\n"
    )
}

/// What a backup of the time before would bring back.
pub fn bring_back(target: &Target, users: &[usize]) {
    target.execute(&users.iter().map(|user| row_of(*user)).collect::<String>());
}

/// The ids that are there, of users and of visits.
pub fn there(target: &Target) -> (String, String) {
    let ids = |table| crate::retention::ids(target, table);
    (ids("users"), ids("visits"))
}

pub fn reader(sub: &str) -> Reader {
    Reader { sub: sub.to_owned(), every_request: true, identities: true, own: false }
}

pub fn pacing() -> Pacing {
    Pacing { pause: 0.0, min_rows: 1, max_rows: 100, ..Pacing::default() }
}

pub async fn shop(store: &TestStore, target: &Target) -> Harness {
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(PLAN).await.unwrap();
    harness
}

/// A fresh shop on SQLite for each store.
pub async fn shops() -> Vec<(Harness, Target, TestStore)> {
    let mut all = Vec::new();
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        seed(&target);
        all.push((shop(&store, &target).await, target, store));
    }
    all
}

/// Erases a user, to the end.
pub async fn erase(harness: &Harness, subject: serde_json::Value) -> Request {
    let id = harness.submit("customer", subject).await;
    harness.run(id).await
}

pub async fn begin(harness: &Harness, since: Option<chrono::DateTime<chrono::Utc>>) -> Run {
    let asked = Asked { by: "alice".to_owned(), idempotency_key: None };
    replays::begin(&harness.service, since, asked).await.unwrap().0
}

/// One look of the run, then all of its requests that can be carried out.
pub async fn step(harness: &Harness, id: Uuid) -> Run {
    make_due(harness, id).await;
    let run = go_on(harness, id).await;
    harness.work().await;
    run
}

/// Until the run ends.
pub async fn to_the_end(harness: &Harness, id: Uuid) -> Run {
    for _ in 0..10 {
        let run = step(harness, id).await;
        if run.status().is_end() {
            return run;
        }
    }
    panic!("not ended: {:?}", runs::read(&harness.service, id).await);
}

/// A run that waits for its requests looks again at once.
async fn make_due(harness: &Harness, id: Uuid) {
    let mut tx = harness.service.store.begin().await.unwrap();
    let mut run = tx.lock_run(id).await.unwrap().expect("the run is there");
    if !run.status().is_end() && run.lease_until.is_none() {
        run.run_at = run.created_at - chrono::TimeDelta::minutes(5);
        tx.write_run(&mut run, Vec::new()).await.unwrap();
    }
    tx.commit().await.unwrap();
}

pub async fn retry(harness: &Harness, id: Uuid) -> Run {
    runs::decide(&harness.service, "alice", id, runs::Decision::Retry).await.unwrap();
    to_the_end(harness, id).await
}

pub fn progress(run: &Run) -> Progress {
    Progress::read(&run.report).unwrap_or_else(|| panic!("it never began: {run:?}"))
}

pub async fn items(harness: &Harness, id: Uuid) -> Vec<Item> {
    replays::items(&harness.service, id, None, 100).await.unwrap()
}

/// The requests that replays made.
pub async fn requests(harness: &Harness) -> Vec<Request> {
    use rightful::store::{Page, RequestFilter, Sort};
    let page = Page { limit: 500, sort: Sort::Created, after: None };
    let filter = RequestFilter { kind: vec![Kind::Erasure], ..RequestFilter::default() };
    let all = harness.service.store.list(&filter, &page).await.unwrap();
    all.into_iter().filter(|request| request.answering.replay.is_some()).collect()
}

pub async fn audit_verifies(harness: &Harness) {
    let verified = rightful::service::audit::verify(&harness.service.store).await.unwrap();
    assert!(matches!(verified, rightful::service::audit::Verification::Intact(_)), "{verified:?}");
}

pub async fn events(harness: &Harness, name: rightful::domain::audit::EventName) -> Vec<serde_json::Value> {
    use rightful::store::{EventFilter, EventPage};
    let filter = EventFilter { event: Some(name), ..EventFilter::default() };
    let page = EventPage { limit: 500, before: None };
    let found = harness.service.store.events(&filter, &page).await.unwrap();
    found.into_iter().map(|event| json!({ "stream": event.stream, "details": event.details })).collect()
}
