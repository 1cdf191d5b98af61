//! `rightful audit`: verification and export of the log, from the live store or from a copy of its file.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::{Failure, Outcome, load, print, run_async};
use crate::{
    config,
    domain::clock::Clock,
    service::{
        audit::{self, Verification},
        audit_export::{self, Format},
        audit_readings::{self, Reading},
    },
    store::{EventFilter, Store, StoreError},
};

/// Verifies or exports the audit log.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,

    /// A store other than the configured one, such as a copy of its file: sqlite:copy.db. It is only read.
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Walks every stream's chain and compares it with its owner's head.
    #[command(after_help = "Example:\n  rightful audit verify --store sqlite:copy-of-rightful.db")]
    Verify {
        /// Prints what `GET /v1/audit/verify` answers.
        #[arg(long)]
        json: bool,
    },
    /// Writes all events, oldest first.
    #[command(after_help = "Example:\n  rightful audit export --format csv --out audit.csv")]
    Export {
        #[arg(long, value_enum, default_value_t = FileFormat::Ndjson)]
        format: FileFormat,
        /// The file to write, which must not exist; otherwise standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Events of this request only.
        #[arg(long, value_name = "ID")]
        request: Option<Uuid>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    Ndjson,
    Csv,
}

impl Audit {
    pub fn run(&self, path: &Path) -> Outcome {
        run_async(async {
            let (store, record) = self.open(path).await?;
            match &self.action {
                Action::Verify { json } => verify(&store, &record, *json).await,
                Action::Export { format, out, request } => {
                    let filter = EventFilter { request_id: *request, ..EventFilter::default() };
                    export(&store, &record, *format, out.as_deref(), filter).await
                }
            }
        })
    }

    async fn open(&self, path: &Path) -> Result<(Store, Record), Failure> {
        // A copy is verified without the configuration that it comes from.
        if let Some(url) = &self.store {
            let copy = Store::open_read_only(url, Clock).await.map_err(Failure::new)?;
            return Ok((copy, Record::Nowhere));
        }
        let url = load(path)?.store;
        match Store::open_existing(url.expose(), Clock).await {
            Ok(store) => Ok((store.clone(), Record::In(store))),
            Err(why) => {
                let store = Store::open_read_only(url.expose(), Clock).await.map_err(Failure::new)?;
                Ok((store, Record::Impossible(why)))
            }
        }
    }
}

/// Where it is told that somebody has read the log.
enum Record {
    /// In the configured store, which is read.
    In(Store),
    /// That may only be read.
    Impossible(StoreError),
    /// A copy stays as it is.
    Nowhere,
}

impl Record {
    /// A log that cannot be written is read all the same: whoever has its file or such a role could do so without this
    /// program. That it is not on record is said.
    async fn put(&self, reading: Reading<'_>) {
        let reader = format!("cli:{}", config::host_name());
        let put = match self {
            Self::In(store) => audit_readings::record(store, &reader, reading).await,
            Self::Impossible(why) => Err(why.clone()),
            Self::Nowhere => Ok(()),
        };
        if let Err(error) = put {
            eprintln!("rightful: that the log was read could not be recorded in it: {error}");
        }
    }
}

async fn verify(store: &Store, record: &Record, as_json: bool) -> Outcome {
    let verification = audit::verify(store).await.map_err(Failure::new)?;
    record.put(Reading::Verified(&verification)).await;
    match verification {
        Verification::Intact(found) if as_json => print(&format!(
            "{}\n",
            json!({ "ok": true, "events": found.events, "head": found.head, "broken": null })
        )),
        Verification::Intact(found) => {
            print(&format!("intact: {} events, head {}\n", found.events, found.head))
        }
        Verification::Broken(broken) => {
            let broken = json!(broken);
            if as_json {
                print(&format!(
                    "{}\n",
                    json!({ "ok": false, "events": null, "head": null, "broken": broken })
                ))?;
            }
            Err(Failure::new(format!(
                "the log is broken in stream {} at event {}: {}",
                broken["stream"].as_str().unwrap_or_default(),
                broken["seq"],
                broken["reason"].as_str().unwrap_or_default()
            )))
        }
    }
}

async fn export(
    store: &Store,
    record: &Record,
    format: FileFormat,
    out: Option<&Path>,
    filter: EventFilter,
) -> Outcome {
    let format = match format {
        FileFormat::Ndjson => Format::Ndjson,
        FileFormat::Csv => Format::Csv,
    };
    let mut writer: Box<dyn Write + Send> = match out {
        Some(path) => {
            let file = File::create_new(path)
                .map_err(|error| Failure::new(format!("{}: {}", path.display(), error.kind())))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let cannot_write = |error: std::io::Error| Failure::new(format!("cannot write: {}", error.kind()));
    writer.write_all(&audit_export::head(format).map_err(Failure::new)?).map_err(cannot_write)?;
    record.put(Reading::Exported(format, &filter)).await;
    let mut chunks = audit::export(store, filter);
    while let Some(chunk) = chunks.next().await {
        let events = chunk.map_err(Failure::new)?;
        let encoded = audit_export::encode(format, &events).map_err(Failure::new)?;
        writer.write_all(&encoded).map_err(cannot_write)?;
    }
    writer.flush().map_err(cannot_write)
}
