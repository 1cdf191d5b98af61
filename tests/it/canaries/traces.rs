//! What a service leaves behind: its store, byte by byte, and its files.

use std::path::Path;

use crate::support::stores::TestStore;

/// The whole store, and every file that the service wrote beside it, each with where it was.
pub fn everything(store: &TestStore, folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut traces = match store.file() {
        Some(file) => ["", "-wal"]
            .map(|end| file.with_file_name(format!("store.db{end}")))
            .into_iter()
            .filter_map(|path| Some((path.display().to_string(), std::fs::read(path).ok()?)))
            .collect(),
        None => tables(store),
    };
    assert!(traces.iter().any(|(_, bytes)| !bytes.is_empty()));
    files(folder, &mut traces);
    traces
}

/// Every column of every table; bytes with what is legible in them.
fn tables(store: &TestStore) -> Vec<(String, Vec<u8>)> {
    let mut session = store.session();
    let columns = session.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema()",
    );
    let mut traces = Vec::new();
    for column in columns {
        let [Some(table), Some(name), Some(kind)] = column.as_slice() else { panic!("{column:?}") };
        let value = match kind.as_str() {
            "bytea" => format!("encode(\"{name}\", 'escape')"),
            _ => format!("CAST(\"{name}\" AS text)"),
        };
        let rows = session.rows(&format!("SELECT {value} FROM {table}"));
        let cells: Vec<String> = rows.into_iter().flatten().flatten().collect();
        traces.push((format!("{table}.{name}"), cells.join("\n").into_bytes()));
    }
    traces
}

fn files(folder: &Path, traces: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path, traces),
            false => traces.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}

/// The first cell of each row, past the store.
pub fn column(store: &TestStore, sql: &str) -> Vec<String> {
    let rows = store.session().rows(sql);
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}
