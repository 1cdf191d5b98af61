//! Selections, counts and batches of the SQL connectors: one suite on every database.

mod bench;
mod keys;
mod lists;
mod masks;
mod recursive;
mod walks;
