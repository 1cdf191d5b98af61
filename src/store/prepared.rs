//! Statements that are prepared once for each session although diesel cannot know that their text never changes.

use diesel::{
    backend::Backend,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
};

/// A statement whose text depends on its type and little else. diesel takes every UPDATE for one of many texts, and
/// raw SQL too, and has the server parse and plan them anew each time; kept by their text they cost that once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared<Q>(pub(super) Q);

impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    /// The text itself is the key.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, Db> QueryFragment<Db> for Prepared<Q>
where
    Db: Backend,
    Q: QueryFragment<Db>,
{
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Db>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &Db) -> QueryResult<bool> {
        Ok(true)
    }
}
