//! Masks of every kind: which rows still have work to do, and that every walk over them ends.

use rightful::{
    connectors::{CountOf, Cursor, NO_LIMIT, Work},
    domain::compiled::{Action, Assignment, Mask, MaskProgress, Strategy},
};

use super::bench::{Bench, benches, keys, text};
use crate::support::targets::{Dialect, target};

const BY_SQL: MaskProgress = MaskProgress::Predicate;

fn mask(bench: &Bench, progress: MaskProgress, strategies: &[(&str, Strategy)]) -> Action {
    let assignments = strategies.iter().map(|(column, strategy)| Assignment {
        column: bench.column("things", column),
        strategy: strategy.clone(),
    });
    Action::Mask(Mask { assignments: assignments.collect(), progress })
}

#[tokio::test]
async fn null_is_done_whatever_the_condition_makes_of_it() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (owner :int, payload :text);
        INSERT INTO things VALUES (1, 'a'), (1, NULL), (1, 'b'), (2, 'c');";
    for bench in benches(tables).await {
        let gone = Strategy::Sql { value: "'gone'".into(), done: "payload = 'gone'".into() };
        let action = mask(&bench, BY_SQL, &[("payload", gone)]);
        let rows = bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]);
        let keys = keys(vec![text("1")]);
        assert_eq!(bench.count(&rows, &action, &keys, CountOf::Remaining).await, 2, "{:?}", bench.dialect());
        assert_eq!(bench.run(&rows, &action, &keys, 1).await, 2, "{:?}", bench.dialect());
        assert_eq!(bench.count(&rows, &action, &keys, CountOf::Remaining).await, 0, "{:?}", bench.dialect());
        let left = bench.list("SELECT payload FROM things WHERE owner = 1 ORDER BY payload IS NULL").await;
        assert_eq!(left, ["gone", "gone", "NULL"], "{:?}", bench.dialect());
    }
}

/// Every value that is written becomes lower case.
async fn normalising(bench: &Bench) {
    bench.target.execute(match bench.dialect() {
        Dialect::Postgres => {
            "CREATE FUNCTION normal() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN NEW.payload := lower(NEW.payload); RETURN NEW; END';
             CREATE TRIGGER normal BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION normal()"
        }
        Dialect::MySql => {
            "CREATE TRIGGER normal BEFORE UPDATE ON things FOR EACH ROW SET NEW.payload = LOWER(NEW.payload)"
        }
        Dialect::Sqlite => {
            "CREATE TRIGGER normal AFTER UPDATE ON things WHEN NEW.payload <> lower(NEW.payload) BEGIN
             UPDATE things SET payload = lower(payload) WHERE rowid = NEW.rowid; END"
        }
    });
}

#[tokio::test]
async fn a_walk_over_rows_that_a_trigger_writes_back_ends() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (owner :int, payload :text);
        INSERT INTO things VALUES (1, 'a'), (1, 'b'), (1, 'c'), (1, 'd'), (1, 'e'), (2, 'f');";
    for bench in benches(tables).await {
        normalising(&bench).await;
        let action = mask(&bench, BY_SQL, &[("payload", Strategy::StringRewrite("GONE".into()))]);
        let rows = bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]);
        let keys = keys(vec![text("1")]);
        assert_eq!(
            bench.run(&rows, &action, &keys, 2).await,
            5 + u64::from(bench.dialect() == Dialect::MySql),
            "{:?}",
            bench.dialect()
        );
        assert_eq!(bench.count(&rows, &action, &keys, CountOf::Remaining).await, 5, "{:?}", bench.dialect());
    }
}

/// More rows than one round collects, so that it is full and says nothing of how many there are.
#[tokio::test]
async fn a_large_walk_over_rows_that_a_trigger_writes_back_ends() {
    let Some(target) = target(Dialect::Postgres) else { return };
    let tables = "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (owner :int, payload :text);
        INSERT INTO things SELECT 1, 'a' FROM generate_series(1, 250001);";
    let bench = Bench::new(target, tables).await;
    normalising(&bench).await;
    let action = mask(&bench, BY_SQL, &[("payload", Strategy::StringRewrite("GONE".into()))]);
    let rows = bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]);
    let affected = bench.run(&rows, &action, &keys(vec![text("1")]), 250_000).await;
    assert!((250_000..=500_001).contains(&affected), "{affected}");
}

#[tokio::test]
async fn a_computed_mask_compares_only_what_it_computes() {
    for (dialect, kind, value) in [
        (Dialect::Postgres, "point", "'(1,2)'"),
        (Dialect::Postgres, "json", "'{}'"),
        (Dialect::Postgres, "xml", "'<a/>'"),
        (Dialect::MySql, "float", "0.1"),
        (Dialect::Sqlite, "REAL", "0.1 + 0.2"),
    ] {
        let Some(target) = target(dialect) else { continue };
        let tables = format!(
            "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (id :int PRIMARY KEY, owner :int, name :text, extra {kind});
             INSERT INTO things VALUES (1, 1, 'Jane', {value}), (2, 2, 'John', {value});"
        );
        let bench = Bench::new(target, &tables).await;
        let strategies = [("name", Strategy::Hash), ("extra", Strategy::NullRewrite)];
        let action = mask(&bench, MaskProgress::Recorded, &strategies);
        let rows = bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]);
        assert_eq!(bench.run(&rows, &action, &keys(vec![text("1")]), 10).await, 1, "{dialect:?} {kind}");
        let left =
            bench.list("SELECT id FROM things WHERE extra IS NULL OR name LIKE '________________%'").await;
        assert_eq!(left, ["1"], "{dialect:?} {kind}");
    }
}

#[tokio::test]
async fn a_real_number_in_a_column_without_a_type_is_computed_too() {
    let Some(target) = target(Dialect::Sqlite) else { return };
    let tables = "CREATE TABLE users (id INTEGER PRIMARY KEY);
        CREATE TABLE things (id INTEGER PRIMARY KEY, owner INTEGER, k);
        INSERT INTO things VALUES (1, 1, 0.1 + 0.2), (2, 1, 'text'), (3, 1, x'00ff'), (4, 1, 42);";
    let bench = Bench::new(target, tables).await;
    let action = mask(&bench, MaskProgress::Recorded, &[("k", Strategy::Hash)]);
    let rows = bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]);
    assert_eq!(bench.run(&rows, &action, &keys(vec![text("1")]), 10).await, 4);
}

#[tokio::test]
async fn each_alternative_of_a_computed_mask_is_walked_from_its_beginning() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY);
        CREATE TABLE things (id :int PRIMARY KEY, sender :int, recipient :int, name :text);
        INSERT INTO things VALUES (1, 2, 1, 'a'), (9, 1, 2, 'b'), (10, 2, 2, 'c');";
    for bench in benches(tables).await {
        let action = mask(&bench, MaskProgress::Recorded, &[("name", Strategy::Hash)]);
        let alternatives =
            vec![bench.by_root("things", "sender", "id", 0), bench.by_root("things", "recipient", "id", 0)];
        let rows = bench.rows("things", alternatives);
        let keys = keys(vec![text("1")]);
        let work = Work { rows: &rows, action: &action, alternative: 0, keys: &keys, root: None };
        let batch = bench.batch(&work, &mut Cursor::default(), NO_LIMIT).await;
        assert_eq!((batch.affected, batch.done), (2, true), "{:?}", bench.dialect());
    }
}
