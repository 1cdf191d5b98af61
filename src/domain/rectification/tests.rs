use serde_json::{Value, json};

use super::{Correctable, NewValue, System, times, types, values::new_value};
use crate::domain::{compiled::KeyColumn, schema::Family};

fn column(type_name: &str, family: Family) -> Correctable {
    Correctable {
        column: KeyColumn { name: "c".to_owned(), type_name: type_name.to_owned(), family, nullable: true },
        base_type: None,
        max_length: None,
        listed: true,
        fixed: None,
        copies: Vec::new(),
        unique: Vec::new(),
        foreign_keys: Vec::new(),
        value: None,
    }
}

fn read(system: System, type_name: &str, family: Family, given: Value) -> Result<String, String> {
    new_value(&given, &column(type_name, family), system).map(|value| match value {
        NewValue::Null => "NULL".to_owned(),
        NewValue::Text(text) | NewValue::Number(text) => text,
        NewValue::Bytes(bytes) => format!("{bytes:?}"),
    })
}

#[test]
fn what_a_type_is_called_says_what_it_holds() {
    assert_eq!(types::arguments("numeric(10,2)"), [10, 2]);
    assert_eq!(types::arguments("timestamp(3) without time zone"), [3]);
    assert_eq!(types::arguments("decimal(10,2) unsigned"), [10, 2]);
    assert_eq!(types::arguments("text"), [0; 0]);
    assert_eq!(types::labels("enum('a','it''s','1')"), ["a", "it's", "1"]);
    assert_eq!(types::element("timestamp(3) without time zone[]").1, Family::Time);
    assert_eq!(types::word("BIT(9)"), "bit");
}

#[test]
fn times_are_read_in_one_way_or_not_at_all() {
    let good = [
        (System::Postgres, "date", "0044-03-15 BC"),
        (System::Postgres, "date", "-infinity"),
        (System::Postgres, "date", "2024-02-29"),
        (System::Postgres, "time(1) without time zone", "23:59:59.50"),
        (System::Postgres, "timestamp with time zone", "1815-12-10 01:02-00:25"),
        (System::Postgres, "interval", "1 mon"),
        (System::MySql, "time(2)", "-101:00:00.25"),
        (System::Sqlite, "DATETIME", "1815-12-10"),
        (System::Sqlite, "DATETIME", "1815-12-10 01:02:03"),
        (System::Sqlite, "TIME", "01:02"),
    ];
    for (system, kind, text) in good {
        assert_eq!(times::text(text, kind, system).as_deref(), Ok(text), "{kind} {text}");
    }
    let bad = [
        (System::Postgres, "date", "0000-01-01"),
        (System::Postgres, "date", "2023-02-29"),
        (System::Postgres, "date", "2023-2-9"),
        (System::Postgres, "date", "2023-02-09T00:00:00"),
        (System::Postgres, "date", "today"),
        (System::Postgres, "interval", "now"),
        (System::Postgres, "time without time zone", "24:00:01"),
        (System::Postgres, "time without time zone", "23:59:60"),
        (System::Postgres, "time without time zone", "10:00."),
        (System::Postgres, "timestamp without time zone", "2023-02-09"),
        (System::Postgres, "timestamp with time zone", "2023-02-09T00:00:00+99"),
        (System::MySql, "date", "0044-03-15 BC"),
        (System::MySql, "date", "infinity"),
        (System::MySql, "date", "10000-01-01"),
        (System::MySql, "time", "839:00:00"),
        (System::MySql, "datetime(3)", "2023-02-09T00:00:00.0001"),
        (System::MySql, "timestamp", "2038-01-19T03:14:08Z"),
        (System::Sqlite, "DATETIME", "12.5.2023"),
    ];
    for (system, kind, text) in bad {
        assert!(times::text(text, kind, system).is_err(), "{kind} {text}");
    }
    let utc = times::text("2023-02-09T00:30:00.5+01:00", "timestamp(1)", System::MySql);
    assert_eq!(utc.as_deref(), Ok("2023-02-08 23:30:00.500000"));
}

#[test]
fn a_decimal_is_kept_digit_by_digit_or_refused() {
    let number = |kind: &str, given: Value| read(System::Postgres, kind, Family::Number, given);
    assert_eq!(number("numeric(5,2)", json!("-123.40")).as_deref(), Ok("-123.40"));
    assert_eq!(number("numeric(5,2)", json!("123.4000")).as_deref(), Ok("123.4000"));
    assert_eq!(number("numeric(2,2)", json!(0.25)).as_deref(), Ok("0.25"));
    for given in
        [json!("123.456"), json!(1234), json!("1e2"), json!("+1"), json!("0x1"), json!(""), json!(true)]
    {
        assert!(number("numeric(5,2)", given.clone()).is_err(), "{given}");
    }
    assert_eq!(number("double precision", json!("-1e-300")).as_deref(), Ok("-1e-300"));
    assert!(number("double precision", json!("1e999")).is_err());
    assert!(read(System::Sqlite, "REAL", Family::Number, json!("Infinity")).is_err());
}

#[test]
fn null_needs_a_column_that_takes_it() {
    let mut not_null = column("text", Family::Text);
    not_null.column.nullable = false;
    assert!(new_value(&Value::Null, &not_null, System::Postgres).is_err());
    assert_eq!(read(System::Postgres, "json", Family::Json, Value::Null).as_deref(), Ok("NULL"));
}

#[test]
fn a_set_is_kept_in_the_order_of_its_labels() {
    let set = |given: &str| read(System::MySql, "set('x','y','z')", Family::Enum, json!(given));
    assert_eq!(set("z,x").as_deref(), Ok("x,z"));
    assert_eq!(set("").as_deref(), Ok(""));
    assert!(set("x,").is_err());
    assert!(read(System::MySql, "enum('x')", Family::Enum, json!("")).is_err());
}

#[test]
fn nobody_sees_a_value_by_accident() {
    let bound =
        Correctable { value: Some(NewValue::Text("secret".to_owned())), ..column("text", Family::Text) };
    assert!(!format!("{bound:?}").contains("secret"));
    assert!(
        !serde_json::to_string(&bound).unwrap().contains("secret"),
        "a compiled plan lies open in the store"
    );
    let changes = super::Changes([("t".to_owned(), json!({ "c": "secret" }))].into());
    assert!(!format!("{changes:?}").contains("secret"));
}
