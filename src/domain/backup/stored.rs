//! What lies in a file: its checksum, and what it is encrypted to.

use std::{io::Read, str::FromStr};

use age::{DecryptError, Decryptor, stream::StreamReader, x25519};

use super::{Flaw, Reason};

/// The SHA-256 that a checksum file gives for a file of that name: lines as `sha256sum` writes them, or the digest
/// alone.
#[must_use]
pub fn checksum_for(name: &str, text: &str) -> Option<String> {
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let [only] = lines.as_slice()
        && is_digest(only)
    {
        return Some(only.to_ascii_lowercase());
    }
    lines.into_iter().find_map(|line| {
        let (digest, file) = line.split_once(' ')?;
        // A second blank for text, an asterisk for binary.
        let file = file.strip_prefix([' ', '*']).unwrap_or(file);
        let base = file.rsplit('/').next().unwrap_or(file);
        (is_digest(digest) && base == name).then(|| digest.to_ascii_lowercase())
    })
}

/// The private key that opens backups in the age format. No `Debug`.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

impl Identity {
    /// Of a file that `age-keygen` wrote: comments, and one line `AGE-SECRET-KEY-1…`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (keys.next(), keys.next()) {
            (Some(key), None) => x25519::Identity::from_str(key).map(Self).ok(),
            _ => None,
        }
    }

    /// The plain text of what is encrypted to this key.
    ///
    /// # Errors
    /// For what is no age file, or is encrypted to another key.
    pub fn open<R: Read>(&self, encrypted: R) -> Result<StreamReader<R>, Flaw> {
        let wrong = |error: DecryptError| match error {
            DecryptError::NoMatchingKeys => {
                Flaw::new(Reason::Encryption, "it is encrypted with another key than `identity`")
            }
            DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
                Flaw::new(Reason::Encryption, "it is no file of the age format: is it encrypted at all?")
            }
            DecryptError::Io(error) => unread(&error),
            _ => Flaw::new(Reason::Encryption, "it cannot be decrypted"),
        };
        let decryptor = Decryptor::new(encrypted).map_err(wrong)?;
        decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)).map_err(wrong)
    }
}

/// What it means that a backup could not be read to its end.
#[must_use]
pub fn unread(error: &std::io::Error) -> Flaw {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => Flaw::new(Reason::Timeout, "it could not be read within `timeout`"),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Flaw::new(Reason::Damaged, "it cannot be unpacked to its end: truncated or damaged")
        }
        kind => Flaw::new(Reason::Unreadable, format!("it cannot be read: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_its_file() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let upper = b.to_ascii_lowercase();
        for (text, found) in [
            (format!("{a}  x.dump\n"), Some(&a)),
            (format!("{a} *x.dump"), Some(&a)),
            (format!("{a}  /var/backups/x.dump"), Some(&a)),
            (format!("{a}\n"), Some(&a)),
            (format!("{a}  y.dump\n{b}  x.dump\n"), Some(&upper)),
            (format!("{a}  y.dump\n"), None),
            (format!("{}  x.dump\n", &a[1..]), None),
            (String::new(), None),
        ] {
            assert_eq!(checksum_for("x.dump", &text).as_ref(), found, "{text}");
        }
    }
}
