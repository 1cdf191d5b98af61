//! A target with tables of the test's own, and short words for compiled rows on them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rightful::{
    connectors::{Batch, Connector, Count, CountOf, Cursor, Keys, Limits, Work, sql::SqlConnector},
    domain::{
        compiled::{Action, Alternative, Identity, KeyColumn, Link, Root, Rows, Source, TableName},
        key::{Key, Tuple},
        schema::Catalog,
    },
};

use crate::support::targets::{Dialect, Target, targets};

pub const LIMITS: Limits =
    Limits { lock_timeout: Duration::from_secs(10), statement_timeout: Duration::from_secs(30) };

pub struct Bench {
    pub target: Target,
    pub connector: Arc<SqlConnector>,
    catalog: Catalog,
}

/// A bench with those tables on every database; `:int`, `:text`, `:blob` and `:id` stand for its types.
pub async fn benches(ddl: &str) -> Vec<Bench> {
    let mut benches = Vec::new();
    for target in targets() {
        benches.push(Bench::new(target, ddl).await);
    }
    benches
}

impl Bench {
    pub async fn new(target: Target, ddl: &str) -> Self {
        let words = match target.dialect {
            Dialect::Postgres => [(":int", "bigint"), (":text", "text"), (":blob", "bytea")],
            Dialect::MySql => [(":int", "bigint"), (":text", "varchar(100)"), (":blob", "varbinary(100)")],
            Dialect::Sqlite => [(":int", "INTEGER"), (":text", "TEXT"), (":blob", "BLOB")],
        };
        let mut sql = ddl.to_owned();
        for (word, kind) in words {
            sql = sql.replace(word, kind);
        }
        target.execute(&sql);
        let connector = Arc::new(SqlConnector::new(&target.url, 4).expect("a URL"));
        let catalog = connector.catalog().await.expect("a catalog");
        Self { target, connector, catalog }
    }

    pub fn dialect(&self) -> Dialect {
        self.target.dialect
    }

    pub fn table(&self, name: &str) -> TableName {
        TableName { schema: self.catalog.default_schema.clone(), name: name.to_owned() }
    }

    pub fn column(&self, table: &str, column: &str) -> KeyColumn {
        let found = self.catalog.table(None, table).and_then(|table| table.column(column));
        let found = found.unwrap_or_else(|| panic!("no column {table}.{column}"));
        KeyColumn {
            name: found.name.clone(),
            type_name: found.type_name.clone(),
            family: found.family,
            nullable: found.nullable,
        }
    }

    pub fn columns(&self, table: &str, columns: &[&str]) -> Vec<KeyColumn> {
        columns.iter().map(|column| self.column(table, column)).collect()
    }

    pub fn rows(&self, table: &str, any_of: Vec<Alternative>) -> Rows {
        let key = self.catalog.table(None, table).expect("the table").primary_key.clone();
        let key = key.iter().map(|column| self.column(table, column)).collect();
        Rows { table: self.table(table), key, any_of, filter: None, except: Vec::new(), within: Vec::new() }
    }

    /// `table.columns` equal those of the source.
    pub fn link(
        &self,
        (table, own): (&str, &[&str]),
        (other, theirs): (&str, &[&str]),
        source: Source,
    ) -> Link {
        Link {
            columns: self.columns(table, own),
            source,
            source_columns: self.columns(other, theirs),
            ignore_case: vec![false; theirs.len()],
        }
    }

    /// `table.column` equals the root tuple's value at that position, which is of `users.theirs`.
    pub fn by_root(&self, table: &str, column: &str, theirs: &str, position: usize) -> Alternative {
        matching(self.link((table, &[column]), ("users", &[theirs]), Source::Root(vec![position])))
    }

    /// A root of `users` with those columns; the first is the identity and the key.
    pub fn root(&self, columns: &[&str]) -> Root {
        Root {
            connection: "shop".to_owned(),
            table: self.table("users"),
            columns: self.columns("users", columns),
            identities: (0_usize..)
                .zip(columns)
                .map(|(column, name)| Identity { name: (*name).to_owned(), column, ignore_case: false })
                .collect(),
            scope: Vec::new(),
            key: vec![0],
            must_be_unshared: Vec::new(),
        }
    }

    pub async fn count(&self, rows: &Rows, action: &Action, keys: &Keys, of: CountOf) -> u64 {
        let counts = [Count { rows, action, keys, of }];
        let counted = self.connector.count(&counts, Duration::from_secs(20)).await;
        counted.unwrap_or_else(|error| panic!("{:?}: {error}", self.dialect())).remove(0)
    }

    pub async fn batch(&self, work: &Work<'_>, cursor: &mut Cursor, limit: u32) -> Batch {
        let at = self.dialect();
        let mut tx = self.connector.begin(LIMITS).await.unwrap_or_else(|error| panic!("{at:?}: {error}"));
        let batch = tx.batch(work, cursor, limit).await.unwrap_or_else(|error| panic!("{at:?}: {error}"));
        tx.commit().await.unwrap_or_else(|error| panic!("{at:?}: {error}"));
        batch
    }

    /// Works off every alternative, a transaction for each batch.
    pub async fn run(&self, rows: &Rows, action: &Action, keys: &Keys, limit: u32) -> u64 {
        let mut affected = 0;
        for alternative in 0..rows.any_of.len() {
            let mut cursor = Cursor::default();
            let work = Work { rows, action, alternative, keys, root: None };
            for round in 0.. {
                assert!(round < 1_000, "{:?}: a walk without end", self.dialect());
                let batch = self.batch(&work, &mut cursor, limit).await;
                affected += batch.affected;
                if batch.done {
                    break;
                }
            }
        }
        affected
    }

    /// The first column of a query, sorted by the database.
    pub async fn list(&self, sql: &str) -> Vec<String> {
        let rows = self.target.rows(sql);
        rows.into_iter().map(|mut row| row.remove(0).unwrap_or_else(|| "NULL".to_owned())).collect()
    }
}

pub fn matching(link: Link) -> Alternative {
    Alternative::Match { links: vec![link], constants: Vec::new() }
}

pub fn text(value: &str) -> Option<Key> {
    Some(Key::Text(value.to_owned()))
}

pub fn keys(root: Tuple) -> Keys {
    Keys { root: Arc::new(root), ..Keys::default() }
}

pub fn with_set(chunk: Vec<Tuple>) -> Keys {
    let chunk = Arc::new(chunk);
    Keys {
        chunk: BTreeMap::from([(0, Arc::clone(&chunk))]),
        whole: BTreeMap::from([(0, chunk)]),
        ..Keys::default()
    }
}
