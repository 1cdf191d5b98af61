//! Where the zip's bytes go: as they are, or encrypted to a recipient (the age format, C2SP age).

use std::{
    io::{self, Write},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use age::{Encryptor, stream::StreamWriter, x25519};

/// A public key that a package is encrypted to: `age1…`.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

impl FromStr for Recipient {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        x25519::Recipient::from_str(text).map(Self)
    }
}

/// Bytes that wait to be taken; clones share them.
#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) enum Tail {
    Plain(Buffer),
    Encrypted(Box<StreamWriter<Buffer>>),
}

impl Tail {
    pub(super) fn new(buffer: Buffer, recipient: Option<&Recipient>) -> io::Result<Self> {
        let Some(Recipient(recipient)) = recipient else { return Ok(Self::Plain(buffer)) };
        let recipients = std::iter::once(recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Self::Encrypted(Box::new(encryptor.wrap_output(buffer)?)))
    }

    /// Writes what ends the format: without it a reader would know that something is missing.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Encrypted(writer) => writer.finish().map(drop),
        }
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(buffer) => buffer.write(bytes),
            Self::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(buffer) => buffer.flush(),
            Self::Encrypted(writer) => writer.flush(),
        }
    }
}
