//! Backups that somebody else makes: the newest is looked for, read to its end, and restored where that was asked for.
//! Whatever stands in the way is a flaw, never an error: what is not known is not ok.

use std::{path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::objects::Bucket;
use crate::domain::{
    backup::{Expected, Findings, Flaw, Identity, Reason, Tables, checksum_for},
    clock::Clock,
};

mod command;
mod copy;
mod postgres;
mod program;
mod source;
mod sqlite;

use copy::{Copied, Target};
use source::Found;

/// A backup and what is expected of it.
pub struct Backup {
    pub source: Source,
    pub expected: Expected,
    /// A file `NAME.sha256` lies beside it.
    pub has_checksum: bool,
    pub identity: Option<Identity>,
    pub restore: Option<Restore>,
    /// Of a whole verification.
    pub timeout: Duration,
}

/// Where the newest backup is looked for.
pub enum Source {
    /// A pattern of paths.
    Files(String),
    Objects {
        place: Place,
        /// With which its name begins.
        prefix: String,
    },
    /// Program and arguments; it says itself how the backup is.
    Command { argv: Vec<String>, folder: PathBuf },
}

pub enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// How restorability is proven, and the least rows by table.
pub struct Restore {
    pub into: RestoreInto,
    pub tables: Tables,
}

pub enum RestoreInto {
    Sqlite,
    /// Into a database that is made on this server and dropped again.
    Postgres {
        url: String,
    },
}

/// Until when all of a verification has to be done.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// # Errors
    /// [`Reason::Timeout`] when the work did not end in time; it is dropped then.
    async fn with<T>(self, doing: &str, work: impl Future<Output = T>) -> Result<T, Flaw> {
        tokio::time::timeout_at(self.0, work)
            .await
            .map_err(|_| Flaw::new(Reason::Timeout, format!("{doing} took longer than `timeout`")))
    }
}

impl Backup {
    /// Looks at the newest backup, within [`timeout`](Self::timeout).
    pub async fn examine(&self, clock: Clock) -> Findings {
        let deadline = Deadline(Instant::now() + self.timeout);
        let now = clock.now();
        let mut findings = Findings::default();
        let examined = match &self.source {
            Source::Command { argv, folder } => {
                command::ask(argv, folder, deadline).await.map(|said| findings = said)
            }
            stored => self.examine_stored(stored, deadline, clock, &mut findings).await,
        };
        if let Err(flaw) = examined {
            findings.flaws.push(flaw);
        }
        findings.judge(&self.expected, now);
        findings
    }

    async fn examine_stored(
        &self,
        source: &Source,
        deadline: Deadline,
        clock: Clock,
        findings: &mut Findings,
    ) -> Result<(), Flaw> {
        let looking = source::newest(source, self.has_checksum, deadline);
        let found = deadline.with("looking for the newest backup", looking).await??;
        findings.last_success = Some(found.modified);
        findings.size = i64::try_from(found.size).ok();
        if found.size == 0 {
            return Err(Flaw::new(Reason::TooSmall, "it is empty"));
        }
        let Found { name, sidecar, size, bytes, .. } = found;
        let target = match &self.restore {
            None => Target::Nowhere,
            Some(Restore { into: RestoreInto::Sqlite, .. }) => Target::Named,
            Some(Restore { into: RestoreInto::Postgres { .. }, .. }) => Target::Nameless,
        };
        let is_zipped = name.trim_end_matches(".age").ends_with(".gz");
        let reading = copy::copy(bytes, self.identity.clone(), is_zipped, target, deadline);
        let Copied { sha256, size: read, plain, failed } =
            deadline.with("reading the backup", reading).await??;
        if read != size {
            return Err(Flaw::new(Reason::Damaged, "it changed while it was read"));
        }
        let promised = sidecar.as_deref().map(|text| checksum_for(&name, text));
        let differs = match promised {
            _ if !self.has_checksum => None,
            None => Some(format!("there is no {name}{SIDECAR} beside it")),
            Some(None) => Some(format!("{name}{SIDECAR} holds no SHA-256 of {name}")),
            Some(Some(promised)) => {
                (promised != sha256).then(|| format!("its SHA-256 is not that of {name}{SIDECAR}"))
            }
        };
        findings.checksum = Some(sha256);
        findings.flaws.extend(differs.map(|detail| Flaw::new(Reason::Checksum, detail)));
        findings.flaws.extend(failed);
        if !findings.flaws.is_empty() {
            // What somebody may have changed is not carried out on a server.
            return Ok(());
        }
        let Some(Restore { into, tables }) = &self.restore else { return Ok(()) };
        findings.tables = match into {
            RestoreInto::Sqlite => sqlite::restore(plain, tables, deadline).await?,
            RestoreInto::Postgres { url } => postgres::restore(plain, url, tables, deadline, clock).await?,
        };
        findings.compare(tables);
        Ok(())
    }
}

/// What the file with a backup's checksum is called, behind the backup's name.
const SIDECAR: &str = ".sha256";
