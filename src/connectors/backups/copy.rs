//! A backup is read to its end, once: hashed, decrypted, unpacked, and copied where it is to be restored from. Memory
//! stays flat; the copy is for its owner's eyes only and goes with its last user.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use aws_lc_rs::digest;
use flate2::bufread::MultiGzDecoder;
use tempfile::NamedTempFile;

use super::Deadline;
use crate::domain::{
    audit::hex,
    backup::{Flaw, Identity, Reason, unread},
};

const CHUNK: usize = 256 * 1024;
const PREFIX: &str = "rightful-backup-";
/// A copy belongs to nobody if it is not locked; this long after it was made, so that its maker had the time to.
const UNLOCKED: Duration = Duration::from_secs(60);

/// Where the plain text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Nowhere,
    /// A file without a name, which no crash leaves behind.
    Nameless,
    /// For who needs a path. What a crash leaves behind is not locked, and removed by the next.
    Named,
}

/// The plain text.
pub(super) enum Plain {
    Nowhere,
    Nameless(File),
    Named(NamedTempFile),
}

pub(super) struct Copied {
    /// Of the backup as it lies there, hex.
    pub sha256: String,
    /// Bytes that were read of it.
    pub size: u64,
    pub plain: Plain,
    /// Why there is no plain text.
    pub failed: Option<Flaw>,
}

/// # Errors
/// When it cannot be read, or the copy not be written.
pub(super) async fn copy(
    bytes: Box<dyn Read + Send>,
    identity: Option<Identity>,
    is_zipped: bool,
    target: Target,
    deadline: Deadline,
) -> Result<Copied, Flaw> {
    let copying = move || copy_here(bytes, identity.as_ref(), is_zipped, target, deadline);
    let copied = tokio::task::spawn_blocking(copying).await;
    copied.map_err(|_| Flaw::new(Reason::Unreadable, "reading it was interrupted"))?
}

fn copy_here(
    bytes: Box<dyn Read + Send>,
    identity: Option<&Identity>,
    is_zipped: bool,
    target: Target,
    deadline: Deadline,
) -> Result<Copied, Flaw> {
    let mut plain = Plain::new(target).map_err(|error| unwritten(&error))?;
    let mut hashed = Hashed { bytes, digest: digest::Context::new(&digest::SHA256), size: 0, deadline };
    let unpacked = unpack(&mut hashed, identity, is_zipped, &mut plain);
    // The rest counts too: a hash is that of the whole file.
    let failed = match unpacked {
        Err(flaw) if flaw.reason == Reason::Timeout => return Err(flaw),
        Err(flaw) => Some(flaw),
        Ok(()) => None,
    };
    io::copy(&mut hashed, &mut io::sink()).map_err(|error| unread(&error))?;
    plain.rewind().map_err(|error| unwritten(&error))?;
    let Hashed { digest, size, .. } = hashed;
    Ok(Copied { sha256: hex(digest.finish().as_ref()), size, plain, failed })
}

fn unpack(
    bytes: &mut Hashed,
    identity: Option<&Identity>,
    is_zipped: bool,
    plain: &mut Plain,
) -> Result<(), Flaw> {
    let mut reader: Box<dyn Read + '_> = match identity {
        Some(identity) => Box::new(identity.open(BufReader::with_capacity(CHUNK, bytes))?),
        None => Box::new(bytes),
    };
    if is_zipped {
        reader = Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, reader)));
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(&error)),
        };
        plain.write(&chunk[..count]).map_err(|error| unwritten(&error))?;
    }
}

fn unwritten(error: &io::Error) -> Flaw {
    let detail =
        format!("its private copy cannot be written: {}; TMPDIR names a folder with more room", error.kind());
    Flaw::new(Reason::Unreadable, detail)
}

/// Counts and hashes what passes, until the deadline.
struct Hashed {
    bytes: Box<dyn Read + Send>,
    digest: digest::Context,
    size: u64,
    deadline: Deadline,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.deadline.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = self.bytes.read(into)?;
        self.digest.update(&into[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

impl Plain {
    fn new(target: Target) -> io::Result<Self> {
        Ok(match target {
            Target::Nowhere => Self::Nowhere,
            Target::Nameless => Self::Nameless(tempfile::tempfile()?),
            Target::Named => {
                sweep(&std::env::temp_dir());
                let file = tempfile::Builder::new().prefix(PREFIX).tempfile()?;
                file.as_file().lock()?;
                Self::Named(file)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Nameless(file) => file.write_all(bytes),
            Self::Named(file) => file.write_all(bytes),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Nameless(file) => file.seek(SeekFrom::Start(0)).map(drop),
            Self::Named(file) => file.flush(),
        }
    }

    /// The first bytes, by which a format is known.
    pub(super) fn begins_with(&mut self, magic: &[u8]) -> bool {
        let file = match self {
            Self::Nowhere => return false,
            Self::Nameless(file) => file,
            Self::Named(file) => file.as_file_mut(),
        };
        let mut found = vec![0; magic.len()];
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut found));
        read.is_ok() && found == magic && file.seek(SeekFrom::Start(0)).is_ok()
    }
}

/// Removes the copies of verifications that were killed: nobody has them locked.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Anybody may put anything there: whoever opens a pipe waits.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        let age = file.metadata().and_then(|metadata| metadata.modified());
        let is_old = age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNLOCKED));
        if is_old && file.try_lock().is_ok() && std::fs::remove_file(&path).is_ok() {
            tracing::info!("the copy of a backup was removed, whose verification was killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_a_killed_verification_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH;
        let make = |name: &str, modified: Option<SystemTime>| {
            let file = File::create(folder.path().join(name)).unwrap();
            if let Some(modified) = modified {
                file.set_modified(modified).unwrap();
            }
            file
        };
        drop(make("rightful-backup-killed", Some(old)));
        drop(make("rightful-backup-new", None));
        drop(make("somebody-elses", Some(old)));
        let locked = make("rightful-backup-at-work", Some(old));
        locked.lock().unwrap();
        sweep(folder.path());
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["rightful-backup-at-work", "rightful-backup-new", "somebody-elses"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_is_for_its_owners_eyes_only() {
        use std::os::unix::fs::PermissionsExt;
        let Plain::Named(file) = Plain::new(Target::Named).unwrap() else { panic!("it has a name") };
        assert_eq!(file.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }
}
