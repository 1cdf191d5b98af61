//! Every type of column that the catalogs know, with values that break naive code: definition, value as SQL, and what
//! stands in the package.

use rightful::domain::request::{Kind, Outcome};
use serde_json::{Value, json};

use crate::{
    engine::harness,
    support::{
        package::{package, rows, unzip},
        targets::{Dialect, targets},
    },
};

type Case = (&'static str, &'static str, &'static str);

const POSTGRES: &[Case] = &[
    ("smallint", "-32768", "-32768"),
    ("integer", "2147483647", "2147483647"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("oid", "4294967295", "4294967295"),
    ("numeric(30,10)", "12345678901234567890.1234567890", r#""12345678901234567890.1234567890""#),
    ("numeric", "'NaN'", r#""NaN""#),
    ("numeric(5,2)", "1.10", r#""1.10""#),
    ("money", "1234.5", r#""1234.50""#),
    ("real", "0.1", "0.1"),
    ("real", "'-Infinity'", r#""-Infinity""#),
    ("double precision", "1e308", "1e+308"),
    ("double precision", "0.1", "0.1"),
    ("double precision", "'NaN'", r#""NaN""#),
    ("text", "''", r#""""#),
    ("text", "'🦀 \"quoted\" \\ back' || chr(10) || chr(1)", r#""🦀 \"quoted\" \\ back\n\u0001""#),
    ("varchar(5)", "'ab   '", r#""ab   ""#),
    ("character(5)", "'ab'", r#""ab""#),
    ("name", "'n'", r#""n""#),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("boolean", "true", "true"),
    ("boolean", "false", "false"),
    ("bytea", r"'\x00ff'", r#""AP8=""#),
    ("bytea", r"'\x'", r#""""#),
    ("date", "'1899-12-31'", r#""1899-12-31""#),
    ("date", "'0044-03-15 BC'", r#""0044-03-15 BC""#),
    ("date", "'infinity'", r#""infinity""#),
    ("time", "'23:59:59.999999'", r#""23:59:59.999999""#),
    ("time with time zone", "'10:00:00+02'", r#""10:00:00+02""#),
    ("timestamp", "'1753-01-01 00:00:00.5'", r#""1753-01-01T00:00:00.5""#),
    ("timestamptz", "'2026-11-02 10:00:00+02'", r#""2026-11-02T08:00:00Z""#),
    ("timestamptz", "'-infinity'", r#""-infinity""#),
    ("interval", "'1 year 2 days 03:04:05'", r#""1 year 2 days 03:04:05""#),
    ("json", r#"'{"b": [1.10, {"a": null}], "b": 2}'"#, r#"{"b": [1.10, {"a": null}], "b": 2}"#),
    ("jsonb", r#"'[{"deep": {"er": [true, "ü"]}}]'"#, r#"[{"deep": {"er": [true, "ü"]}}]"#),
    ("jsonb", "'null'", "null"),
    ("integer[]", "'{1,NULL,3}'", "[1,null,3]"),
    ("integer[]", "'{}'", "[]"),
    ("text[]", r#"'{"a,b","","NULL",NULL}'"#, r#"["a,b","","NULL",null]"#),
    ("numeric[]", "'{1.10}'", r#"["1.10"]"#),
    ("bytea[]", r#"array['\x00ff'::bytea, null]"#, r#"["AP8=",null]"#),
    ("bytea[]", r#"array[['\x00', '\x'], ['\x02', '\x03']]::bytea[]"#, r#"[["AA==",""],["Ag==","Aw=="]]"#),
    ("inet", "'192.168.0.1/24'", r#""192.168.0.1/24""#),
    ("bit(3)", "B'101'", r#""101""#),
    ("int4range", "'[1,5)'", r#""[1,5)""#),
    ("point", "'(1,2)'", r#""(1,2)""#),
    ("xml", "'<a/>'", r#""<a/>""#),
    ("mood", "'sad'", r#""sad""#),
    // A domain means what it is a domain of.
    ("d_instant", "'2026-11-02 10:00:00+02'", r#""2026-11-02T08:00:00Z""#),
    ("d_double", "1e300", "1e+300"),
    ("d_integers", "'{1,NULL}'", "[1,null]"),
    ("d_binaries", r"array['\x00ff']::bytea[]", r#"["AP8="]"#),
    ("pair", "'(7,1.50)'", r#""(7,1.50)""#),
    ("bit(3)[]", "'{010,111}'", r#"["010","111"]"#),
];

const MYSQL: &[Case] = &[
    ("TINYINT", "-128", "-128"),
    ("SMALLINT UNSIGNED", "65535", "65535"),
    ("MEDIUMINT", "8388607", "8388607"),
    ("INT(8) ZEROFILL", "42", "42"),
    ("BIGINT", "-9223372036854775808", "-9223372036854775808"),
    ("BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
    ("YEAR", "1999", "1999"),
    ("BOOLEAN", "true", "1"),
    (
        "DECIMAL(40,10)",
        "123456789012345678901234567890.1234567890",
        r#""123456789012345678901234567890.1234567890""#,
    ),
    ("FLOAT", "0.1", "0.1"),
    ("FLOAT", "3.402823e38", "3.402823e+38"),
    ("DOUBLE", "0.1", "0.1"),
    ("DOUBLE", "1.7976931348623157e308", "1.7976931348623157e+308"),
    ("CHAR(5)", "'ab'", r#""ab""#),
    ("VARCHAR(20)", "'🦀 \"q\" \\\\'", r#""🦀 \"q\" \\""#),
    ("VARCHAR(5)", "''", r#""""#),
    ("VARCHAR(5) CHARACTER SET latin1", "'é'", r#""é""#),
    ("TINYTEXT", "'a'", r#""a""#),
    ("TEXT", "'line\\nline'", r#""line\nline""#),
    ("MEDIUMTEXT", "'a'", r#""a""#),
    ("LONGTEXT", "'{}'", r#""{}""#),
    ("DATE", "'1899-12-31'", r#""1899-12-31""#),
    ("TIME(3)", "'-838:59:59.000'", r#""-838:59:59.000""#),
    ("DATETIME(6)", "'1000-01-01 00:00:00.000001'", r#""1000-01-01T00:00:00.000001""#),
    ("TIMESTAMP NULL", "'2026-11-02 08:00:00'", r#""2026-11-02T08:00:00Z""#),
    ("BINARY(3)", "X'00ff01'", r#""AP8B""#),
    ("VARBINARY(10)", "X'00ff'", r#""AP8=""#),
    ("TINYBLOB", "X'ff'", r#""/w==""#),
    ("BLOB", "''", r#""""#),
    ("MEDIUMBLOB", "X'ff'", r#""/w==""#),
    ("LONGBLOB", "X'ff'", r#""/w==""#),
    ("JSON", r#"'{"b": [1.10, {"a": null}]}'"#, r#"{"b": [1.10, {"a": null}]}"#),
    ("ENUM('a','b''c')", "'b''c'", r#""b'c""#),
    ("SET('a','b')", "'a,b'", r#""a,b""#),
    ("BIT(10)", "b'1000000001'", "513"),
    ("POINT", "POINT(1, 2)", r#""AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==""#),
    ("UUID", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("INET6", "'2001:db8::ff00:42:8329'", r#""2001:db8::ff00:42:8329""#),
];

const SQLITE: &[Case] = &[
    ("INTEGER", "9223372036854775807", "9223372036854775807"),
    ("INTEGER", "'text in it'", r#""text in it""#),
    ("REAL", "0.1", "0.1"),
    ("REAL", "9e999", r#""Infinity""#),
    ("DOUBLE", "1e308", "1e+308"),
    ("DECIMAL(10,2)", "12.5", "12.5"),
    ("TEXT", "''", r#""""#),
    ("TEXT", "'🦀' || char(10) || '\"'", r#""🦀\n\"""#),
    ("TEXT", "'a' || char(0) || 'b'", r#""a\u0000b""#),
    // No text in any encoding that the service knows: its bytes.
    ("TEXT", "CAST(X'61ff62' AS TEXT)", r#""Yf9i""#),
    ("VARCHAR(5)", "'longer than five'", r#""longer than five""#),
    ("BLOB", "X'00ff'", r#""AP8=""#),
    ("BLOB", "'text in it'", r#""text in it""#),
    ("BOOLEAN", "1", "true"),
    ("BOOLEAN", "0", "false"),
    ("BOOLEAN", "2", "2"),
    ("JSON", r#"'{"a": [1.10, null]}'"#, r#"{"a": [1.10, null]}"#),
    ("JSON", "'{broken'", r#""{broken""#),
    ("DATETIME", "'1899-12-31 10:00:00'", r#""1899-12-31 10:00:00""#),
    ("DATE", "19000101", "19000101"),
    ("UUID", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("", "42", "42"),
    ("", "'42'", r#""42""#),
    ("", "X'ff'", r#""/w==""#),
];

fn cases(dialect: Dialect) -> &'static [Case] {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::MySql => MYSQL,
        Dialect::Sqlite => SQLITE,
    }
}

const PLAN: &str = "plan: all
subject: { id: shop.everything.id }
connections:
  shop:
    everything: { erase: delete }
";

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_keep_what_they_mean() {
    for target in targets() {
        let cases = cases(target.dialect);
        if target.dialect == Dialect::Postgres {
            target.execute(
                "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b numeric(5,2));
                 CREATE DOMAIN d_instant AS timestamptz(3); CREATE DOMAIN d_double AS double precision;
                 CREATE DOMAIN d_integers AS integer[]; CREATE DOMAIN d_binaries AS bytea[];",
            );
        }
        let columns: Vec<String> =
            cases.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
        let values: Vec<&str> = cases.iter().map(|(_, value, _)| *value).collect();
        let nulls = vec!["NULL"; cases.len()].join(", ");
        let schema = format!(
            "CREATE TABLE everything (id INTEGER PRIMARY KEY, {});
             INSERT INTO everything VALUES (1, {});
             INSERT INTO everything VALUES (2, {nulls});",
            columns.join(", "),
            values.join(", ")
        );
        let (harness, _store) = harness(&target, &schema, PLAN).await;
        let mut texts = Vec::new();
        for person in [1, 2] {
            let id = harness.submit_as(Kind::Export, "all", json!({ "id": person })).await;
            let request = harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
            texts.push(unzip(&package(&harness.service, id).await));
        }
        let row = &texts[0]["tables/shop.everything.json"];
        for (at, (kind, value, shown)) in cases.iter().enumerate() {
            let wanted = format!("\"c{at}\":{shown}");
            let found = row.contains(&format!("{wanted},")) || row.contains(&format!("{wanted}}}"));
            assert!(found, "{:?}: {kind} {value} is not {shown} in {row}", target.dialect);
        }
        let Value::Object(empty) = rows(&texts[1], "shop.everything").remove(0) else { panic!() };
        let filled: Vec<_> = empty.iter().filter(|(name, value)| *name != "id" && !value.is_null()).collect();
        assert!(filled.is_empty(), "{:?}: NULL stays NULL: {filled:?}", target.dialect);
        let manifest: Value = serde_json::from_str(&texts[0]["manifest.json"]).unwrap();
        let shown = manifest["files"][0]["columns"].as_array().unwrap();
        assert_eq!((shown.len(), &shown[1]["name"]), (cases.len() + 1, &json!("c0")));
    }
}
