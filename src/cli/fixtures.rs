//! `rightful fixtures`: rows for development and tests, from files.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{Failure, load, one_line, print, run_async, wiring};
use crate::{
    config,
    connectors::ConnectorError,
    service::{
        Service,
        code::CodeSteps,
        fixtures::{self, Outcome, Report},
    },
};

/// Puts tables and rows from files into the connections.
#[derive(Debug, Args)]
pub(super) struct Fixtures {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Loads every file that changed since it was loaded last: DIR/CONNECTION/*.sql, *.yaml, *.json, in the order of
    /// their names, and behind them those of DIR.ENVIRONMENT/CONNECTION.
    #[command(after_help = "Example:\n  rightful fixtures load fixtures --environment development")]
    Load {
        /// Otherwise the configured folder.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Whose overlay is loaded too; otherwise RIGHTFUL_ENV, or the configured one.
        #[arg(long, value_name = "NAME")]
        environment: Option<String>,
        /// Also what was loaded before: for a database that was made anew.
        #[arg(long)]
        again: bool,
    },
}

impl Fixtures {
    pub fn run(&self, path: &Path) -> super::Outcome {
        let Action::Load { folder, environment, again } = &self.action;
        let config = load(path)?;
        let folder = folder.as_ref().or(config.fixtures.folder.as_ref());
        let folder = folder.ok_or_else(|| {
            Failure::new("no folder: name it (rightful fixtures load DIR), or configure fixtures.folder")
        })?;
        let environment =
            match environment {
                Some(name) => Some(config::environment(name).map_err(|(problem, remedy)| {
                    Failure::new(format!("--environment: {problem} — {remedy}"))
                })?),
                None => config.fixtures.environment.clone(),
            };
        run_async(async {
            let service = wiring::service(&config, CodeSteps::default()).await.map_err(Failure::new)?;
            service.store.migrate().await.map_err(Failure::new)?;
            let environment = environment.as_deref();
            let report = match again {
                true => fixtures::load_again(&service, folder, environment).await,
                false => fixtures::load(&service, folder, environment).await,
            };
            show(&report.map_err(Failure::new)?)
        })
    }
}

fn show(report: &Report) -> super::Outcome {
    for file in &report.files {
        let became = match file.outcome {
            Outcome::Known => "unchanged".to_owned(),
            Outcome::Script => "run".to_owned(),
            Outcome::Rows { all, changed } => format!("{all} rows, {changed} of them put or changed"),
        };
        print(&format!("{}: {became}\n", file.file))?;
    }
    for fault in &report.faults {
        print(&format!("{fault}\n"))?;
    }
    match report.faults.as_slice() {
        [] if report.down.is_empty() => Ok(()),
        [] => Err(Failure::from_down(&report.down)),
        faults => Err(failure(faults)),
    }
}

/// The first of several faults.
fn failure(faults: &[crate::domain::document::Fault]) -> Failure {
    let first = faults.first().map(one_line).unwrap_or_default();
    match faults.len() {
        0 | 1 => Failure::new(first),
        more => Failure::new(format!("{first} (and {} more: `rightful fixtures load` shows all)", more - 1)),
    }
}

/// Loads what the configuration names; connections that were down are told, and no failure.
pub(super) async fn at_start(
    service: &Service,
    configured: &config::Fixtures,
) -> Result<BTreeMap<String, ConnectorError>, Failure> {
    let Some(folder) = &configured.folder else { return Ok(BTreeMap::new()) };
    let loaded = fixtures::load(service, folder, configured.environment.as_deref()).await;
    let Report { faults, down, .. } = loaded.map_err(Failure::new)?;
    if faults.is_empty() { Ok(down) } else { Err(failure(&faults)) }
}
