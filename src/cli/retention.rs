//! `rightful retention`: looks at what a policy would do, or does it.

use std::{fmt::Write, path::Path, sync::Arc};

use clap::{Args, Subcommand};
use tokio::sync::watch;

use super::{Failure, Outcome, load, print, run_async, wiring};
use crate::{
    config,
    domain::{
        request::Status,
        run::{Run, Task},
    },
    service::{
        Service,
        code::CodeSteps,
        retention::{Preview, preview},
        runs::{self, Asked},
    },
};

/// Retention policies: rows that are kept no longer than they are needed.
#[derive(Debug, Args)]
pub(super) struct Retention {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts what policies would do; changes nothing.
    #[command(after_help = "Example:\n  rightful retention preview old_visits")]
    Preview {
        /// The policy; all of them without.
        policy: Option<String>,
        /// Prints what `POST /v1/retention/{name}/preview` answers, as a list.
        #[arg(long)]
        json: bool,
    },
    /// Runs a policy in this process, to its end. One that waits for an approver is left to the service.
    #[command(after_help = "Example:\n  rightful retention run old_visits")]
    Run { policy: String },
}

impl Retention {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        run_async(async {
            let service =
                Arc::new(wiring::service(&config, CodeSteps::default()).await.map_err(Failure::new)?);
            service.store.migrate().await.map_err(Failure::new)?;
            // Legal holds are told by the plans.
            let loaded = service.plans.load(&service, &config.plans).await.map_err(Failure::new)?;
            if loaded.is_refused() {
                return Err(Failure::from_faults(&loaded.faults));
            }
            match &self.command {
                Command::Preview { policy, json } => look(&service, policy.as_deref(), *json).await,
                Command::Run { policy } => carry_out(&service, policy).await,
            }
        })
    }
}

fn known(service: &Service, name: &str) -> Result<(), Failure> {
    let names: Vec<&str> = service.upkeep.policies.keys().map(String::as_str).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let remedy = crate::domain::document::suggest(name, names);
    Err(Failure::new(format!("there is no retention policy `{name}`: {remedy}")))
}

async fn look(service: &Service, policy: Option<&str>, json: bool) -> Outcome {
    if let Some(name) = policy {
        known(service, name)?;
    }
    let names = service.upkeep.policies.keys().filter(|name| policy.is_none_or(|wanted| wanted == *name));
    let mut found = Vec::new();
    for name in names {
        found.push(preview(service, name).await.map_err(|error| Failure::new(format!("{name}: {error}")))?);
    }
    if json {
        let text = serde_json::to_string_pretty(&found).map_err(Failure::new)?;
        return print(&format!("{text}\n"));
    }
    print(&found.iter().map(as_table).collect::<String>())
}

fn as_table(found: &Preview) -> String {
    let mut text = format!(
        "{}: {} what is older than {} ({})\n",
        found.policy,
        found.action,
        found.before.format("%Y-%m-%d %H:%M:%S UTC"),
        found.policy_version
    );
    let width = found.tables.iter().map(|table| table.table.chars().count()).max().unwrap_or_default().max(5);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {:<width$} {:>12} {:>12}", "table", "rows", "on hold");
    for table in &found.tables {
        let _ = writeln!(
            text,
            "  {:<width$} {:>12} {:>12}",
            table.table, table.rows.matched, table.rows.withheld
        );
    }
    if found.unreadable > 0 {
        let _ = writeln!(text, "  note: {} rows hold no time that can be read; they stay", found.unreadable);
    }
    text
}

async fn carry_out(service: &Arc<Service>, policy: &str) -> Outcome {
    known(service, policy)?;
    let user = config::host_name();
    let asked = Asked { by: format!("cli:{user}"), idempotency_key: None };
    let (run, _) =
        runs::begin(service, Task::Retention(policy.to_owned()), asked).await.map_err(Failure::new)?;
    if run.status() == Status::Pending {
        return print(&format!("run {} waits for an approver: POST /v1/runs/{}/approve\n", run.id, run.id));
    }
    let (_stop, stopped) = watch::channel(false);
    let worker = format!("cli:{user}-{}", std::process::id());
    let run = runs::worker::run_one(service, run.id, &worker, stopped).await.map_err(Failure::new)?;
    print(&told(&run))?;
    match (run.status(), run.state.error()) {
        (Status::Completed, _) => Ok(()),
        (_, Some(error)) => Err(Failure::new(format!("{}: {}", error.code.as_str(), error.detail))),
        (status, None) => Err(Failure::new(format!("the run is {}", status.as_str()))),
    }
}

fn told(run: &Run) -> String {
    let outcome = run.state.outcome().map_or_else(String::new, |outcome| format!(" ({})", outcome.as_str()));
    let mut text = format!("run {}: {}{outcome}\n", run.id, run.status().as_str());
    for step in &run.steps {
        let _ = writeln!(
            text,
            "  {} {}: {} rows, {} on hold",
            step.name, step.action, step.rows_affected, step.rows_withheld
        );
    }
    text
}
