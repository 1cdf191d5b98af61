//! The newest backup of a folder, a pattern or a bucket.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SubsecRound, Utc};
use futures::{StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout_at};

use super::{Deadline, Place, SIDECAR, Source};
use crate::{
    connectors::{
        ConnectorError,
        objects::{Listed, Objects},
    },
    domain::backup::{Flaw, Reason, unread},
};

/// A checksum file is a few lines.
const LARGEST_SIDECAR: u64 = 64 * 1024;

/// The newest backup, opened.
pub(super) struct Found {
    /// Without its folders.
    pub name: String,
    pub modified: DateTime<Utc>,
    /// Bytes.
    pub size: u64,
    pub bytes: Box<dyn Read + Send>,
    /// The text of its checksum file, where it was asked for and is there.
    pub sidecar: Option<String>,
}

pub(super) async fn newest(source: &Source, has_checksum: bool, deadline: Deadline) -> Result<Found, Flaw> {
    match source {
        Source::Files(pattern) => {
            let pattern = pattern.clone();
            let looking = tokio::task::spawn_blocking(move || newest_file(&pattern, has_checksum));
            looking.await.map_err(|_| Flaw::new(Reason::Unreadable, "the search was interrupted"))?
        }
        Source::Objects { place, prefix } => {
            let objects = open(place).map_err(unreachable)?;
            let newest = objects.newest(prefix, SIDECAR).await.map_err(unreachable)?;
            let Some(listed) = newest else {
                return Err(Flaw::new(Reason::NotFound, "there is no object of this prefix"));
            };
            object(&objects, listed, has_checksum, deadline).await
        }
        Source::Command { .. } => Err(Flaw::new(Reason::Command, "a command has no file")),
    }
}

fn unreachable(error: ConnectorError) -> Flaw {
    Flaw::new(Reason::Unreadable, error.detail)
}

fn newest_file(pattern: &str, has_checksum: bool) -> Result<Found, Flaw> {
    let wrong = |_| Flaw::new(Reason::Unreadable, "`path` is no pattern");
    let mut newest: Option<(DateTime<Utc>, PathBuf)> = None;
    for path in glob::glob(pattern).map_err(wrong)? {
        // What cannot be looked at may be the newest.
        let path = path.map_err(|error| unread(error.error()))?;
        if path.as_os_str().as_encoded_bytes().ends_with(SIDECAR.as_bytes()) {
            continue;
        }
        let metadata = match path.metadata() {
            // Removed meanwhile, by whoever keeps the backups.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(|error| unread(&error))?,
        };
        if !metadata.is_file() {
            continue;
        }
        let modified = metadata.modified().map_err(|error| unread(&error))?;
        newest = newest.max(Some((DateTime::<Utc>::from(modified), path)));
    }
    let Some((_, path)) = newest else {
        return Err(Flaw::new(Reason::NotFound, "there is no file of this pattern"));
    };
    open_file(&path, has_checksum).map_err(|error| unread(&error))
}

fn open_file(path: &Path, has_checksum: bool) -> io::Result<Found> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let sidecar = match has_checksum {
        true => {
            let mut beside = path.as_os_str().to_owned();
            beside.push(SIDECAR);
            match File::open(&beside) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                file => {
                    let mut text = Vec::new();
                    file?.take(LARGEST_SIDECAR).read_to_end(&mut text)?;
                    Some(String::from_utf8_lossy(&text).into_owned())
                }
            }
        }
        false => None,
    };
    Ok(Found {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        modified: DateTime::<Utc>::from(metadata.modified()?).trunc_subsecs(6),
        size: metadata.len(),
        bytes: Box::new(file),
        sidecar,
    })
}

fn open(place: &Place) -> Result<Objects, ConnectorError> {
    match place {
        Place::Folder(folder) => Objects::foreign_folder(folder),
        Place::Bucket(bucket) => Objects::bucket(bucket.clone())
            .map_err(|detail| ConnectorError { kind: crate::connectors::ErrorKind::Unavailable, detail }),
    }
}

async fn object(
    objects: &Objects,
    listed: Listed,
    has_checksum: bool,
    deadline: Deadline,
) -> Result<Found, Flaw> {
    let sidecar = match has_checksum {
        true => match objects.read(&listed, SIDECAR).await.map_err(unreachable)? {
            Some(bytes) => Some(short_text(bytes).await.map_err(|error| unread(&error))?),
            None => None,
        },
        false => None,
    };
    let Some(bytes) = objects.read(&listed, "").await.map_err(unreachable)? else {
        return Err(Flaw::new(Reason::NotFound, "it was removed while it was looked at"));
    };
    Ok(Found {
        name: listed.name().to_owned(),
        modified: listed.modified.trunc_subsecs(6),
        size: listed.size,
        bytes: Box::new(Blocking::over(bytes, deadline)),
        sidecar,
    })
}

async fn short_text(mut bytes: BoxStream<'static, io::Result<Vec<u8>>>) -> io::Result<String> {
    let mut text = Vec::new();
    while let Some(part) = bytes.next().await {
        text.extend(part?);
        if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST_SIDECAR) {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A stream as a thread that blocks reads it, a few parts ahead.
struct Blocking {
    parts: mpsc::Receiver<io::Result<Vec<u8>>>,
    part: Vec<u8>,
    read: usize,
}

impl Blocking {
    fn over(mut bytes: BoxStream<'static, io::Result<Vec<u8>>>, deadline: Deadline) -> Self {
        let (sender, parts) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let part = match timeout_at(deadline.0, bytes.next()).await {
                    Ok(Some(part)) => part,
                    Ok(None) => break,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                let failed = part.is_err();
                // Who read has gone.
                if sender.send(part).await.is_err() || failed {
                    break;
                }
            }
        });
        Self { parts, part: Vec::new(), read: 0 }
    }
}

impl Read for Blocking {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.part.len() {
            match self.parts.blocking_recv() {
                Some(part) => (self.part, self.read) = (part?, 0),
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.part.len() - self.read);
        into[..count].copy_from_slice(&self.part[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
