//! A package in the object store: parts of the same size, each sealed on its own, so that any range can be read and a
//! part that was changed, or put in another's place, does not open.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    connectors::{ConnectorError, ErrorKind, objects::Objects},
    domain::{audit::hex, vault::DataKey},
    points::{self, Point},
};

/// Bytes of a part before it is sealed; the last one is shorter.
const PART: usize = 1 << 20;

fn name(place: &str, part: u64) -> String {
    format!("{place}/{part:08}")
}

/// What the seal of a part vouches for beside its bytes.
fn sealed_as(part: u64) -> String {
    format!("package/{part}")
}

/// A package on its way into the object store.
pub struct Upload {
    objects: Objects,
    key: DataKey,
    place: String,
    waiting: Vec<u8>,
    parts: u64,
    size: u64,
    hash: Context,
}

impl Upload {
    /// Nothing may lie at that place yet.
    #[must_use]
    pub fn new(objects: Objects, key: DataKey, place: String) -> Self {
        let hash = Context::new(&SHA256);
        Self { objects, key, place, waiting: Vec::new(), parts: 0, size: 0, hash }
    }

    /// Takes more of it; full parts leave at once.
    ///
    /// # Errors
    /// When the object store takes none.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        while self.waiting.len() >= PART {
            let rest = self.waiting.split_off(PART);
            let part = std::mem::replace(&mut self.waiting, rest);
            self.send(&part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: &[u8]) -> Result<(), ConnectorError> {
        let sealed = self.key.seal(part, &sealed_as(self.parts));
        self.objects.put(&name(&self.place, self.parts), sealed).await?;
        points::reached(Point::ExportPartWritten);
        self.parts += 1;
        Ok(())
    }

    /// Sends the last part; size in bytes, and SHA-256 in hex.
    ///
    /// # Errors
    /// When the object store does not take it.
    pub async fn finish(mut self) -> Result<(u64, String), ConnectorError> {
        let last = std::mem::take(&mut self.waiting);
        if !last.is_empty() {
            self.send(&last).await?;
        }
        Ok((self.size, hex(self.hash.finish().as_ref())))
    }
}

/// A range of a package, part by part.
pub struct Parts {
    objects: Objects,
    key: DataKey,
    place: String,
    range: Range<u64>,
}

impl Parts {
    pub(super) fn new(objects: Objects, key: DataKey, place: &str, range: Range<u64>) -> Self {
        Self { objects, key, place: place.to_owned(), range }
    }

    /// The next bytes; `None` at the end of the range.
    ///
    /// # Errors
    /// When a part cannot be read, is missing, or does not open.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ConnectorError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let size = PART as u64;
        let part = self.range.start / size;
        let damaged = || ConnectorError {
            kind: ErrorKind::Internal,
            detail: "a part of a package is missing or was changed".to_owned(),
        };
        let sealed = self.objects.get(&name(&self.place, part)).await?.ok_or_else(damaged)?;
        let plain = self.key.open(&sealed, &sealed_as(part)).map_err(|_| damaged())?;
        let from = usize::try_from(self.range.start % size).unwrap_or(usize::MAX);
        let wanted = self.range.end.min((part + 1) * size) - self.range.start;
        let upto = from.saturating_add(usize::try_from(wanted).unwrap_or(usize::MAX));
        let bytes = plain.get(from..upto).ok_or_else(damaged)?.to_vec();
        self.range.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vault::Vault;

    #[tokio::test]
    async fn any_range_comes_back_and_no_part_in_anothers_place() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::folder(folder.path()).unwrap();
        let (key, _) = Vault::new(&[7; 32]).new_data_key();
        let bytes: Vec<u8> = (0..PART * 2 + 100).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut upload = Upload::new(objects.clone(), key.clone(), "p/1".to_owned());
        for piece in bytes.chunks(1_000_003) {
            upload.push(piece).await.unwrap();
        }
        let (size, sha256) = upload.finish().await.unwrap();
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(sha256, hex(aws_lc_rs::digest::digest(&SHA256, &bytes).as_ref()));
        let part = PART as u64;
        for range in [0..size, 0..1, size - 1..size, part - 1..part + 1, part..2 * part, 5..5] {
            let mut parts = Parts::new(objects.clone(), key.clone(), "p/1", range.clone());
            let mut read = Vec::new();
            while let Some(bytes) = parts.next().await.unwrap() {
                read.extend(bytes);
            }
            let wanted = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert!(read == bytes[wanted], "{range:?}");
        }
        let first = objects.get("p/1/00000000").await.unwrap().unwrap();
        assert!(!first.windows(64).any(|window| window == &bytes[..64]), "it lies sealed");
        objects.put("p/1/00000001", first).await.unwrap();
        let mut swapped = Parts::new(objects, key, "p/1", part..part + 1);
        assert_eq!(swapped.next().await.unwrap_err().kind, ErrorKind::Internal);
    }
}
