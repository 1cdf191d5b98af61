//! What a statement is written for: the dialect, the connection's facts, the keys, and how the selection is used.

use super::{
    dialect::{Dialect, internal},
    facts::Facts,
    fragment::Fragment,
    statement::MARK,
};
use crate::{
    connectors::{ConnectorError, Keys},
    domain::key::{Key, Tuple},
};

#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) dialect: Dialect,
    pub(super) facts: &'a Facts,
    pub(super) keys: &'a Keys,
    /// The rows are named by their addresses already and only looked at again: subqueries are run per row
    /// instead of once as a whole.
    pub(super) check: bool,
    /// Only prepared, never run: missing keys are NULLs of their type, so that every text is seen.
    pub(super) preparing: bool,
    reach: Reach,
}

/// How much of a key set a selection must know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The chunk in hand.
    Chunk,
    /// What an earlier alternative takes: all keys where they are at hand.
    Earlier,
    /// What is excluded or restricts: a chunk would leave rows out.
    Whole,
}

impl<'a> Context<'a> {
    pub(super) fn new(dialect: Dialect, facts: &'a Facts, keys: &'a Keys) -> Self {
        Self { dialect, facts, keys, check: false, preparing: false, reach: Reach::Chunk }
    }

    pub(super) fn checking(self) -> Self {
        Self { check: true, ..self }
    }

    pub(super) fn searching(self) -> Self {
        Self { check: false, ..self }
    }

    pub(super) fn preparing(self) -> Self {
        Self { preparing: true, ..self }
    }

    pub(super) fn whole(self) -> Self {
        Self { reach: Reach::Whole, ..self }
    }

    pub(super) fn earlier(self) -> Self {
        Self { reach: if self.reach == Reach::Whole { Reach::Whole } else { Reach::Earlier }, ..self }
    }

    /// The keys of a set, as far as they are needed.
    ///
    /// # Errors
    /// When the caller left them out: an exclusion without its keys would select other rows.
    pub(super) fn set(&self, index: usize) -> Result<&'a [Tuple], ConnectorError> {
        let (chunk, whole) = (self.keys.chunk.get(&index), self.keys.whole.get(&index));
        let found = match self.reach {
            Reach::Chunk => chunk,
            Reach::Earlier => whole.or(chunk),
            Reach::Whole => whole,
        };
        match found {
            Some(tuples) => Ok(tuples),
            None if self.preparing => Ok(&[]),
            None => Err(internal("keys of a set are missing")),
        }
    }

    pub(super) fn root_value(&self, position: usize) -> Option<&'a Key> {
        self.keys.root.get(position).and_then(Option::as_ref).filter(|key| !key.is_empty())
    }

    /// Trusted SQL of a plan; the newline ends a comment that it may close with.
    ///
    /// # Errors
    /// When it holds the character that stands for bound values here.
    pub(super) fn trusted(&self, sql: &str) -> Result<Fragment, ConnectorError> {
        if sql.contains(MARK) {
            return Err(internal("trusted SQL holds a control character"));
        }
        Ok(Fragment::text(&format!("({sql}\n)")))
    }
}
