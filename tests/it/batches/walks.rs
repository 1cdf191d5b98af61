//! How a walk gets through its rows, and how soon it is durable.

use rightful::{
    connectors::{CountOf, Cursor, NO_LIMIT, Work},
    domain::compiled::{Action, Rows},
};

use super::bench::{Bench, benches, keys, text};
use crate::support::targets::{Dialect, target};

fn owned(bench: &Bench) -> Rows {
    bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)])
}

/// 25 rows of one owner, every other row somebody else's.
fn filling() -> String {
    let rows: Vec<String> = (1..=50).map(|id| format!("({id}, {})", id % 2)).collect();
    format!("INSERT INTO things VALUES {};", rows.join(", "))
}

#[tokio::test]
async fn collected_rows_are_worked_off_in_chunks() {
    let tables = format!(
        "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (id :int PRIMARY KEY, owner :int); {}",
        filling()
    );
    for bench in benches(&tables).await {
        let keys = keys(vec![text("1")]);
        // Whose rows are collected on every database.
        let action = Action::DeleteIfUnreferenced { references: Vec::new() };
        assert_eq!(bench.run(&owned(&bench), &action, &keys, 4).await, 25, "{:?}", bench.dialect());
        assert_eq!(bench.list("SELECT DISTINCT owner FROM things").await, ["0"], "{:?}", bench.dialect());
    }
}

#[tokio::test]
async fn rows_of_partitions_and_of_tables_without_a_key_are_collected() {
    for tables in [
        "CREATE TABLE things (id bigint, owner bigint);",
        "CREATE TABLE things (id bigint, owner bigint) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF things FOR VALUES FROM (0) TO (20);
         CREATE TABLE high PARTITION OF things DEFAULT;",
    ] {
        let Some(target) = target(Dialect::Postgres) else { return };
        let tables = format!("CREATE TABLE users (id bigint PRIMARY KEY); {tables} {}", filling());
        let bench = Bench::new(target, &tables).await;
        assert_eq!(
            bench.run(&owned(&bench), &Action::Delete, &keys(vec![text("1")]), 4).await,
            25,
            "{tables}"
        );
        assert_eq!(bench.list("SELECT DISTINCT owner FROM things").await, ["0"], "{tables}");
    }
}

/// A cursor is cloned before every batch, and a batch that failed is repeated from the clone.
#[tokio::test]
async fn a_batch_can_be_repeated_from_a_clone_of_its_cursor() {
    let tables = format!(
        "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (id :int, owner :int); {}",
        filling()
    );
    for bench in benches(&tables).await {
        let (rows, keys) = (owned(&bench), keys(vec![text("1")]));
        let work = Work { rows: &rows, action: &Action::Delete, alternative: 0, keys: &keys, root: None };
        let mut cursor = Cursor::default();
        let mut affected = bench.batch(&work, &mut cursor, 10).await.affected;
        let before = cursor.clone();
        affected += bench.batch(&work, &mut cursor, 10).await.affected;
        cursor = before;
        let repeated = bench.batch(&work, &mut cursor, 10).await;
        assert!(repeated.affected < 10, "{:?}", bench.dialect());
        affected += repeated.affected;
        affected += bench.run(&rows, &Action::Delete, &keys, 10).await;
        assert_eq!(affected, 25, "{:?}", bench.dialect());
    }
}

/// PostgreSQL, with a table that notes at each commit whether it was waited for.
async fn watched() -> Option<Bench> {
    let tables = format!(
        "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (1);
         CREATE TABLE things (id bigint, owner bigint); CREATE TABLE noted (at serial, setting text); {}
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO noted (setting) VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER note AFTER DELETE ON things DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION note();
         CREATE CONSTRAINT TRIGGER note AFTER DELETE ON users DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION note();",
        filling()
    );
    Some(Bench::new(target(Dialect::Postgres)?, &tables).await)
}

#[tokio::test]
async fn only_the_last_batch_of_a_walk_is_waited_for() {
    let Some(bench) = watched().await else { return };
    let (rows, keys) = (owned(&bench), keys(vec![text("1")]));
    let work = Work { rows: &rows, action: &Action::Delete, alternative: 0, keys: &keys, root: None };
    let mut cursor = Cursor::default();
    bench.batch(&work, &mut cursor, 10).await;
    assert_eq!(bench.list("SELECT DISTINCT setting FROM noted").await, ["off"]);
    let written = bench.list("SELECT pg_current_wal_insert_lsn()").await.remove(0);
    while !bench.batch(&work, &mut cursor, 10).await.done {}
    let durable = format!("SELECT pg_current_wal_flush_lsn() >= '{written}'::pg_lsn");
    assert_eq!(bench.list(&durable).await, ["t"], "the last commit changed nothing and is durable");
    assert_eq!(bench.count(&rows, &Action::Delete, &keys, CountOf::Remaining).await, 0);
}

#[tokio::test]
async fn what_no_later_batch_follows_is_waited_for() {
    let Some(bench) = watched().await else { return };
    let (rows, keys) = (owned(&bench), keys(vec![text("1")]));
    let root = bench.root(&["id"]);
    let users = bench.rows("users", vec![bench.by_root("users", "id", "id", 0)]);
    let all = Work { rows: &rows, action: &Action::Delete, alternative: 0, keys: &keys, root: None };
    let person =
        Work { rows: &users, action: &Action::Delete, alternative: 0, keys: &keys, root: Some(&root) };
    assert_eq!(bench.batch(&all, &mut Cursor::default(), NO_LIMIT).await.affected, 25);
    assert_eq!(bench.batch(&person, &mut Cursor::default(), 10).await.affected, 1);
    assert_eq!(bench.list("SELECT setting FROM noted GROUP BY setting").await, ["on"]);
}
