//! Statements whose text and values are only known at run time, as diesel queries: prepared once per connection
//! and text, every value bound.

use diesel::{
    backend::Backend,
    deserialize::{FromSql, QueryableByName},
    mysql::Mysql,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    row::{Field, NamedRow, Row},
    sql_types::{Array, BigInt, Binary, Nullable, Text, Untyped},
    sqlite::Sqlite,
};

use super::statement::{Bind, MARK, Statement, TextRow};

/// A [`Statement`] as diesel sees it.
pub(super) struct Dynamic(pub(super) Statement);

impl QueryId for Dynamic {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Dynamic {
    type SqlType = Untyped;
}

/// Walks text and values in turn; `$bind` says which kinds of values the database takes.
macro_rules! walk {
    ($db:ty, $out:ident, $value:ident => $arrays:expr) => {
        impl QueryFragment<$db> for Dynamic {
            fn walk_ast<'b>(&'b self, mut $out: AstPass<'_, 'b, $db>) -> QueryResult<()> {
                if self.0.once {
                    $out.unsafe_to_cache_prepared();
                }
                let mut binds = self.0.binds.iter();
                for (position, text) in self.0.sql.split(MARK).enumerate() {
                    if position > 0 {
                        match binds.next() {
                            Some(Bind::Text(text)) => $out.push_bind_param::<Nullable<Text>, _>(text)?,
                            Some(Bind::Int(number)) => $out.push_bind_param::<BigInt, _>(number)?,
                            Some(Bind::Bytes(bytes)) => $out.push_bind_param::<Nullable<Binary>, _>(bytes)?,
                            Some($value) => $arrays,
                            None => return Err(missing("fewer values than placeholders")),
                        }
                    }
                    $out.push_sql(text);
                }
                Ok(())
            }
        }
    };
}

fn missing(what: &'static str) -> diesel::result::Error {
    diesel::result::Error::QueryBuilderError(what.into())
}

walk!(Pg, out, value => match value {
    Bind::TextArray(texts) => out.push_bind_param::<Array<Nullable<Text>>, _>(texts)?,
    _ => return Err(missing("an unknown kind of value")),
});
walk!(Mysql, out, value => {
    let _ = value;
    return Err(missing("arrays exist on PostgreSQL only"))
});
walk!(Sqlite, out, value => {
    let _ = value;
    return Err(missing("arrays exist on PostgreSQL only"))
});

impl<Conn> diesel::RunQueryDsl<Conn> for Dynamic {}

/// One row, every cell as text.
pub(super) struct Cells(pub(super) TextRow);

impl<DB> QueryableByName<DB> for Cells
where
    DB: Backend,
    Option<String>: FromSql<Nullable<Text>, DB>,
{
    fn build<'a>(row: &impl NamedRow<'a, DB>) -> diesel::deserialize::Result<Self> {
        (0..row.field_count())
            .map(|index| {
                let field = Row::get(row, index).ok_or("a row with fewer cells than it says")?;
                <Option<String> as FromSql<Nullable<Text>, DB>>::from_nullable_sql(field.value())
            })
            .collect::<Result<TextRow, _>>()
            .map(Self)
    }
}
