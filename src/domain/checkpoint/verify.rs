//! The other side of a checkpoint: public keys, and what a signed note says to whoever has one. Read strictly, because the
//! note comes from whoever is not trusted.

use std::str::FromStr;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{ED25519 as ED25519_TYPE, is_origin};
use crate::domain::{audit::hex, tree::Digest};

/// Why a text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicKey {
    #[error("it is a private key: verification needs the public one, which `rightful keygen` printed")]
    Private,
    #[error("it is not NAME+ID+KEY, a public key as `rightful keygen` prints it")]
    Form,
    #[error("its name and key do not have the id that stands between them")]
    Id,
}

/// A key that verifies: NAME+ID+KEY, the verifier key of C2SP signed-note, with Ed25519.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with(super::PRIVATE) {
            return Err(BadPublicKey::Private);
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadPublicKey::Form);
        };
        let key = STANDARD.decode(key).map_err(|_| BadPublicKey::Form)?;
        let Some((&ED25519_TYPE, key)) = key.split_first() else { return Err(BadPublicKey::Form) };
        let key: [u8; 32] = key.try_into().map_err(|_| BadPublicKey::Form)?;
        let own = key_id(name, &key);
        match is_origin(name) {
            false => Err(BadPublicKey::Form),
            true if hex(&own) != id => Err(BadPublicKey::Id),
            true => Ok(Self { name: name.to_owned(), id: own, key }),
        }
    }
}

impl PublicKey {
    pub(super) fn new(name: &str, key: [u8; 32]) -> Self {
        Self { name: name.to_owned(), id: key_id(name, &key), key }
    }

    /// The origin of the log whose checkpoints it verifies.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub(super) fn id(&self) -> [u8; 4] {
        self.id
    }

    /// True where this line holds this key's signature of the text.
    fn has_signed(&self, text: &str, line: &str) -> bool {
        let signature = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| *name == self.name)
            .and_then(|(_, signature)| STANDARD.decode(signature).ok());
        let Some(signature) = signature.as_deref().and_then(|bytes| bytes.strip_prefix(&self.id)) else {
            return false;
        };
        UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[ED25519_TYPE], self.key.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id))
    }
}

/// The first four bytes of the SHA-256 over name, newline, signature type and public key.
fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &[ED25519_TYPE], key].concat());
    let mut id = [0; 4];
    id.copy_from_slice(&hash.as_ref()[..4]);
    id
}

/// Why a note says nothing about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    #[error("it is no checkpoint: a signed note that begins with origin, size and root")]
    Form,
    #[error("it is of another log than the key")]
    Origin,
    #[error("none of the given keys has signed it")]
    Unsigned,
}

/// What a log's owner has said of it, and signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Entries.
    pub size: u64,
    pub root: Digest,
}

impl TreeHead {
    /// The root as a checkpoint writes it.
    #[must_use]
    pub fn root_text(&self) -> String {
        STANDARD.encode(self.root)
    }
}

/// What a signed checkpoint says, where one of the keys has signed it. Signatures of others, such as witnesses, are not
/// looked at; neither are lines behind the root, which the format leaves to extensions.
///
/// # Errors
/// When it is no checkpoint, or of no log that these keys are of, or not signed by them.
pub fn open(note: &str, keys: &[PublicKey]) -> Result<TreeHead, BadNote> {
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(BadNote::Form)?;
    // The newline in front of the empty line belongs to the text that is signed.
    let text = &note[..=text.len()];
    let (origin, head) = head_of(text)?;
    let mut own = keys.iter().filter(|key| key.name == origin).peekable();
    if own.peek().is_none() && !keys.is_empty() {
        return Err(BadNote::Origin);
    }
    let is_signed = own.any(|key| signatures.lines().any(|line| key.has_signed(text, line)));
    if is_signed { Ok(head) } else { Err(BadNote::Unsigned) }
}

