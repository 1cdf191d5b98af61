//! `rightful replay`: erases again, in this process and to the end, whom a restored backup has brought back.

use std::{fmt::Write, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use clap::Args;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Failure, Outcome, load, print, run_async, wiring};
use crate::{
    config,
    domain::{
        replay::Progress,
        request::Status,
        run::{Params, Run},
    },
    service::{
        Service,
        code::CodeSteps,
        error::ServiceError,
        replays::{self, Preview},
        runs::{self, Asked},
    },
    worker,
};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// After a restore: erases everybody again whom the ledger knows to have been erased.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rightful replay --since 2026-11-02T03:00:00Z --preview\n  rightful replay --since 2026-11-02T03:00:00Z"
)]
pub(super) struct Replay {
    /// Erasures that were completed from then on: when the restored backup was begun (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = time, required_unless_present = "all", conflicts_with = "all")]
    since: Option<DateTime<Utc>>,
    /// All that the ledger holds.
    #[arg(long)]
    all: bool,
    /// Counts what would be done; changes nothing.
    #[arg(long)]
    preview: bool,
    /// With --preview: prints what `POST /v1/replays/preview` answers.
    #[arg(long, requires = "preview")]
    json: bool,
}

fn time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let time = DateTime::parse_from_rfc3339(text).ok();
    // As both stores keep them.
    let time = time.and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros()));
    time.ok_or("an RFC 3339 time, such as 2026-11-02T09:00:00Z")
}

impl Replay {
    pub fn run(&self, path: &Path, code: CodeSteps) -> Outcome {
        let config = load(path)?;
        run_async(async {
            let service = Arc::new(wiring::service(&config, code).await.map_err(Failure::new)?);
            service.store.migrate().await.map_err(Failure::new)?;
            let loaded = service.plans.load(&service, &config.plans).await.map_err(Failure::new)?;
            if loaded.is_refused() {
                return Err(Failure::from_faults(&loaded.faults));
            }
            match self.preview {
                true => self.look(&service).await,
                false => self.carry_out(&service).await,
            }
        })
    }

    async fn look(&self, service: &Service) -> Outcome {
        let found = replays::preview(service, self.since).await.map_err(Failure::new)?;
        if self.json {
            let text = serde_json::to_string_pretty(&found).map_err(Failure::new)?;
            return print(&format!("{text}\n"));
        }
        print(&as_table(&found))
    }

    /// The run that is not over: it is gone on with where it is over the same erasures, since whoever began it may be gone.
    async fn open_one(&self, service: &Service, id: Uuid) -> Result<Run, Failure> {
        let run = runs::read(service, id).await.map_err(Failure::new)?;
        if run.params != (Params::Replay { since: self.since }) {
            return Err(Failure::new(format!(
                "run {id} over other erasures is not over: let it end, or cancel it (POST /v1/runs/{id}/cancel) where the \
                 restore is younger than it"
            )));
        }
        print(&format!("run {id} over the same erasures is not over: going on with it\n"))?;
        Ok(run)
    }

    async fn carry_out(&self, service: &Arc<Service>) -> Outcome {
        let user = config::host_name();
        let asked = Asked { by: format!("cli:{user}"), idempotency_key: None };
        let run = match replays::begin(service, self.since, asked).await {
            Ok((run, _)) => run,
            Err(ServiceError::DuplicateRun(open)) => self.open_one(service, open).await?,
            Err(error) => return Err(Failure::new(error)),
        };
        if run.status() == Status::Pending {
            return Err(Failure::new(format!(
                "run {} waits for an approver: POST /v1/runs/{}/approve",
                run.id, run.id
            )));
        }
        let name = format!("cli:{user}-{}", std::process::id());
        let (stop, stopped) = watch::channel(false);
        // Requests need a worker too, and after a restore none may serve yet.
        let requests = tokio::spawn({
            let (service, name, stopped) = (service.clone(), name.clone(), stopped.clone());
            async move { worker::run(service, &name, stopped).await }
        });
        let run = to_the_end(service, run, &name, stopped).await;
        stop.send_replace(true);
        requests.await.map_err(Failure::new)?.map_err(Failure::new)?;
        let run = run?;
        print(&told(&run))?;
        match (run.status(), run.state.error()) {
            (Status::Completed, _) => Ok(()),
            (_, Some(error)) => Err(Failure::new(format!("{}: {}", error.code.as_str(), error.detail))),
            (status, None) if status.is_end() => Err(Failure::new(format!("the run is {}", status.as_str()))),
            _ => Err(Failure::new(format!(
                "run {} waits for requests that people have to move, see /v1/replays/{}: `rightful serve` goes on with it",
                run.id, run.id
            ))),
        }
    }
}

/// Goes on with the run until it has ended, something outside is in its way, or only people can move it.
async fn to_the_end(
    service: &Arc<Service>,
    run: Run,
    worker: &str,
    stop: watch::Receiver<bool>,
) -> Result<Run, Failure> {
    loop {
        let run = runs::worker::run_one(service, run.id, worker, stop.clone()).await.map_err(Failure::new)?;
        let is_for_people = Progress::read(&run.report).is_some_and(Progress::is_left_to_people);
        if run.status().is_end() || run.status() == Status::Paused || is_for_people {
            return Ok(run);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn as_table(found: &Preview) -> String {
    let mut text = String::new();
    let width = found.plans.iter().map(|plan| plan.plan.chars().count()).max().unwrap_or_default().max(5);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:<width$} {:>10}  {:<20}  {:<20}", "plan", "erasures", "oldest", "newest");
    let shown = |at: Option<DateTime<Utc>>| {
        at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    for plan in &found.plans {
        let note = if plan.registered { "" } else { "  not registered" };
        let (oldest, newest) = (shown(plan.oldest), shown(plan.newest));
        let _ =
            writeln!(text, "{:<width$} {:>10}  {oldest:<20}  {newest:<20}{note}", plan.plan, plan.entries);
    }
    let looked_for = found.found + found.absent + found.unclear + found.unusable;
    let _ = writeln!(
        text,
        "of {looked_for} persons that were looked for {} are there again, {} are not, {} are unclear, {} cannot be asked for",
        found.found, found.absent, found.unclear, found.unusable
    );
    text
}

fn told(run: &Run) -> String {
    let outcome = run.state.outcome().map_or_else(String::new, |outcome| format!(" ({})", outcome.as_str()));
    let progress = Progress::read(&run.report).unwrap_or_default();
    let mut text = format!(
        "run {}: {}{outcome}\n  {} erasures: {} done again, {} with nobody there, {} failed, {} expired, {} open\n",
        run.id,
        run.status().as_str(),
        progress.entries,
        progress.completed,
        progress.no_match,
        progress.failed,
        progress.expired,
        progress.waiting + progress.pending() + progress.under_way
    );
    if progress.partial > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "warning: {} erasures ended half-way, which a replay does not do again: submit them again \
             (GET /v1/requests?kind=erasure&outcome=partial)",
            progress.partial
        );
    }
    text
}
