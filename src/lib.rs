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
//! `config` is read by the outer layers only; `drivers` (TLS, SQLite's threads) serves store and connectors; `points`
//! names the places where crash tests end the process.
//!
//! # Embedding
//!
//! What no table holds, a program erases itself: it implements [`ErasureStep`] and plans name the step
//! (`code: [{ name: uploads }]`). There are three ways, from the whole to the least:
//!
//! - [`cli::run_with`] is the whole command line with the program's steps: `serve` carries them out, `check` knows them.
//! - [`Embedded`] starts store, API and worker on the program's own tokio runtime: `examples/embed.rs`.
//! - [`run_erasure`] runs steps in order, without plan, store and worker: `examples/steps.rs`.
//!
//! ```no_run
//! use rightful::{Embedded, ErasureStep, StepContext, StepError, async_trait};
//!
//! struct Uploads;
//!
//! #[async_trait]
//! impl ErasureStep for Uploads {
//!     fn name(&self) -> &'static str {
//!         "uploads"
//!     }
//!
//!     async fn run(&self, context: &StepContext) -> Result<u64, StepError> {
//!         let Some(user) = context.identities.get("user_id") else { return Ok(0) };
//!         remove_files_of(user).map_err(|_| StepError::wait("the file server is down"))
//!     }
//! }
//! # fn remove_files_of(_: &str) -> std::io::Result<u64> { Ok(0) }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let started = Embedded::configured("rightful.yaml".as_ref())?.with_step(Uploads).start().await?;
//! println!("the API listens on http://{}", started.address());
//! started.stop().await?;
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod config;
pub mod connectors;
pub mod domain;
pub mod drivers;
pub mod http;
pub mod points;
pub mod service;
pub mod store;
pub mod worker;

/// The attribute of [`ErasureStep`]'s implementations.
pub use async_trait::async_trait;
pub use cli::{Embedded, Started};
pub use service::code::{
    CodeSteps, ErasurePlan, ErasureStep, Halted, Identities, StepContext, StepError, run_erasure,
};
