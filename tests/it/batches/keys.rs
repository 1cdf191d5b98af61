//! Every type of key finds exactly its rows: as a root value, in a set of keys, and through a live link, alone and
//! with another column.

use futures::StreamExt;
use rightful::{
    connectors::{Connector, Resolution, sql::dialect::Dialect},
    domain::{
        compiled::{Action, KeySet, Rows, Source},
        key::Key,
    },
};

use super::bench::{Bench, benches, keys, matching, text, with_set};
use crate::support::targets::targets;

/// A type, the value that is meant, and values that some comparison takes for the same.
type Case = (&'static str, &'static str, &'static [&'static str]);

const POSTGRES: &[Case] = &[
    ("integer", "42", &["43", "NULL"]),
    ("bigint", "9007199254740993", &["9007199254740992", "9007199254740994"]),
    ("smallint", "7", &["8"]),
    ("text", "'Jane'", &["'jane'", "'Jane '", "'Jané'", "' Jane'", "''"]),
    ("varchar(6)", "'Jane'", &["'jane'", "'Jane '", "'Jané'"]),
    ("char(6)", "'Jane'", &["'jane'", "'Jané'"]),
    ("text COLLATE nocase", "'Jane'", &["'jane'", "'Jane '", "'Jané'"]),
    ("text COLLATE \"C\"", "'Jane'", &["'jane'", "'Jane '"]),
    ("text", "E'o''Brien \"q\" \\\\ $1 ? \u{1F980}'", &["'o'", "E'o''Brien \"q\" \\\\ $1 ? \u{1F981}'"]),
    ("uuid", "'0190b5a4-0000-7000-8000-00000000000a'", &["'0190b5a4-0000-7000-8000-00000000000b'"]),
    ("bytea", "'\\x00ff10'", &["'\\x00ff11'", "'\\x00ff1000'", "''"]),
    ("numeric(10,2)", "1.50", &["1.51"]),
    ("timestamp", "'2024-05-06 07:08:09.123456'", &["'2024-05-06 07:08:09.123457'"]),
    ("timestamptz", "'2024-05-06 07:08:09.123456+02'", &["'2024-05-06 07:08:09.123456+01'"]),
    ("date", "'2024-05-06'", &["'2024-05-07'"]),
    ("boolean", "true", &["false"]),
    ("mood", "'happy'", &["'sad'"]),
    ("positive", "5", &["6"]),
    ("inet", "'10.0.0.1'", &["'10.0.0.2'"]),
    ("jsonb", "'{\"a\": 1}'", &["'{\"a\": 2}'"]),
];

const MYSQL: &[Case] = &[
    ("int", "42", &["43", "NULL"]),
    ("bigint", "9007199254740993", &["9007199254740992", "9007199254740994"]),
    ("bigint unsigned", "18446744073709551615", &["18446744073709551614"]),
    ("varchar(20)", "'Jane'", &["'jane'", "'Jane '", "'Jané'", "' Jane'", "''"]),
    ("varchar(20) CHARACTER SET latin1", "'Jané'", &["'jané'", "'Jane'", "'Jané '"]),
    ("varchar(20) COLLATE utf8mb4_bin", "'Jane'", &["'jane'", "'Jane '"]),
    ("char(20)", "'Jane'", &["'jane'", "'Jané'"]),
    ("varchar(60)", "'o''Brien \"q\" \\\\ ? \u{1F980}'", &["'o'", "'o''Brien \"q\" \\\\ ? \u{1F981}'"]),
    ("varbinary(20)", "x'00ff10'", &["x'00ff11'", "x'00ff1000'", "''"]),
    ("binary(4)", "x'00ff1000'", &["x'00ff1001'"]),
    ("decimal(10,2)", "1.50", &["1.51"]),
    ("datetime(6)", "'2024-05-06 07:08:09.123456'", &["'2024-05-06 07:08:09.123457'"]),
    ("date", "'2024-05-06'", &["'2024-05-07'"]),
    ("enum('happy','sad')", "'happy'", &["'sad'"]),
    ("tinyint(1)", "1", &["0"]),
];

const SQLITE: &[Case] = &[
    ("INTEGER", "42", &["43", "NULL"]),
    ("bigint", "9007199254740993", &["9007199254740992", "9007199254740994"]),
    ("TEXT", "'Jane'", &["'jane'", "'Jane '", "'Jané'", "' Jane'", "''"]),
    ("TEXT COLLATE NOCASE", "'Jane'", &["'jane'", "'Jane '"]),
    ("TEXT COLLATE RTRIM", "'Jane'", &["'jane'", "'Jane '"]),
    ("varchar(60)", "'o''Brien \"q\" \\ ?1 \u{1F980}'", &["'o'", "'o''Brien \"q\" \\ ?1 \u{1F981}'"]),
    ("BLOB", "x'00ff10'", &["x'00ff11'", "x'00ff1000'", "x''"]),
    ("", "'text'", &["'Text'", "x'74657874'"]),
    ("", "42", &["43", "x'3432'"]),
    ("DECIMAL(10,2)", "1.5", &["1.51"]),
    ("DATETIME", "'2024-05-06 07:08:09'", &["'2024-05-06 07:08:10'"]),
    ("UUID", "'0190b5a4-0000-7000-8000-00000000000a'", &["'0190b5a4-0000-7000-8000-00000000000b'"]),
];

