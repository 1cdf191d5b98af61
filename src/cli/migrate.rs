//! `rightful migrate`: for installations where the role that serves may not create tables.

use std::path::Path;

use clap::Args;

use super::{Failure, Outcome, load, print, run_async};
use crate::{domain::clock::Clock, store::Store};

/// Brings the store's schema up to date.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rightful migrate --config /etc/rightful/rightful.yaml")]
pub(super) struct Migrate;

impl Migrate {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        run_async(async {
            let store = Store::open(config.store.expose(), Clock).await.map_err(Failure::new)?;
            store.migrate().await.map_err(Failure::new)
        })?;
        print("the store is up to date\n")
    }
}