/// What a checkpoint says, whoever has signed it.
///
/// # Errors
/// When it is no checkpoint.
pub fn read(note: &str) -> Result<TreeHead, BadNote> {
    let (text, _) = note.rsplit_once("\n\n").ok_or(BadNote::Form)?;
    Ok(head_of(&note[..=text.len()])?.1)
}

fn head_of(text: &str) -> Result<(&str, TreeHead), BadNote> {
    let mut lines = text.split('\n');
    let (Some(origin), Some(size), Some(root), Some(_)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(BadNote::Form);
    };
    let root: Digest =
        STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(BadNote::Form)?;
    let number: u64 = size.parse().map_err(|_| BadNote::Form)?;
    // No sign and no leading zeros: one number has one form.
    if origin.is_empty() || number.to_string() != size {
        return Err(BadNote::Form);
    }
    Ok((origin, TreeHead { size: number, root }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::checkpoint::{NewKey, Signer, SigningKey};

    const ORIGIN: &str = "shop.example/audit";

    fn signer(keys: &[&NewKey]) -> Signer {
        let keys = keys.iter().map(|key| SigningKey::parse(&key.private).unwrap()).collect();
        Signer { origin: ORIGIN.to_owned(), keys }
    }

    fn public(key: &NewKey) -> PublicKey {
        key.public.parse().unwrap()
    }

    #[test]
    fn the_key_of_the_reference_is_read_and_written() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: PublicKey = format!(" {text}\n").parse().unwrap();
        assert_eq!((key.name(), key.to_string().as_str()), ("PeterNeumann", text));
        for (bad, expected) in [
            (text.replace("Peter", "Paul"), BadPublicKey::Id),
            (text.replace("+ARpc", "+Agpc"), BadPublicKey::Form),
            (text.replace("10TW", ""), BadPublicKey::Form),
            (format!("PRIVATE+KEY+{text}"), BadPublicKey::Private),
            (String::new(), BadPublicKey::Form),
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(expected), "{bad}");
        }
    }

    #[test]
    fn whoever_has_one_of_the_keys_opens_a_checkpoint() {
        let (old, new) = (NewKey::generate(ORIGIN).unwrap(), NewKey::generate(ORIGIN).unwrap());
        let note = signer(&[&old, &new]).sign(7, &[9; 32]);
        let head = TreeHead { size: 7, root: [9; 32] };
        for keys in [vec![&old], vec![&new], vec![&new, &old]] {
            let keys: Vec<PublicKey> = keys.into_iter().map(public).collect();
            assert_eq!(open(&note, &keys), Ok(head));
        }
        let stranger = NewKey::generate(ORIGIN).unwrap();
        assert_eq!(open(&note, &[public(&stranger)]), Err(BadNote::Unsigned));
        let elsewhere = NewKey::generate("other.example/audit").unwrap();
        assert_eq!(open(&note, &[public(&elsewhere)]), Err(BadNote::Origin));
        assert_eq!(open(&note, &[]), Err(BadNote::Unsigned));
    }

    #[test]
    fn a_changed_note_is_not_opened() {
        let key = NewKey::generate(ORIGIN).unwrap();
        let note = signer(&[&key]).sign(71, &[9; 32]);
        let keys = [public(&key)];
        assert!(open(&note, &keys).is_ok());
        for (from, to) in [("\n71\n", "\n72\n"), ("\n71\n", "\n071\n"), ("\n71\n", "\n+71\n"), ("CQk", "CQo")]
        {
            assert!(open(&note.replacen(from, to, 1), &keys).is_err(), "{from:?} {to:?}");
        }
        for cut in 0..note.len() - 1 {
            let Some(short) = note.get(..cut) else { continue };
            assert!(open(short, &keys).is_err(), "{short:?}");
        }
        // An extension is part of what is signed.
        assert_eq!(open(&note.replacen("\n\n", "\nmore\n\n", 1), &keys), Err(BadNote::Unsigned));
    }
}
