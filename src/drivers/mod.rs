//! What the store and the connectors both need of the database drivers: TLS as a URL asks for it, and SQLite on
//! threads of its own.

pub mod postgres;
pub mod sqlite;
pub mod tls;
