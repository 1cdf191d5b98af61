//! Checkpoints of the log: its size and root, signed with Ed25519, as the C2SP specifications signed-note and
//! tlog-checkpoint have them, so that any tool for transparency logs reads and verifies them.

use aws_lc_rs::{
    rand,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{audit::hex, tree::Digest};

mod verify;

pub use verify::{BadNote, BadPublicKey, PublicKey, TreeHead, open, read};

/// The signature type of Ed25519 in a key.
const ED25519: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";

/// Why a text is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("it is not PRIVATE+KEY+NAME+ID+KEY, a signing key as `rightful keygen` writes it")]
    Form,
    #[error("its name and key do not have the id that stands between them")]
    Id,
}

/// What the origin of a log may be, and with it the name of its keys: no spaces, no `+`.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A new pair of keys, as texts.
pub struct NewKey {
    pub private: String,
    /// Whoever verifies needs it, and nobody else keeps it for them.
    pub public: String,
}

impl NewKey {
    /// `name` is the origin of the log.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate(name: &str) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut seed = [0; 32];
        rand::fill(&mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)?;
        let public = public_key(name, &pair)?;
        let key = STANDARD.encode([&[ED25519], seed.as_slice()].concat());
        Ok(Self {
            private: format!("{PRIVATE}{name}+{}+{key}", hex(&public.id())),
            public: public.to_string(),
        })
    }
}

fn public_key(name: &str, pair: &Ed25519KeyPair) -> Result<PublicKey, aws_lc_rs::error::Unspecified> {
    let key = pair.public_key().as_ref().try_into().map_err(|_| aws_lc_rs::error::Unspecified)?;
    Ok(PublicKey::new(name, key))
}

/// A key that signs. No `Debug`.
pub struct SigningKey {
    public: PublicKey,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let mut parts = text.trim().strip_prefix(PRIVATE).ok_or(BadKey::Form)?.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey::Form);
        };
        let key = STANDARD.decode(key).map_err(|_| BadKey::Form)?;
        let Some((&ED25519, seed)) = key.split_first() else { return Err(BadKey::Form) };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadKey::Form)?;
        let public = public_key(name, &pair).map_err(|_| BadKey::Form)?;
        match is_origin(name) {
            false => Err(BadKey::Form),
            true if hex(&public.id()) != id => Err(BadKey::Id),
            true => Ok(Self { public, pair }),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.public.name()
    }

    /// What verifies its signatures.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    fn signature_line(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let signature = STANDARD.encode([&self.public.id(), signature.as_ref()].concat());
        format!("\u{2014} {} {signature}\n", self.name())
    }
}

/// Signs the checkpoints of one log, with every key that is given: while keys change there are two.
pub struct Signer {
    pub origin: String,
    pub keys: Vec<SigningKey>,
}

impl Signer {
    /// The signed note that tells of a tree.
    #[must_use]
    pub fn sign(&self, size: u64, root: &Digest) -> String {
        let text = format!("{}\n{size}\n{}\n", self.origin, STANDARD.encode(root));
        let signatures: String = self.keys.iter().map(|key| key.signature_line(&text)).collect();
        format!("{text}\n{signatures}")
    }
}

/// The size that a checkpoint of this origin tells of; its signatures are not looked at. `None` for anything else.
#[must_use]
pub fn size_of(note: &str, origin: &str) -> Option<u64> {
    let mut lines = note.lines();
    (lines.next()? == origin).then(|| lines.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example key of Go's package golang.org/x/mod/sumdb/note, and the signature that it has there.
    const KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn a_signature_is_that_of_the_reference() {
        let key = SigningKey::parse(KEY).unwrap();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let expected = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(key.signature_line(text), expected);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let other_name = KEY.replace("Peter", "Paul");
        let other_id = KEY.replace("c74f20a3", "c74f20a4");
        let other_type = KEY.replace("+AYEK", "+AoEK");
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        for (text, expected) in [
            (other_name.as_str(), BadKey::Id),
            (&other_id, BadKey::Id),
            (&other_type, BadKey::Form),
            (public, BadKey::Form),
            ("", BadKey::Form),
        ] {
            assert_eq!(SigningKey::parse(text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_new_key_is_one() {
        let key = NewKey::generate("shop.example/audit").unwrap();
        let read = SigningKey::parse(&format!("{}\n", key.private)).unwrap();
        assert_eq!(read.name(), "shop.example/audit");
        assert!(key.public.starts_with(&format!("shop.example/audit+{}+", hex(&read.public().id()))));
        assert_ne!(NewKey::generate("shop.example/audit").unwrap().private, key.private);
    }

    #[test]
    fn a_size_is_read_from_a_checkpoint_of_the_same_log_only() {
        let signer =
            Signer { origin: "PeterNeumann".to_owned(), keys: vec![SigningKey::parse(KEY).unwrap()] };
        let note = signer.sign(42, &[0; 32]);
        assert_eq!(size_of(&note, "PeterNeumann"), Some(42));
        assert_eq!(size_of(&note, "other"), None);
        assert_eq!(size_of("PeterNeumann\nmany\n", "PeterNeumann"), None);
    }
}
