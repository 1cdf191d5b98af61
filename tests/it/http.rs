//! The REST API over real HTTP, on both stores.

mod answering;
mod audit;
mod consents;
mod deciding;
mod documents;
mod evidence;
mod exports;
mod holds;
mod hostile_tokens;
mod lists;
mod log_readings;
mod manual;
mod protocol;
mod reading;
mod rectifying;
mod replays;
mod rights;
mod runs;
mod submitting;
mod summaries;
mod tokens;
mod webhooks;
mod whole;

use crate::support::{app::TestApp, stores::stores};

/// One service per store database.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for store in stores().await {
        apps.push(TestApp::start(store).await);
    }
    apps
}

/// A service on a SQLite store, where the store makes no difference.
async fn app() -> TestApp {
    TestApp::start(crate::support::stores::sqlite_store().await).await
}
