//! A statement whose text and values are only known at run time. Identifiers and casts in the text come from
//! the catalog; every value is bound.

/// Stands for a bound value in a statement's text, until the database's placeholder is written in its place. No
/// trusted SQL may hold it (checked where such text enters).
pub const MARK: char = '\u{1}';

/// Rows as every query returns them: each cell is the text that the statement's own casts produce.
pub type TextRow = Vec<Option<String>>;

/// One bound value. Values are personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Bind {
    Text(Option<String>),
    Int(i64),
    Bytes(Option<Vec<u8>>),
    /// PostgreSQL only (`text[]`).
    TextArray(Vec<Option<String>>),
}

/// Text with a [`MARK`] for each of the values, in their order.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Statement {
    pub sql: String,
    pub binds: Vec<Bind>,
    /// Its text comes just once: it is not kept prepared, and planned for its own values.
    pub once: bool,
}

impl Statement {
    #[must_use]
    pub fn new(sql: impl Into<String>, binds: Vec<Bind>) -> Self {
        Self { sql: sql.into(), binds, once: false }
    }

    /// Without values.
    #[must_use]
    pub fn plain(sql: impl Into<String>) -> Self {
        Self::new(sql, Vec::new())
    }

    #[must_use]
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }
}