const PREPARE_POSTGRES: &str = "
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
    CREATE TYPE mood AS ENUM ('happy', 'sad');
    CREATE DOMAIN positive AS integer CHECK (value > 0);";

async fn filled(target: crate::support::targets::Target, case: &Case) -> Bench {
    let (kind, value, others) = *case;
    let mut sql = format!(
        "CREATE TABLE users (id :int PRIMARY KEY, k {kind}); CREATE TABLE things (id :int PRIMARY KEY, k {kind}, n :int);
         CREATE INDEX things_k ON things (k);"
    );
    if kind == "jsonb" {
        sql = sql.replace("CREATE INDEX things_k ON things (k);", "");
    }
    if target.dialect == Dialect::Postgres {
        sql.insert_str(0, PREPARE_POSTGRES);
    }
    sql.push_str(&format!("INSERT INTO users VALUES (1, {value});"));
    sql.push_str(&format!(
        "INSERT INTO things VALUES (1, {value}, 1); INSERT INTO things VALUES (2, {value}, 2);"
    ));
    for (id, other) in (3..).zip(others) {
        sql.push_str(&format!(
            "INSERT INTO users VALUES ({id}, {other}); INSERT INTO things VALUES ({id}, {other}, 1);"
        ));
    }
    Bench::new(target, &sql).await
}

fn selections(bench: &Bench) -> Vec<(&'static str, Rows)> {
    let users = || bench.rows("users", vec![bench.by_root("users", "id", "id", 0)]);
    let pair = |source| bench.link(("things", &["k", "n"]), ("things", &["k", "n"]), source);
    let single = |source| bench.link(("things", &["k"]), ("users", &["k"]), source);
    let things = |link| bench.rows("things", vec![matching(link)]);
    vec![
        ("root", things(single(Source::Root(vec![1])))),
        ("set", things(single(Source::Keys(0)))),
        ("live", things(single(Source::Live(vec![users()])))),
        ("live of two", things(single(Source::Live(vec![users(), users()])))),
        ("pair", things(pair(Source::Root(vec![1, 2])))),
        ("pairs", things(pair(Source::Keys(1)))),
        (
            "pair live",
            things(pair(Source::Live(vec![
                bench.rows("things", vec![bench.by_root("things", "id", "id", 0)]),
            ]))),
        ),
    ]
}

