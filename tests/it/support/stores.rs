//! A fresh store for each test, on every database, gone afterwards also when the test panics.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use rightful::{domain::clock::Clock, store::Store};
use tempfile::TempDir;

use super::targets::{Dialect, Session};

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// A migrated, empty store and where it lies.
pub struct TestStore {
    pub store: Store,
    pub url: String,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Schema(String),
}

impl TestStore {
    pub fn is_sqlite(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// A session on the tables past the store.
    pub fn session(&self) -> Session {
        Session::open(if self.is_sqlite() { Dialect::Sqlite } else { Dialect::Postgres }, &self.url)
    }

    /// The store's file, on SQLite.
    pub fn file(&self) -> Option<std::path::PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path().join("store.db")),
            Place::Schema(_) => None,
        }
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        if let Place::Schema(schema) = &self.place {
            let schema = schema.clone();
            // A test may be panicking inside a runtime: the clean-up has one of its own.
            let cleaned = std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                    let mut conn = AsyncPgConnection::establish(POSTGRES).await.unwrap();
                    let text = format!(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'; \
                         DROP SCHEMA {schema} CASCADE"
                    );
                    conn.batch_execute(&text).await.unwrap();
                });
            });
            if cleaned.join().is_err() {
                eprintln!("a test schema could not be dropped");
            }
        }
    }
}

/// One fresh, migrated store per database.
pub async fn stores() -> Vec<TestStore> {
    let stores = empty_stores().await;
    for store in &stores {
        store.store.migrate().await.unwrap();
    }
    stores
}

/// One store per database, without any table.
pub async fn empty_stores() -> Vec<TestStore> {
    let mut stores = vec![sqlite().await];
    stores.extend(postgres().await);
    stores
}

/// A fresh, migrated SQLite store.
pub async fn sqlite_store() -> TestStore {
    let store = sqlite().await;
    store.store.migrate().await.unwrap();
    store
}

async fn sqlite() -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let store = Store::open(&url, Clock).await.unwrap();
    TestStore { store, url, place: Place::Folder(folder) }
}

async fn postgres() -> Option<TestStore> {
    let Ok(mut conn) = AsyncPgConnection::establish(POSTGRES).await else {
        assert!(!super::in_ci(), "CI=true, and no {POSTGRES}");
        super::left_out(&format!("the PostgreSQL store, nothing answers at {POSTGRES}"));
        return None;
    };
    let schema = format!("store_{}", Clock.new_id().simple());
    conn.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let url = format!("{POSTGRES}?options=-csearch_path%3D{schema}&application_name={schema}");
    let store = Store::open(&url, Clock).await.unwrap();
    Some(TestStore { store, url, place: Place::Schema(schema) })
}
