//! `rightful backup`: verifies the configured backups, and lists what is known of them.

use std::path::Path;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, load, print, run_async, wiring};
use crate::{
    domain::backup::Report,
    http::backups::BackupBody,
    service::{Service, backups, code::CodeSteps, error::ServiceError},
};

/// Verifies backups, or lists what is known of them.
#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Verifies one backup, or all of them; 1 when any of them is not ok.
    #[command(after_help = "Example:\n  rightful backup verify shop")]
    Verify {
        /// Its name in the configuration.
        name: Option<String>,
        /// Prints a list of what `GET /v1/backups` answers for each.
        #[arg(long)]
        json: bool,
    },
    /// Lists the last verification of every backup; verifies nothing.
    #[command(after_help = "Example:\n  rightful backup list")]
    List {
        /// Prints a list of what `GET /v1/backups` answers for each.
        #[arg(long)]
        json: bool,
    },
}

impl Backup {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        run_async(async {
            let service = wiring::service(&config, CodeSteps::default()).await.map_err(Failure::new)?;
            match &self.action {
                Action::List { json } => {
                    let reports = backups::list(&service).await.map_err(Failure::new)?;
                    show(reports, *json)
                }
                Action::Verify { name, json } => verify(&service, name.as_deref(), *json).await,
            }
        })
    }
}

async fn verify(service: &Service, name: Option<&str>, json: bool) -> Outcome {
    let names: Vec<&str> = match name {
        Some(name) => vec![name],
        None => service.backups.by_name.keys().map(String::as_str).collect(),
    };
    if names.is_empty() {
        return Err(Failure::new("the configuration has no backups: add a section `backups`"));
    }
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match backups::verify_as(service, name, "cli").await {
            Ok(report) => {
                if !report.ok {
                    failures.push(format!("backup `{name}` is not ok"));
                }
                reports.push(report);
            }
            Err(ServiceError::NotFound) => {
                failures.push(format!("the configuration has no backup `{name}`"));
            }
            // The others are verified all the same.
            Err(error) => failures.push(format!("backup `{name}`: {error}")),
        }
    }
    show(reports, json)?;
    match failures.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::new(only)),
        [first, more @ ..] => Err(Failure::new(format!("{first} (and {} more)", more.len()))),
    }
}

fn show(reports: Vec<Report>, json: bool) -> Outcome {
    if json {
        let bodies: Vec<BackupBody> = reports.into_iter().map(BackupBody::from).collect();
        let text = serde_json::to_string_pretty(&bodies).map_err(Failure::new)?;
        return print(&format!("{text}\n"));
    }
    for report in reports {
        print(&format!("{}\n", line(&report)))?;
    }
    Ok(())
}

/// `shop: ok, 3 h old, 1048576 bytes, users 12, orders 40`.
fn line(report: &Report) -> String {
    let verdict = if report.ok { "ok" } else { "NOT OK" };
    let mut parts = vec![format!("{}: {verdict}", report.name)];
    parts.extend(report.age.map(|age| match age {
        minutes if minutes < 3_600 => format!("{} min old", minutes / 60),
        hours => format!("{} h old", hours / 3_600),
    }));
    parts.extend(report.size.map(|size| format!("{size} bytes")));
    parts.extend(report.tables.iter().map(|(table, rows)| format!("{table} {rows}")));
    let facts = parts.join(", ");
    match &report.message {
        Some(message) => format!("{facts}: {message}"),
        None => facts,
    }
}
