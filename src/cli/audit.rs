//! `rightful audit`: verification and export of the log, from the live store or from a copy of its file.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt;
use uuid::Uuid;

mod record;
mod verify;

use super::{Failure, Outcome, load, run_async};
use crate::{
    service::{
        audit,
        audit_export::{self, Format},
        audit_readings::Reading,
    },
    store::{EventFilter, Store},
};
use record::Record;

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
    /// Walks the whole log: every stream's chain, the tree over all events, and what checkpoints say of it.
    #[command(
        after_help = "Example:\n  rightful audit verify --store sqlite:copy-of-rightful.db --checkpoint checkpoint \
                      --key evidence.pub\n  rightful audit verify --export audit.ndjson --checkpoint checkpoint \
                      --key evidence.pub\n\nWithout a checkpoint that was kept elsewhere, whoever owns the database can \
                      have rewritten it as a whole."
    )]
    Verify(verify::Verify),
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
        let (format, out, request) = match &self.action {
            Action::Verify(verify) => return verify.run(path, self.store.as_deref()),
            Action::Export { format, out, request } => (*format, out.as_deref(), *request),
        };
        run_async(async {
            let (store, record) = match &self.store {
                // A copy is read without the configuration that it comes from.
                Some(url) => Record::copy(url).await?,
                None => Record::configured(load(path)?.store.expose()).await?,
            };
            let filter = EventFilter { request_id: request, ..EventFilter::default() };
            export(&store, &record, format, out, filter).await
        })
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
