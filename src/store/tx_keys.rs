//! The key manifest: sealed parts that must outlive the rows they were read from.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, each, read, shared},
    prepared::Prepared,
    schema::request_keys,
};

impl Tx {
    /// Writes sealed parts; one of the same name is replaced (the batch in flight has one place).
    ///
    /// # Errors
    /// As every statement.
    pub async fn put_keys(&mut self, id: Uuid, parts: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        put_keys(self.conn().await?, &id.to_string(), parts).await
    }

    /// Destroys the parts whose names start with `prefix`; `""` is all of them.
    ///
    /// # Errors
    /// As every statement.
    pub async fn delete_keys(&mut self, id: Uuid, prefix: &str) -> Result<(), StoreError> {
        delete_keys(self.conn().await?, &id.to_string(), prefix).await
    }
}

pub(super) async fn put_keys(conn: &Conn, id: &str, parts: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
    each!(conn, parts, |named| {
        let row = (
            request_keys::request_id.eq(id),
            request_keys::part.eq(&named.0),
            request_keys::sealed.eq(&named.1),
        );
        let upsert = diesel::insert_into(request_keys::table)
            .values(row)
            .on_conflict((request_keys::request_id, request_keys::part))
            .do_update()
            .set(request_keys::sealed.eq(diesel::upsert::excluded(request_keys::sealed)));
        Prepared(upsert)
    });
    Ok(())
}

pub(super) async fn delete_keys(conn: &Conn, id: &str, prefix: &str) -> Result<(), StoreError> {
    let parts = request_keys::table.filter(
        request_keys::request_id
            .eq(id)
            .and(request_keys::part.ge(prefix))
            .and(request_keys::part.lt(after(prefix))),
    );
    shared!(conn, |c| diesel::delete(parts).execute(c).await)?;
    Ok(())
}

impl Store {
    /// One sealed part.
    ///
    /// # Errors
    /// As every statement.
    pub async fn keys(&self, id: Uuid, part: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = request_keys::table.find((id.to_string(), part)).select(request_keys::sealed);
        Ok(read!(self, |c| query.get_result(c).await.optional()))
    }

    /// The names of a request's parts that start with `prefix`, in byte order.
    ///
    /// # Errors
    /// As every statement.
    pub async fn key_parts(&self, id: Uuid, prefix: &str) -> Result<Vec<String>, StoreError> {
        let query = request_keys::table
            .filter(
                request_keys::request_id
                    .eq(id.to_string())
                    .and(request_keys::part.ge(prefix))
                    .and(request_keys::part.lt(after(prefix))),
            )
            .order(request_keys::part)
            .select(request_keys::part);
        Ok(read!(self, |c| query.load(c).await))
    }
}

/// The upper bound of all texts that start with `prefix`: both databases compare these columns by bytes.
fn after(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}
