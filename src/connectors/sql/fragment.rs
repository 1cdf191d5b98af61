//! A piece of SQL together with the values it binds, so that pieces can be put together in any order and the
//! values keep theirs.

use super::statement::{Bind, MARK, Statement};

/// Values are personal data: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    sql: String,
    binds: Vec<Bind>,
}

impl Fragment {
    pub(super) fn text(sql: &str) -> Self {
        Self { sql: sql.to_owned(), binds: Vec::new() }
    }

    pub(super) fn bound(bind: Bind) -> Self {
        Self { sql: MARK.to_string(), binds: vec![bind] }
    }

    /// The one text that is bound, if that is all there is.
    pub(super) fn bound_text(&self) -> Option<String> {
        match self.binds.as_slice() {
            [Bind::Text(text)] => text.clone(),
            _ => None,
        }
    }

    /// Text and values, for a list of many fragments of the same text.
    pub(super) fn parts(&self) -> (&str, &[Bind]) {
        (&self.sql, &self.binds)
    }

    #[must_use]
    pub(super) fn then(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.push(other);
        self
    }

    pub(super) fn push(&mut self, other: Self) {
        self.sql.push_str(&other.sql);
        self.binds.extend(other.binds);
    }

    /// The fragment between two texts.
    #[must_use]
    pub(super) fn within(self, before: &str, after: &str) -> Self {
        Self { sql: format!("{before}{}{after}", self.sql), binds: self.binds }
    }

    #[must_use]
    pub(super) fn parenthesised(self) -> Self {
        self.within("(", ")")
    }

    pub(super) fn join(parts: impl IntoIterator<Item = Self>, separator: &str) -> Self {
        let mut joined = Self::default();
        for (position, part) in parts.into_iter().enumerate() {
            if position > 0 {
                joined.sql.push_str(separator);
            }
            joined.push(part);
        }
        joined
    }

    pub(super) fn finish(self) -> Statement {
        Statement::new(self.sql, self.binds)
    }
}
