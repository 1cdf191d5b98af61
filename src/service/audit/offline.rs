//! Verification of an export of the whole log, without a store, in constant memory and whatever the order of its lines: one pass
//! over the file checks each event by itself and notes what it is to fit to, the notes are sorted, and the chains and the
//! tree follow from those. An export has no owners' heads: that a stream's last events are missing shows in the tree.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use aws_lc_rs::digest::{SHA256, digest};

use super::sorter::Sorter;
use crate::domain::{
    audit::{
        exported::read_line,
        raw::{Hasher, RawEvent, digest_of},
        verify::{Broken, Fault, follows, log::TreeWalk},
    },
    checkpoint::TreeHead,
    tree::{Digest, leaf_of},
};

/// What is read of the file at a time.
const READ: usize = 1 << 20;
/// No event is as long, and a file without line breaks is not read into memory.
const LONGEST_LINE: u64 = 16 << 20;

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Intact(Verified),
    /// The first broken place; what follows was not looked at.
    Broken(Broken),
}

/// An export that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub events: u64,
    pub tree: TreeHead,
    /// Events that had no place yet.
    pub waiting: u64,
}

/// Why a file cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    #[error("the file cannot be read: {}", .0.kind())]
    File(#[from] io::Error),
    #[error("line {0} is no event of an export in NDJSON, with its `index`")]
    Line(u64),
    #[error("the file ends in the middle of line {0}: it was cut")]
    Cut(u64),
}

enum Stop {
    Broken(Broken),
    Not(NotVerified),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<NotVerified> for Stop {
    fn from(not: NotVerified) -> Self {
        Self::Not(not)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Not(error.into())
    }
}

/// Verifies an export of the whole log, and holds it against checkpoints.
///
/// # Errors
/// When the file cannot be read, or is no export; a broken log is an answer.
pub fn verify_export(file: &Path, checkpoints: &[TreeHead]) -> Result<Verification, NotVerified> {
    match walk(file, checkpoints) {
        Ok(verified) => Ok(Verification::Intact(verified)),
        Err(Stop::Broken(broken)) => Ok(Verification::Broken(broken)),
        Err(Stop::Not(not)) => Err(not),
    }
}

fn walk(path: &Path, checkpoints: &[TreeHead]) -> Result<Verified, Stop> {
    let mut notes =
        Notes { links: Sorter::new(), leaves: Sorter::new(), events: 0, hasher: Hasher::default() };
    let mut lines = Lines::open(path)?;
    while let Some((offset, line)) = lines.next()? {
        match read_line(line, |event, index| notes.take(event, index, offset)) {
            Some(taken) => taken?,
            None => return Err(NotVerified::Line(lines.number).into()),
        }
    }
    let events = notes.events;
    chains(notes.links, path)?;
    let tree = tree(notes.leaves, checkpoints)?;
    Ok(Verified { events, tree, waiting: events - tree.size })
}

/// The lines of a file, with their places.
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: u64,
    /// Of the next one.
    offset: u64,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(READ, File::open(path)?);
        Ok(Self { file, line: Vec::new(), number: 0, offset: 0 })
    }

    fn next(&mut self) -> Result<Option<(u64, &[u8])>, NotVerified> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.file).take(LONGEST_LINE + 1).read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(match read > LONGEST_LINE {
                true => NotVerified::Line(self.number),
                false => NotVerified::Cut(self.number),
            });
        }
        let offset = self.offset;
        self.offset += read;
        Ok(Some((offset, &self.line)))
    }
}

/// Stream, seq, prev_hash, hash, and where the line is: sorted, the chains.
const LINK: usize = 32 + 8 + 32 + 32 + 8;
/// Leaf index, and hash: sorted, the tree.
const LEAF: usize = 8 + 32;

struct Notes {
    links: Sorter<LINK>,
    leaves: Sorter<LEAF>,
    events: u64,
    hasher: Hasher,
}

impl Notes {
    fn take(&mut self, event: &RawEvent<'_>, index: Option<u64>, offset: u64) -> Result<(), Stop> {
        let mismatch = || Broken { index, ..Broken::event(event.stream, event.seq, Fault::HashMismatch) };
        let prev_hash = digest_of(event.prev_hash).ok_or_else(mismatch)?;
        let hash = self.hasher.hash(&prev_hash, event).ok_or_else(mismatch)?;
        if digest_of(event.hash) != Some(hash) {
            return Err(mismatch().into());
        }
        // Numbers in the order of their bytes; none is negative in a whole chain.
        let seq = u64::try_from(event.seq).map_err(|_| mismatch())?;
        let mut link = [0; LINK];
        link[..32].copy_from_slice(digest(&SHA256, event.stream).as_ref());
        link[32..40].copy_from_slice(&seq.to_be_bytes());
        link[40..72].copy_from_slice(&prev_hash);
        link[72..104].copy_from_slice(&hash);
        link[104..].copy_from_slice(&offset.to_be_bytes());
        self.links.push(link)?;
        if let Some(index) = index {
            let mut leaf = [0; LEAF];
            leaf[..8].copy_from_slice(&index.to_be_bytes());
            leaf[8..].copy_from_slice(&hash);
            self.leaves.push(leaf)?;
        }
        self.events += 1;
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn hash_of(bytes: &[u8]) -> Digest {
    bytes.first_chunk().copied().unwrap_or_default()
}

fn chains(links: Sorter<LINK>, path: &Path) -> Result<(), Stop> {
    let mut before: Option<(Digest, i64, Digest)> = None;
    for link in links.sorted()? {
        let link = link?;
        let stream = hash_of(&link);
        let (seq, prev_hash) = (number(&link[32..]).cast_signed(), hash_of(&link[40..]));
        let (last, hash) = match &before {
            Some((same, seq, hash)) if *same == stream => (*seq, *hash),
            _ => (0, Digest::default()),
        };
        if let Err((seq, fault)) = follows((last, &hash), seq, Some(&prev_hash)) {
            let name = stream_at(path, number(&link[104..]))?;
            return Err(Broken::event(&name, seq, fault).into());
        }
        before = Some((stream, seq, hash_of(&link[72..])));
    }
    Ok(())
}

/// The name of the stream in the line there.
fn stream_at(path: &Path, offset: u64) -> Result<Vec<u8>, Stop> {
    let mut lines = Lines::open(path)?;
    lines.file.seek(SeekFrom::Start(offset))?;
    let line = lines.next()?.map(|(_, line)| line).unwrap_or_default();
    Ok(read_line(line, |event, _| event.stream.to_vec()).unwrap_or_default())
}

fn tree(leaves: Sorter<LEAF>, checkpoints: &[TreeHead]) -> Result<TreeHead, Stop> {
    let mut tree = TreeWalk::new(checkpoints);
    for leaf in leaves.sorted()? {
        let leaf = leaf?;
        tree.leaf(number(&leaf), leaf_of(&hash_of(&leaf[8..])), None)?;
    }
    Ok(tree.finish()?)
}
