//! Types, and values that they take.

use serde_json::{Value, json};

use crate::support::targets::Dialect;

/// A type, a value that is there, and what is given with the text that the database then shows; `None` is NULL.
pub type Case = (&'static str, &'static str, Vec<(Value, Option<&'static str>)>);

fn text(given: &'static str) -> (Value, Option<&'static str>) {
    (json!(given), Some(given))
}

fn null() -> (Value, Option<&'static str>) {
    (Value::Null, None)
}

fn postgres() -> Vec<Case> {
    let nested = json!({ "a": [1, { "b": null, "ü": "💥" }], "n": 9_007_199_254_740_993_i64 });
    vec![
        ("smallint", "1", vec![(json!(-32768), Some("-32768")), null()]),
        ("integer", "1", vec![(json!(2_147_483_647), Some("2147483647")), (json!("-7"), Some("-7"))]),
        (
            "bigint",
            "1",
            vec![
                (json!(i64::MAX), Some("9223372036854775807")),
                (json!(i64::MIN), Some("-9223372036854775808")),
            ],
        ),
        ("oid", "1", vec![(json!(4_294_967_295_u32), Some("4294967295"))]),
        (
            "numeric",
            "1",
            vec![text("123456789012345678901234567890.12345678901234567890"), text("NaN"), text("1.50")],
        ),
        (
            "numeric(10,2)",
            "1",
            vec![(json!("-12345678.9"), Some("-12345678.90")), (json!(0.25), Some("0.25"))],
        ),
        (
            "real",
            "1",
            vec![
                (json!(0.1), Some("0.1")),
                (json!("16777216"), Some("1.6777216e+07")),
                (json!("0.100000001"), Some("0.1")),
                text("NaN"),
                text("-Infinity"),
            ],
        ),
        (
            "double precision",
            "1",
            vec![
                (json!("0.30000000000000004"), Some("0.30000000000000004")),
                text("NaN"),
                text("Infinity"),
                text("1e+300"),
            ],
        ),
        ("money", "1", vec![(json!("-1234.56"), Some("-$1,234.56"))]),
        ("text", "'x'", vec![text(""), text("🦀 é ' \" \\ % $1 \u{1}"), null(), text(" blanks ")]),
        ("character varying(5)", "'x'", vec![text("🦀🦀🦀🦀🦀"), text(""), text("a   ")]),
        ("character(5)", "'x'", vec![(json!("ab"), Some("ab   ")), (json!(""), Some("     "))]),
        ("name", "'x'", vec![text("n")]),
        ("\"char\"", "'x'", vec![text("y")]),
        ("mood", "'sad'", vec![text("very ''happy"), null()]),
        ("small_text", "'x'", vec![text("four")]),
        ("d_bits", "'0000'", vec![text("0110")]),
        ("d_texts", "'{a}'", vec![(json!(["abc", null]), Some("{abc,NULL}"))]),
        ("d_decimal[]", "'{1}'", vec![(json!(["1.234", 2]), Some("{1.234,2.000}"))]),
        (
            "d_instant",
            "'2000-01-01'",
            vec![(json!("1899-12-31T23:59:59.25Z"), Some("1899-12-31 23:59:59.25+00"))],
        ),
        ("d_local", "'2000-01-01'", vec![text("1815-12-10 01:02:03")]),
        ("d_double", "1", vec![text("0.30000000000000004"), text("1e+300")]),
        ("pair", "'(1,2)'", vec![text("(7,1.50)")]),
        ("bit(3)[]", "'{000}'", vec![(json!([["010"], ["111"]]), Some("{{010},{111}}"))]),
        ("box[]", "'{}'", vec![(json!(["(2,2),(1,1)"]), Some("{(2,2),(1,1)}"))]),
        ("interval year to month", "'1 year'", vec![text("2 years 3 mons")]),
        ("tsrange", "'empty'", vec![text("[\"1815-12-10 00:00:00\",infinity)")]),
        (
            "uuid",
            "'00000000-0000-0000-0000-000000000000'",
            vec![(json!("A0EEBC999C0B4EF8BB6D6BB9BD380A11"), Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))],
        ),
        ("boolean", "false", vec![(json!(true), Some("t")), null()]),
        (
            "date",
            "'2000-01-01'",
            vec![text("1752-09-14"), text("0044-03-15 BC"), text("infinity"), text("10000-01-01")],
        ),
        ("time", "'00:00'", vec![text("23:59:59.999999")]),
        ("time with time zone", "'00:00Z'", vec![text("23:59:59.5+05:30")]),
        (
            "timestamp",
            "'2000-01-01'",
            vec![(json!("1815-12-10T01:02:03.000001"), Some("1815-12-10 01:02:03.000001"))],
        ),
        ("timestamp(0)", "'2000-01-01'", vec![text("1815-12-10 01:02:03")]),
        (
            "timestamp with time zone",
            "'2000-01-01'",
            vec![
                (json!("1899-12-31T23:59:59.25-01:00"), Some("1900-01-01 00:59:59.25+00")),
                text("-infinity"),
            ],
        ),
        (
            "interval",
            "'1 day'",
            vec![(json!("1 year 2 mons -3 days 04:05:06.7"), Some("1 year 2 mons -3 days +04:05:06.7"))],
        ),
        (
            "bytea",
            "'\\x01'",
            vec![(json!("AP/+IicA"), Some("\\x00fffe222700")), (json!(""), Some("\\x")), null()],
        ),
        (
            "json",
            "'1'",
            vec![
                (nested.clone(), Some("{\"a\":[1,{\"b\":null,\"ü\":\"💥\"}],\"n\":9007199254740993}")),
                (json!("text"), Some("\"text\"")),
                null(),
            ],
        ),
        (
            "jsonb",
            "'1'",
            vec![
                (nested, Some("{\"a\": [1, {\"b\": null, \"ü\": \"💥\"}], \"n\": 9007199254740993}")),
                (json!([]), Some("[]")),
                (json!(false), Some("false")),
            ],
        ),
        (
            "integer[]",
            "'{1}'",
            vec![
                (json!([1, null, -3]), Some("{1,NULL,-3}")),
                (json!([]), Some("{}")),
                (json!([[1, 2], [3, 4]]), Some("{{1,2},{3,4}}")),
            ],
        ),
        (
            "text[]",
            "'{a}'",
            vec![(
                json!(["", "a\"b\\c", "NULL", null, "{x,y}", "🦀"]),
                Some("{\"\",\"a\\\"b\\\\c\",\"NULL\",NULL,\"{x,y}\",🦀}"),
            )],
        ),
        ("character varying(3)[]", "'{a}'", vec![(json!(["abc"]), Some("{abc}"))]),
        ("bytea[]", "'{}'", vec![(json!(["AP8="]), Some("{\"\\\\x00ff\"}"))]),
        ("date[]", "'{}'", vec![(json!(["1752-09-14"]), Some("{1752-09-14}"))]),
        ("jsonb[]", "'{}'", vec![(json!([{ "a": [1] }, [2]]), Some("{\"{\\\"a\\\": [1]}\",[2]}"))]),
        ("inet", "'10.0.0.1'", vec![(json!("2001:0db8::0001"), Some("2001:db8::1"))]),
        ("cidr", "'10.0.0.0/8'", vec![text("192.168.0.0/16")]),
        ("macaddr", "'08:00:2b:01:02:03'", vec![text("08:00:2b:01:02:04")]),
        ("bit(3)", "'000'", vec![text("101")]),
        ("bit varying(5)", "'0'", vec![text("01"), text("")]),
        ("point", "'(0,0)'", vec![text("(1.5,-2)")]),
        ("xml", "'<a/>'", vec![text("<b c=\"1\">é</b>")]),
        ("tsvector", "'a'", vec![text("'cat' 'fat'")]),
        ("int4range", "'[1,2)'", vec![(json!("[1,5]"), Some("[1,6)"))]),
        (
            "tstzrange",
            "'[2000-01-01,2001-01-01)'",
            vec![(json!("[1815-12-10 00:00+00,infinity)"), Some("[\"1815-12-10 00:00:00+00\",infinity)"))],
        ),
    ]
}

fn mysql() -> Vec<Case> {
    vec![
        ("tinyint", "1", vec![(json!(-128), Some("-128")), null()]),
        ("tinyint(1)", "1", vec![(json!(false), Some("0"))]),
        ("smallint unsigned", "1", vec![(json!(65535), Some("65535"))]),
        ("mediumint", "1", vec![(json!(-8_388_608), Some("-8388608"))]),
        ("int", "1", vec![(json!(2_147_483_647), Some("2147483647"))]),
        ("bigint", "1", vec![(json!(i64::MIN), Some("-9223372036854775808"))]),
        (
            "bigint unsigned",
            "1",
            vec![(json!(u64::MAX), Some("18446744073709551615")), (json!("0"), Some("0"))],
        ),
        ("year", "2000", vec![(json!(1901), Some("1901"))]),
        (
            "decimal(30,10)",
            "1",
            vec![(json!("-12345678901234567890.0123456789"), Some("-12345678901234567890.0123456789"))],
        ),
        ("decimal(10,2) unsigned", "1", vec![(json!("0.1"), Some("0.10"))]),
        ("float", "1", vec![(json!(0.1), Some("0.1")), (json!("16777216"), Some("16777200"))]),
        ("double(10,3)", "1", vec![(json!("-0.1"), Some("-0.100")), (json!("-0.001"), Some("-0.001"))]),
        ("float(7,2)", "1", vec![(json!("12345.25"), Some("12345.25"))]),
        (
            "double",
            "1",
            vec![
                (json!("0.30000000000000004"), Some("0.30000000000000004")),
                (json!("1e300"), Some("1e300")),
            ],
        ),
        ("char(5)", "'x'", vec![text("ab"), text(""), text("🦀🦀🦀🦀🦀"), null()]),
        ("varchar(5)", "'x'", vec![text("a   "), text("A"), text("é"), text("")]),
        ("varchar(5) CHARACTER SET latin1", "'x'", vec![text("é")]),
        ("tinytext", "'x'", vec![text("🦀")]),
        ("text", "'x'", vec![text("🦀 é ' \" \\ % ? \u{1}"), text("")]),
        ("mediumtext", "'x'", vec![text("m")]),
        ("longtext", "'x'", vec![text("l")]),
        (
            "json",
            "'1'",
            vec![
                (
                    json!({ "a": [1, { "b": null }], "n": 9_007_199_254_740_993_i64, "ü": "💥 \"\\" }),
                    Some("{\"a\":[1,{\"b\":null}],\"n\":9007199254740993,\"ü\":\"💥 \\\"\\\\\"}"),
                ),
                (json!("text"), Some("\"text\"")),
                (json!([]), Some("[]")),
                (json!(1.5), Some("1.5")),
                (json!(false), Some("false")),
                null(),
            ],
        ),
        (
            "uuid",
            "'00000000-0000-0000-0000-000000000000'",
            vec![(json!("A0EEBC999C0B4EF8BB6D6BB9BD380A11"), Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))],
        ),
        ("date", "'2000-01-01'", vec![text("1752-09-14"), text("1000-01-01")]),
        ("time", "'00:00'", vec![text("-838:59:59")]),
        ("time(3)", "'00:00'", vec![text("23:59:59.125")]),
        ("datetime", "'2000-01-01'", vec![(json!("1815-12-10T01:02:03"), Some("1815-12-10 01:02:03"))]),
        ("datetime(6)", "'2000-01-01'", vec![text("9999-12-31 23:59:59.999999")]),
        (
            "timestamp(3) NULL",
            "'2000-01-01'",
            vec![(json!("2037-12-31T23:00:00.125-01:00"), Some("2038-01-01 00:00:00.125"))],
        ),
        ("binary(3)", "'abc'", vec![(json!("AP8A"), Some("00FF00"))]),
        ("varbinary(5)", "'a'", vec![(json!(""), Some("")), (json!("AP8iJwA="), Some("00FF222700"))]),
        ("tinyblob", "'a'", vec![(json!("AA=="), Some("00"))]),
        ("blob", "'a'", vec![(json!("AP/+"), Some("00FFFE")), null()]),
        ("longblob", "'a'", vec![(json!("AP/+"), Some("00FFFE"))]),
        ("enum('a','1','it''s')", "'a'", vec![text("1"), text("it's")]),
        ("set('x','y','z')", "'x'", vec![(json!("z,x"), Some("x,z")), text("")]),
        ("bit(9)", "b'1'", vec![(json!("100000001"), Some("257")), (json!(341), Some("341"))]),
        ("inet6", "'::1'", vec![(json!("2001:0db8::0001"), Some("2001:db8::1"))]),
        ("enum('a\\\\b','c\\nd')", "'c\\nd'", vec![text("a\\b"), text("c\nd")]),
        (
            "point",
            "POINT(0,0)",
            vec![
                text("POINT(1.5 -2)"),
                // As an export shows it.
                (json!("AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA=="), Some("POINT(1 2)")),
            ],
        ),
    ]
}

