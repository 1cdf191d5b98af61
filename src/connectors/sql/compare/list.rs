//! Many values as one: a statement takes 32,766 of them on SQLite and 65,535 on MySQL, a key set may hold more. PostgreSQL
//! has arrays; here the values travel as one JSON text and come out one by one in the form that each had by itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{
    dialect::Dialect,
    fragment::Fragment,
    statement::{Bind, MARK},
};
use crate::domain::audit::hex;

/// Up to so many rows each value is one of the statement: so an index is used whatever the server knows of JSON.
pub(in super::super) const LARGE: usize = 1_000;

/// Rows whose values have the same form: what stands for each value, and the relation that it comes from.
pub(in super::super) struct List {
    pub(in super::super) items: Vec<String>,
    pub(in super::super) from: Fragment,
}

/// For each form in which the rows' values are written.
pub(in super::super) fn lists(dialect: Dialect, rows: &[Vec<Fragment>]) -> Vec<List> {
    let mut groups: BTreeMap<Vec<String>, Vec<Value>> = BTreeMap::new();
    for row in rows {
        let (forms, values) =
            (0_usize..).zip(row).map(|(at, value)| form(dialect, at, value)).unzip::<_, _, Vec<_>, Vec<_>>();
        groups.entry(forms).or_default().push(Value::Array(values));
    }
    let lists = groups.into_iter().map(|(items, values)| {
        let json = Fragment::bound(Bind::Text(Some(Value::Array(values).to_string())));
        let from = match dialect {
            Dialect::MySql => table(items.len(), json),
            Dialect::Sqlite | Dialect::Postgres => json.within("json_each(", ") AS rightful_j"),
        };
        List { items, from }
    });
    lists.collect()
}

/// What is written for the value at that position, and what it is in JSON.
fn form(dialect: Dialect, at: usize, value: &Fragment) -> (String, Value) {
    let (sql, binds) = value.parts();
    let place = match dialect {
        Dialect::MySql => format!("rightful_j.v{at}"),
        Dialect::Sqlite | Dialect::Postgres => format!("json_extract(rightful_j.value, '$[{at}]')"),
    };
    let (item, json) = match (dialect, binds.first()) {
        // As text until here: JSON numbers of MySQL may be doubles.
        (Dialect::MySql, Some(Bind::Int(number))) => {
            (format!("CAST({place} AS SIGNED)"), Value::from(number.to_string()))
        }
        (_, Some(Bind::Int(number))) => (place, Value::from(*number)),
        (_, Some(Bind::Text(Some(text)))) => (place, Value::from(text.as_str())),
        (_, Some(Bind::Bytes(Some(bytes)))) => (format!("unhex({place})"), Value::from(hex(bytes))),
        _ => (place, Value::Null),
    };
    (sql.replace(MARK, &item), json)
}

/// A relation of texts. Within one of its own, so that it is worked out once and not for every row beside it.
fn table(columns: usize, json: Fragment) -> Fragment {
    let columns: Vec<String> =
        (0..columns).map(|at| format!("v{at} LONGTEXT CHARACTER SET utf8mb4 PATH '$[{at}]'")).collect();
    let columns = columns.join(", ");
    json.within(
        "(SELECT * FROM JSON_TABLE(",
        &format!(", '$[*]' COLUMNS ({columns})) AS rightful_t) AS rightful_j"),
    )
}
