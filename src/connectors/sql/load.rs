//! Fixtures: a script, or rows that are found by their key and changed, or put where none is.
//!
//! A row is looked for by exactly the key that the file names: where another unique key collides the database refuses the
//! row, on MySQL too, whose own upsert would change whichever row collides. And a row that is there may be named in part,
//! which PostgreSQL's and SQLite's `ON CONFLICT` would refuse for its NOT NULL columns.

use std::time::Duration;

use super::{
    dialect::{Dialect, internal},
    fragment::Fragment,
    rectify::{differs, written},
    session::Session,
    statement::Statement,
};
use crate::{
    connectors::{ConnectorError, FixtureError, Limits},
    domain::{
        compiled::KeyColumn,
        fixture::{Upsert, Upserts},
        key::Key,
        rectification::NewValue,
        schema::Family,
    },
};

/// A script may build an index on many rows; whoever has locked a row meanwhile is waited for.
pub(super) const LIMITS: Limits =
    Limits { lock_timeout: Duration::from_secs(30), statement_timeout: Duration::from_secs(3_600) };

type Value = (KeyColumn, NewValue);

pub(super) async fn script(mut session: Session, sql: &str) -> Result<(), FixtureError> {
    session.begin().await?;
    session.script(sql).await?;
    session.run("COMMIT").await?;
    // Whatever the script has set ends with its session.
    session.close();
    Ok(())
}

/// How many rows were not there like that.
pub(super) async fn rows(mut session: Session, tables: &[Upserts]) -> Result<u64, FixtureError> {
    if session.dialect() == Dialect::MySql {
        // A key of 0 is one, and asks for no new number.
        session.run("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')").await?;
    }
    session.begin().await?;
    let mut changed = 0;
    for upserts in tables {
        for row in &upserts.rows {
            let line = Some(row.line);
            changed +=
                upsert(&mut session, upserts, row).await.map_err(|error| FixtureError { error, line })?;
        }
        move_sequences(&mut session, upserts).await?;
    }
    session.run("COMMIT").await?;
    session.close();
    Ok(changed)
}

/// 1 where the row was put or changed.
async fn upsert(session: &mut Session, upserts: &Upserts, row: &Upsert) -> Result<u64, ConnectorError> {
    let dialect = session.dialect();
    let (key, rest): (Vec<&Value>, Vec<&Value>) =
        row.values.iter().partition(|(column, _)| upserts.key.contains(&column.name));
    if key.len() != upserts.key.len() {
        return Err(internal("a row has not all columns of its key"));
    }
    let table = dialect.table(&upserts.table);
    let found = Fragment::join(key.iter().map(|value| is(dialect, value)), " AND ");
    // Kept from being changed until the row is written.
    let lock = if dialect == Dialect::Sqlite { "" } else { " FOR UPDATE" };
    let look = found.clone().within(&format!("SELECT '1' FROM {table} WHERE "), lock);
    if session.query(&look.finish()).await?.is_empty() {
        return session.execute(&insert(dialect, upserts, row)).await;
    }
    if rest.is_empty() {
        return Ok(0);
    }
    let assign = rest.iter().map(|value| {
        let (column, value) = *value;
        written(dialect, column, value).within(&format!("{} = ", dialect.quote(&column.name)), "")
    });
    let not_yet = rest.iter().map(|value| {
        let (column, value) = *value;
        differs(dialect, &dialect.quote(&column.name), column, value)
    });
    let update = Fragment::join(assign, ", ")
        .within(&format!("UPDATE{} {table} SET ", or_abort(dialect)), " WHERE ")
        .and(found)
        .and(Fragment::join(not_yet, " OR ").within(" AND (", ")"));
    session.execute(&update.finish()).await
}

/// The key's column holds the value, by the equality that its unique key has.
fn is(dialect: Dialect, (column, value): &Value) -> Fragment {
    let own = written(dialect, column, value);
    let compared = match (dialect, value) {
        // A text beside a number would be compared as a double there.
        (Dialect::MySql, NewValue::Text(text) | NewValue::Number(text)) if column.family != Family::Other => {
            dialect.values(column, &Key::Text(text.clone())).into_iter().next().unwrap_or(own)
        }
        _ => own,
    };
    compared.within(&format!("{} = ", dialect.quote(&column.name)), "")
}

/// SQLite: what a table's own constraints do with a collision, such as replacing the other row, is not done.
fn or_abort(dialect: Dialect) -> &'static str {
    if dialect == Dialect::Sqlite { " OR ABORT" } else { "" }
}

/// A row that another session has put meanwhile is a collision on MySQL, and on the others changed.
fn insert(dialect: Dialect, upserts: &Upserts, row: &Upsert) -> Statement {
    let quoted = |names: Vec<&str>| -> String {
        names.into_iter().map(|name| dialect.quote(name)).collect::<Vec<_>>().join(", ")
    };
    let columns = quoted(row.values.iter().map(|(column, _)| column.name.as_str()).collect());
    let values =
        Fragment::join(row.values.iter().map(|(column, value)| written(dialect, column, value)), ", ");
    let or_abort = or_abort(dialect);
    // An identity can be told its value.
    let overriding = if dialect == Dialect::Postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
    let table = dialect.table(&upserts.table);
    let insert =
        values.within(&format!("INSERT{or_abort} INTO {table} ({columns}){overriding} VALUES ("), ")");
    if dialect == Dialect::MySql {
        return insert.finish();
    }
    let key = quoted(upserts.key.iter().map(String::as_str).collect());
    let rest = row.values.iter().filter(|(column, _)| !upserts.key.contains(&column.name));
    let set: Vec<String> = rest
        .map(|(column, _)| dialect.quote(&column.name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let action = match set.as_slice() {
        [] => "DO NOTHING".to_owned(),
        set => format!("DO UPDATE SET {}", set.join(", ")),
    };
    insert.then(&format!(" ON CONFLICT ({key}) {action}")).finish()
}

/// PostgreSQL: numbers that were given are not given out again. The other databases see to that themselves.
async fn move_sequences(session: &mut Session, upserts: &Upserts) -> Result<(), ConnectorError> {
    let dialect = session.dialect();
    let Some(first) = upserts.rows.first().filter(|_| dialect == Dialect::Postgres) else { return Ok(()) };
    let numbers = first.values.iter().map(|(column, _)| column);
    for column in
        numbers.filter(|column| column.family == Family::Integer && upserts.key.contains(&column.name))
    {
        let table = dialect.table(&upserts.table);
        let name = dialect.quote(&column.name);
        let literal =
            |text: &str| Fragment::bound(super::statement::Bind::Text(Some(text.to_owned()))).then("::text");
        let sequence = literal(&table)
            .then(", ")
            .and(literal(&column.name))
            .within("pg_catalog.pg_get_serial_sequence(", ")");
        let sql = Fragment::text("SELECT pg_catalog.setval(found.name::regclass, found.highest)::text FROM (SELECT ")
            .and(sequence)
            .then(&format!(
                " AS name, (SELECT max({name})::bigint FROM {table}) AS highest OFFSET 0) AS found \
                 WHERE CASE WHEN found.name IS NULL THEN false \
                 ELSE has_sequence_privilege(found.name, 'UPDATE') AND has_sequence_privilege(found.name, 'SELECT') \
                 AND found.highest > coalesce(pg_catalog.pg_sequence_last_value(found.name::regclass), 0) END"
            ));
        session.query(&sql.finish()).await?;
    }
    Ok(())
}