fn sqlite() -> Vec<Case> {
    vec![
        (
            "INTEGER",
            "1",
            vec![
                (json!(i64::MAX), Some("9223372036854775807")),
                (json!(i64::MIN), Some("-9223372036854775808")),
                null(),
            ],
        ),
        ("BIGINT", "1", vec![(json!("-7"), Some("-7")), (json!(true), Some("1"))]),
        ("TEXT", "'x'", vec![text(""), text("🦀 é ' \" \\ % ? \u{1}"), text("7"), null()]),
        ("VARCHAR(5)", "'x'", vec![text("longer than five"), text("007")]),
        ("TEXT COLLATE NOCASE", "'x'", vec![text("X")]),
        ("REAL", "1", vec![(json!(0.1), Some("0.1")), (json!("1e300"), Some("1.0e+300"))]),
        ("DECIMAL(10,2)", "1", vec![(json!("1.10"), Some("1.1")), (json!(5), Some("5"))]),
        (
            "UUID",
            "'x'",
            vec![(json!("A0EEBC999C0B4EF8BB6D6BB9BD380A11"), Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))],
        ),
        ("BOOLEAN", "0", vec![(json!(true), Some("1"))]),
        ("DATE", "'2000-01-01'", vec![text("1752-09-14")]),
        (
            "DATETIME",
            "'2000-01-01'",
            vec![text("1815-12-10T01:02:03.5Z"), (json!(-1_000_000_000), Some("-1000000000"))],
        ),
        ("BLOB", "x'01'", vec![(json!("AP/+"), Some("00FFFE")), (json!(""), Some("")), null()]),
        (
            "JSON",
            "'1'",
            vec![
                (
                    json!({ "a": [1, { "b": null }], "ü": "💥" }),
                    Some("{\"a\":[1,{\"b\":null}],\"ü\":\"💥\"}"),
                ),
                (json!("5"), Some("\"5\"")),
            ],
        ),
        ("", "1", vec![text("5"), (json!(5), Some("5")), (json!(0.5), Some("0.5")), text("")]),
        ("ODD", "1", vec![text("o")]),
    ]
}

pub fn cases(dialect: Dialect) -> Vec<Case> {
    match dialect {
        Dialect::Postgres => postgres(),
        Dialect::MySql => mysql(),
        Dialect::Sqlite => sqlite(),
    }
}
