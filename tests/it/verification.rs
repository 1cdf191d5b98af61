//! Verification of the log against whoever owns its database: everything that is changed of what a checkpoint speaks of is
//! found, by whoever has that checkpoint and the key; what nobody changed is never reported.
//!
//! `RIGHTFUL_MUTATIONS=10000 cargo test --release --test it -- verification` is the long run, on SQLite.

pub mod builder;
mod found;
mod hidden;
mod log;
mod mutations;
mod untouched;
