//! Any number of audit events in one PostgreSQL statement that is prepared once: an array per column. A statement for
//! each event, even sent together, costs the server an answer each; many rows in VALUES are a new text for each
//! number of rows.

use diesel::{
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{Array, BigInt, Nullable, Text},
};

use super::rows::EventRow;

const INSERT: &str = "INSERT INTO audit_events (seq, id, stream, at, event, request_id, subject_ref, actor, step, \
     action, rows, details, prev_hash, hash) SELECT * FROM unnest(";

pub(super) struct EventColumns<'a> {
    seq: Vec<i64>,
    texts: [Vec<Option<&'a str>>; EventRow::TEXTS],
}

impl<'a> EventColumns<'a> {
    pub(super) fn of(rows: &'a [EventRow]) -> Self {
        let mut columns = Self { seq: Vec::with_capacity(rows.len()), texts: Default::default() };
        for row in rows {
            columns.seq.push(row.seq());
            for (column, text) in columns.texts.iter_mut().zip(row.texts()) {
                column.push(text);
            }
        }
        columns
    }
}

impl QueryId for EventColumns<'_> {
    type QueryId = EventColumns<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for EventColumns<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(INSERT);
        out.push_bind_param::<Array<BigInt>, _>(&self.seq)?;
        for column in &self.texts {
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(column)?;
        }
        out.push_sql(")");
        Ok(())
    }
}