#[tokio::test]
async fn every_type_of_key_finds_exactly_its_rows() {
    for dialect in targets() {
        let cases = match dialect.dialect {
            Dialect::Postgres => POSTGRES,
            Dialect::MySql => MYSQL,
            Dialect::Sqlite => SQLITE,
        };
        for case in cases {
            let Some(target) = crate::support::targets::target(dialect.dialect) else { continue };
            let bench = filled(target, case).await;
            let root = bench.root(&["id", "k"]);
            let found = bench.connector.resolve(&root, &[(0, Key::Text("1".into()))]).await;
            let Ok(Resolution::Found { tuple, .. }) = found else { panic!("{case:?}: {found:?}") };
            let value = tuple[1].clone();
            let other = Some(Key::Text("1".into()));
            let mut keys =
                with_set(vec![vec![value.clone()], vec![None], vec![text("")], vec![value.clone()]]);
            keys.root = vec![tuple[0].clone(), value.clone(), other.clone()].into();
            let pairs = vec![
                vec![value.clone(), other.clone()],
                vec![value.clone(), text("77")],
                vec![value.clone(), None],
            ];
            keys.chunk.insert(1, pairs.into());
            for (name, rows) in selections(&bench) {
                let at = format!("{:?} {case:?} {name}", bench.dialect());
                let expected = if name.starts_with("pair") { vec!["1"] } else { vec!["1", "2"] };
                let counted =
                    bench.count(&rows, &Action::Delete, &keys, rightful::connectors::CountOf::Matched).await;
                assert_eq!(counted, expected.len() as u64, "{at}");
                for limit in [1, rightful::connectors::NO_LIMIT] {
                    bench.target.execute("CREATE TABLE copy AS SELECT * FROM things");
                    assert_eq!(
                        bench.run(&rows, &Action::Delete, &keys, limit).await,
                        expected.len() as u64,
                        "{at}"
                    );
                    let gone =
                        bench.list("SELECT id FROM copy WHERE id NOT IN (SELECT id FROM things) ORDER BY id");
                    assert_eq!(gone.await, expected, "{at}");
                    bench.target.execute(
                        "DELETE FROM things; INSERT INTO things SELECT * FROM copy; DROP TABLE copy",
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_no_value_of_the_type_equals_finds_nothing() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY); INSERT INTO users VALUES (0), (1);
        CREATE TABLE things (id :int PRIMARY KEY, k int, t varchar(3)); INSERT INTO things VALUES (1, 0, ''), (2, 1, 'abc');";
    for bench in benches(tables).await {
        for (column, value) in [
            ("k", "99999999999"),
            ("k", "99999999999999999999999"),
            ("k", "abc"),
            ("t", "abcdef"),
            ("t", ""),
            ("k", ""),
        ] {
            let link = bench.link(("things", &[column]), ("things", &[column]), Source::Root(vec![0]));
            let rows = bench.rows("things", vec![matching(link)]);
            assert_eq!(
                bench.run(&rows, &Action::Delete, &keys(vec![text(value)]), 10).await,
                0,
                "{column} {value}"
            );
            let none = keys(vec![None]);
            assert_eq!(bench.run(&rows, &Action::Delete, &none, 10).await, 0, "{column} NULL");
        }
    }
}

#[tokio::test]
async fn sqlite_finds_both_forms_of_a_number_in_a_column_without_a_type() {
    let Some(target) = crate::support::targets::target(Dialect::Sqlite) else { return };
    let tables = "CREATE TABLE users (id INTEGER PRIMARY KEY);
        CREATE TABLE things (id INTEGER PRIMARY KEY, k); INSERT INTO things VALUES (1, 42), (2, '42'), (3, 43), (4, '042');";
    let bench = Bench::new(target, tables).await;
    let rows = bench.rows("things", vec![bench.by_root("things", "k", "id", 0)]);
    assert_eq!(bench.run(&rows, &Action::Delete, &keys(vec![text("42")]), 10).await, 2);
    assert_eq!(bench.list("SELECT id FROM things ORDER BY id").await, ["3", "4"]);
}

#[tokio::test]
async fn case_is_ignored_where_the_identity_says_so() {
    let tables =
        "CREATE TABLE users (id :int PRIMARY KEY, email :text); INSERT INTO users VALUES (1, 'JÖrg@x.de');
        CREATE TABLE things (id :int PRIMARY KEY, email :text);
        INSERT INTO things VALUES (1, 'jörg@X.de'), (2, 'jorg@x.de'), (3, 'jörg@x.de '), (4, 'JÖRG@X.DE');";
    for bench in benches(tables).await {
        let users = bench.rows("users", vec![bench.by_root("users", "id", "id", 0)]);
        let mut keys = with_set(vec![vec![text("jöRG@x.de")], vec![text("other")]]);
        keys.root = vec![text("1"), text("jÖRG@x.de")].into();
        for source in [Source::Root(vec![1]), Source::Keys(0), Source::Live(vec![users])] {
            let mut link = bench.link(("things", &["email"]), ("users", &["email"]), source);
            link.ignore_case = vec![true];
            let rows = bench.rows("things", vec![matching(link)]);
            bench.target.execute("CREATE TABLE copy AS SELECT * FROM things");
            bench.run(&rows, &Action::Delete, &keys, 10).await;
            let left = bench.list("SELECT id FROM things ORDER BY id").await;
            assert_eq!(left, ["2", "3"], "{:?}", bench.dialect());
            bench
                .target
                .execute("DELETE FROM things; INSERT INTO things SELECT * FROM copy; DROP TABLE copy");
        }
    }
}

#[tokio::test]
async fn a_key_set_is_distinct_byte_for_byte_and_holds_no_empty_key() {
    let tables = "CREATE TABLE users (id :int PRIMARY KEY);
        CREATE TABLE things (id :int PRIMARY KEY, owner :int, k :text, b :blob);";
    for bench in benches(tables).await {
        bench
            .target
            .execute(
                "INSERT INTO things (id, owner, k) VALUES (1, 1, 'a'), (2, 1, 'A'), (3, 1, 'a '), (4, 1, 'a'), (5, 1, ''),
                 (6, 1, NULL), (7, 2, 'z'), (8, 1, 'ä')",
            );
        let set = KeySet {
            connection: "shop".into(),
            rows: bench.rows("things", vec![bench.by_root("things", "owner", "id", 0)]),
            columns: bench.columns("things", &["k"]),
            readable_until: None,
        };
        let stream = bench.connector.keys(&set, &keys(vec![text("1")])).await.expect("a stream");
        let mut found: Vec<_> = stream.map(|chunk| chunk.expect("keys")).collect::<Vec<_>>().await.concat();
        found.sort();
        let expected: Vec<_> = ["A", "a", "a ", "ä"].iter().map(|key| vec![text(key)]).collect();
        assert!(found == expected, "{:?}: {} keys", bench.dialect(), found.len());
    }
}
