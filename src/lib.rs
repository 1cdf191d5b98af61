//! Rightful carries out data-subject requests: erasure (GDPR Art. 17) across every database that a
//! registered plan names, as a tracked job, in ordered batches, proven by fresh counts and recorded in an
//! append-only audit log.
//!
//! The map of the crate; every arrow points down and `tests/it/architecture.rs` keeps it so:
//!
//! ```text
//! main, cli            the command line
//! http     worker      REST API            apalis backend: the request row is the job
//!     service          use cases: intake, execute, registry of plans, readings for the auditor
//! store    connectors  the service's own tables      the systems that hold personal data
//!      domain          what the service knows: requests, plans, ordering, audit; no HTTP, no SQL
//! ```
//!
//! `config` is read by the outer layers only; `drivers` (TLS, SQLite's threads) serves store and connectors.

pub mod cli;
pub mod config;
pub mod connectors;
pub mod domain;
pub mod drivers;
pub mod http;
pub mod service;
pub mod store;
pub mod worker;
