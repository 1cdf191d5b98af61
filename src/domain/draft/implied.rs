//! Keys that only a column's name tells of: `user_id` in a table without a foreign key.

use super::guess::{singular, words};
use crate::domain::schema::{Catalog, Column, ForeignKey, OnDelete, Table};

/// The schema with a foreign key, without a name, for each column that is named after a table's key and holds the same
/// kind of value; where several tables could be meant, the child's own schema decides.
pub(super) fn with_implied_keys(catalog: &Catalog) -> Catalog {
    let mut catalog = catalog.clone();
    let parents: Vec<Table> = catalog.tables.clone();
    for child in &mut catalog.tables {
        let implied: Vec<ForeignKey> = child
            .columns
            .iter()
            .filter(|column| !child.foreign_keys.iter().any(|key| key.columns.contains(&column.name)))
            .filter_map(|column| implied(&parents, child, column))
            .collect();
        child.foreign_keys.extend(implied);
    }
    catalog
}

fn implied(parents: &[Table], child: &Table, column: &Column) -> Option<ForeignKey> {
    let meant = |parent: &&Table| {
        let [key] = parent.primary_key.as_slice() else { return false };
        let is_itself = parent.schema == child.schema && parent.name == child.name;
        let fits = parent.column(key).is_some_and(|key| key.family == column.family);
        !is_itself && fits && is_named_after(&column.name, &parent.name, key)
    };
    let mut candidates: Vec<&Table> = parents.iter().filter(meant).collect();
    if candidates.len() > 1 {
        candidates.retain(|parent| parent.schema == child.schema);
    }
    let [parent] = candidates.as_slice() else { return None };
    Some(ForeignKey {
        name: String::new(),
        columns: vec![column.name.clone()],
        parent_schema: parent.schema.clone(),
        parent_table: parent.name.clone(),
        parent_columns: parent.primary_key.clone(),
        on_delete: OnDelete::NoAction,
    })
}

/// `user_id` and `UserId` for the `id` of `users`; `customer_no` for the `customer_no` of `customers`.
fn is_named_after(column: &str, table: &str, key: &str) -> bool {
    let (column, table, key) = (words(column), words(&singular(table)), words(key));
    let joined = [table.as_slice(), key.as_slice()].concat();
    column == joined || (column == key && key.len() > table.len() && key.starts_with(&table))
}

#[cfg(test)]
mod tests {
    use super::is_named_after;

    #[test]
    fn a_column_is_named_after_a_tables_key() {
        for (column, table, key) in [
            ("user_id", "users", "id"),
            ("UserId", "User", "ID"),
            ("customer_no", "customers", "customer_no"),
        ] {
            assert!(is_named_after(column, table, key), "{column}");
        }
        for (column, table, key) in
            [("id", "users", "id"), ("user", "users", "id"), ("owner_id", "users", "id")]
        {
            assert!(!is_named_after(column, table, key), "{column}");
        }
    }
}
