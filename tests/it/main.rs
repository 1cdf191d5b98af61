//! One binary for all integration tests: the service over real HTTP, on every store and every database.

mod architecture;
mod backups;
mod batches;
mod canaries;
mod catalog;
mod certificates;
mod cli;
mod crash;
mod engine;
mod examples;
mod export;
mod fixtures;
mod fuzz;
mod http;
mod mutants;
mod outages;
mod properties;
mod replay;
mod retention;
mod services;
mod store;
mod support;
mod sweeps;
mod verification;
