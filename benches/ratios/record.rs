//! What the newest request has in the tables of a PostgreSQL store, as a script for pgbench.

use std::fmt::Write;

use serde_json::Value;

use super::target::Target;

/// A transaction that inserts all of it again, under ids of its own.
pub async fn script(store: &Target) -> String {
    let text = async |sql: &str| -> Vec<String> {
        let rows = store.client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        rows.iter().map(|row| row.get(0)).collect()
    };
    let id = text("SELECT id FROM requests ORDER BY id DESC LIMIT 1").await.remove(0);
    let tables = text(
        "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'request_id'
           AND table_schema = current_schema()
           AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r') ORDER BY 1",
    )
    .await;
    let refs = text(&format!("SELECT ref FROM request_refs WHERE request_id = '{id}'")).await;
    let events = text(&format!("SELECT id FROM audit_events WHERE request_id = '{id}'")).await;
    let entries = text(&format!("SELECT id FROM erasure_ledger WHERE request_id = '{id}'")).await;
    let mut variables = vec![(id.clone(), "id".to_owned())];
    for (number, one) in refs.into_iter().chain(events).chain(entries).enumerate() {
        variables.push((one, format!("v{number}")));
    }
    let mut script = String::new();
    for (_, name) in &variables {
        let _ = writeln!(script, "\\set {name} random(1000000000000, 9000000000000000000)");
    }
    script.push_str("BEGIN;\n");
    let own =
        std::iter::once(("requests", "id")).chain(tables.iter().map(|table| (table.as_str(), "request_id")));
    for (table, key) in own {
        let rows = format!("SELECT row_to_json(t)::text FROM {table} t WHERE {key} = '{id}'");
        for row in text(&rows).await {
            let row: serde_json::Map<String, Value> = serde_json::from_str(&row).expect("a row");
            let values: Vec<String> = row.values().map(|value| literal(value, &variables)).collect();
            let columns: Vec<&str> = row.keys().map(|column| column.as_str()).collect();
            let _ = writeln!(
                script,
                "INSERT INTO {table} (\"{}\") VALUES ({});",
                columns.join("\", \""),
                values.join(", ")
            );
        }
    }
    script.push_str("COMMIT;\n");
    script
}

/// A value as SQL, with the variables of the script in the place of what must be there once. Colons are written as escapes:
/// pgbench takes what follows one for a variable, also inside of quotes.
fn literal(value: &Value, variables: &[(String, String)]) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let escaped = text.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\003a");
    let varied = variables
        .iter()
        .fold(format!("U&'{escaped}'"), |text, (of, name)| text.replace(of, &format!("' || :{name} || U&'")));
    // One that is all of it, or its beginning or end.
    varied.replace("U&'' || ", "").replace(" || U&''", "")
}
