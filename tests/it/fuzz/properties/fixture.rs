//! Fixtures: JSON is read as the YAML that it is, and every fault has its place.

use rightful::domain::{
    document::{Document, Node},
    fixture::{self, FixtureTable, script_faults},
};
use serde_json::{Value, json};

use super::documents::{faults_are_sound, tree, written, yaml};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let faults = script_faults("f", text);
    if !faults.is_empty() {
        faults_are_sound(&faults, text);
    }
    let by_yaml = yaml(text);
    let by_json = Document::parse_json("f", text);
    match (&by_yaml, &by_json) {
        (Some(yaml), Ok(json)) => assert_eq!(tree(yaml), tree(json)),
        (_, Err(faults)) => faults_are_sound(faults, text),
        (None, Ok(_)) => {}
    }
    let mut taken = false;
    for node in by_yaml.iter().chain(by_json.as_ref().ok()) {
        taken |= fixture_is_sound(node, text);
    }
    taken
}

fn fixture_is_sound(node: &Node, text: &str) -> bool {
    let tables = match fixture::parse("f", node) {
        Ok(tables) => tables,
        Err(faults) => {
            faults_are_sound(&faults, text);
            return false;
        }
    };
    if let Some(written) = written(node) {
        let again = Document::parse("f", &written).unwrap_or_else(|faults| panic!("{faults:?}: {written}"));
        let again = fixture::parse("f", &again).unwrap_or_else(|faults| panic!("{faults:?}: {written}"));
        assert_eq!(meaning(&again), meaning(&tables), "{written}");
    }
    true
}

/// All of it but the lines.
fn meaning(tables: &[FixtureTable]) -> Vec<Value> {
    let table = |table: &FixtureTable| {
        let key = table.key.as_ref().map(|key| key.iter().map(|at| &at.value).collect::<Vec<_>>());
        let rows = table.rows.iter().map(|row| {
            row.values.iter().map(|(name, value)| json!([name.value, tree(value)])).collect::<Vec<_>>()
        });
        json!([table.name.value, key, rows.collect::<Vec<_>>()])
    };
    tables.iter().map(table).collect()
}
