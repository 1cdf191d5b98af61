//! The schema comes, goes and comes again; many processes may start at once; both databases agree on it.

use std::{collections::BTreeMap, fs, path::Path};

use rightful::{
    domain::clock::Clock,
    store::{Store, StoreError},
};

use super::support::{back_before, insert, new_request, raw};
use crate::support::stores::{TestStore, empty_stores, stores};

fn scripts(fresh: &TestStore, direction: &str) -> Vec<String> {
    let database = if fresh.is_sqlite() { "sqlite" } else { "postgres" };
    numbered(database)
        .values()
        .map(|path| fs::read_to_string(Path::new(path).join(direction)).unwrap())
        .collect()
}

fn numbered(database: &str) -> BTreeMap<String, String> {
    fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), entry.path().into_os_string().into_string().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn down_leaves_nothing_and_up_works_again() {
    for fresh in empty_stores().await {
        assert!(!fresh.store.is_migrated().await.unwrap());
        let early = fresh.store.request(Clock.new_id()).await;
        assert!(matches!(early, Err(StoreError::NotMigrated(_))), "{early:?}");
        fresh.store.migrate().await.unwrap();
        assert!(fresh.store.is_migrated().await.unwrap());
        fresh.store.migrate().await.unwrap();
        for script in scripts(&fresh, "down.sql").iter().rev() {
            raw(&fresh, script).await.unwrap();
        }
        raw(&fresh, "DROP TABLE schema_migrations").await.unwrap();
        assert!(!fresh.store.is_migrated().await.unwrap());
        fresh.store.migrate().await.unwrap();
        insert(&fresh.store, new_request(), &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_together_migrate_once() {
    for fresh in empty_stores().await {
        let starts: Vec<_> = (0..6)
            .map(|_| {
                let url = fresh.url.clone();
                tokio::spawn(async move {
                    let store = Store::open(&url, Clock).await.unwrap();
                    store.migrate().await
                })
            })
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        assert!(fresh.store.is_migrated().await.unwrap());
    }
}

/// The log showed people by what is compared, for all time. What it showed still leads to them.
#[tokio::test]
async fn pseudonyms_from_before_are_shown_as_they_were() {
    for fresh in stores().await {
        let id = insert(&fresh.store, new_request(), &[("email", "jane")]).await.id;
        let refs = || async { fresh.store.refs(id).await.unwrap().remove(0) };
        assert_eq!(refs().await.shown, None);
        back_before(&fresh, 18).await;
        let hash = "a".repeat(64);
        let old = format!(
            "INSERT INTO consents VALUES ('c', 'customer', 'ads', 'given', '1', '{hash}', 'web', '2026-01-01 00:00:00', 'crm', \
                 '2026-01-01 00:00:00', NULL, NULL, 1, '{hash}');
             INSERT INTO consent_refs VALUES ('c', 'email', 'joe', NULL);"
        );
        raw(&fresh, &old).await.unwrap();
        fresh.store.migrate().await.unwrap();
        assert_eq!(refs().await.shown.as_deref(), Some("jane"));
        let both = ["jane".to_owned(), "joe".to_owned()];
        assert_eq!(fresh.store.compared(&both).await.unwrap(), both.into());
        for change in ["UPDATE consent_refs SET shown = 'x'", "DELETE FROM consent_refs"] {
            assert!(raw(&fresh, change).await.is_err(), "{change}");
        }
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database| numbered(database).into_keys().collect::<Vec<_>>();
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

#[tokio::test]
async fn a_role_that_may_not_create_is_told_what_to_run() {
    for fresh in empty_stores().await.into_iter().filter(|fresh| !fresh.is_sqlite()) {
        let schema = fresh.url.rsplit('=').next().unwrap().to_owned();
        let role = format!("{schema}_role");
        let grant = format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}");
        raw(&fresh, &grant).await.unwrap();
        let url = fresh.url.replace("postgres@", &format!("{role}@"));
        let limited = Store::open(&url, Clock).await.unwrap();
        let refused = limited.migrate().await;
        fresh.store.migrate().await.unwrap();
        let rights = format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}");
        raw(&fresh, &rights).await.unwrap();
        let accepted = limited.migrate().await;
        drop(limited);
        raw(&fresh, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
        assert!(matches!(&refused, Err(StoreError::NotMigrated(text)) if text.contains("rightful migrate")));
        assert_eq!(accepted, Ok(()), "nothing is missing, so no right is needed");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_is_refused_without_its_url() {
    for url in ["mysql://u:secret@h/d", "sqlite:", "sqlite::memory:", "rightful.db"] {
        let refused = Store::open(url, Clock).await.unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    let nowhere = "postgres://u:secret@127.0.0.1:1/d";
    let refused = Store::open(nowhere, Clock).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}
