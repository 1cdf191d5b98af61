//! The conformance suite of the store: every database runs every test.

mod audit;
mod concurrency;
mod consents;
mod log;
mod migrations;
mod plans;
mod queue;
mod readings;
mod requests;
pub mod support;
