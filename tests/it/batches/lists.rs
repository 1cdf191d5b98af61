//! Key sets with more keys than a statement takes values.

use rightful::{
    connectors::CountOf,
    domain::{
        compiled::{Action, Alternative, Piece, Source},
        key::{Key, Tuple},
    },
};

use super::bench::{Bench, benches, matching, text, with_set};

/// Beyond the 65,535 values of MySQL and PostgreSQL, and the 32,766 of SQLite.
const MANY: i64 = 70_000;

async fn finds(bench: &Bench, columns: &[&str], keys: Vec<Tuple>, expected: &[&str]) {
    let link = bench.link(("things", columns), ("things", columns), Source::Keys(0));
    let rows = bench.rows("things", vec![matching(link)]);
    let keys = with_set(keys);
    let at = format!("{:?} {columns:?}", bench.dialect());
    let counted = bench.count(&rows, &Action::Delete, &keys, CountOf::Matched).await;
    assert_eq!(counted, expected.len() as u64, "{at}");
    bench.target.execute("CREATE TABLE copy AS SELECT * FROM things");
    bench.run(&rows, &Action::Delete, &keys, 10).await;
    let gone = bench.list("SELECT id FROM copy WHERE id NOT IN (SELECT id FROM things) ORDER BY id").await;
    assert_eq!(gone, expected, "{at}");
    bench.target.execute("DELETE FROM things; INSERT INTO things SELECT * FROM copy; DROP TABLE copy");
}

#[tokio::test]
async fn a_large_set_finds_what_a_small_one_would() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY);
        CREATE TABLE things (id :int PRIMARY KEY, n :int, t :text, b :blob);
        CREATE INDEX things_t ON things (t); CREATE INDEX things_n ON things (n);";
    for bench in benches(tables).await {
        let blob = |digits: &str| match bench.dialect() {
            crate::support::targets::Dialect::Postgres => format!("'\\x{digits}'"),
            _ => format!("x'{digits}'"),
        };
        bench.target.execute(&format!(
            "INSERT INTO things VALUES (1, 69999, 'Jané 69999', {}), (2, 70001, 'jané 69999', {}), (3, 5, 'Jané 5', {}), (4, NULL, 'Jane 5', NULL)",
            blob("00ff"), blob("00fe"), blob("ff00")
        ));
        let numbers = (1..=MANY).map(|n| vec![text(&n.to_string())]).collect();
        finds(&bench, &["n"], numbers, &["1", "3"]).await;
        let texts = (1..=MANY).map(|n| vec![text(&format!("Jané {n}"))]).collect();
        finds(&bench, &["t"], texts, &["1", "3"]).await;
        let pairs = (1..=MANY).map(|n| vec![text(&n.to_string()), text(&format!("Jané {n}"))]);
        finds(&bench, &["n", "t"], pairs.collect(), &["1", "3"]).await;
        let blobs = (0..=65_535_u16).map(|n| vec![Some(Key::Bytes(n.to_be_bytes().to_vec()))]);
        finds(
            &bench,
            &["b"],
            blobs.filter(|key| key[0] != Some(Key::Bytes(vec![0, 0xfe]))).collect(),
            &["1", "3"],
        )
        .await;
    }
}

#[tokio::test]
async fn trusted_sql_sees_every_key_of_a_large_set() {
    let tables =
        "CREATE TABLE users (id :int PRIMARY KEY); CREATE TABLE things (id :int PRIMARY KEY, n :int);
        INSERT INTO things VALUES (1, 140000), (2, 140002), (3, 2), (4, 3);";
    for bench in benches(tables).await {
        let link = rightful::domain::compiled::Link {
            columns: Vec::new(),
            ..bench.link(("things", &[]), ("things", &["id"]), Source::Keys(0))
        };
        let pieces = vec![Piece::Text("things.n = 2 * ".into()), Piece::Key { link: 0, column: 0 }];
        let rows = bench.rows("things", vec![Alternative::Sql { pieces, links: vec![link] }]);
        let keys = with_set((1..=MANY).map(|n| vec![text(&n.to_string())]).collect());
        let counted = bench.count(&rows, &Action::Delete, &keys, CountOf::Matched).await;
        assert_eq!(counted, 2, "{:?}", bench.dialect());
    }
}
