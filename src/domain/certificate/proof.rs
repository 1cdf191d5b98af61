//! The proof that an entry is in a log, as text (C2SP tlog-proof): its place, the hashes beside its way to the root, and the
//! signed checkpoint. It has no extra data, which nobody signs.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::domain::tree::Digest;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves has no more levels.
const MAX_HASHES: usize = 64;
/// The log's own, and those of as many witnesses as anybody may have.
const MAX_SIGNATURES: usize = 100;

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Of the entry, from 0.
    pub index: u64,
    /// From the leaf up.
    pub hashes: Vec<Digest>,
    /// The signed note, as it is.
    pub checkpoint: String,
}

impl Proof {
    /// Only what would be written again byte by byte; of signatures by others than the log, such as witnesses, their form.
    /// Whether it proves anything is another question.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (proof, checkpoint) = text.split_once("\n\n")?;
        let mut lines = proof.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
        let hash = |line: &str| Digest::try_from(STANDARD.decode(line).ok()?).ok();
        let hashes: Vec<Digest> = lines.take(MAX_HASHES + 1).map(hash).collect::<Option<_>>()?;
        let proof = Self { index, hashes, checkpoint: checkpoint.to_owned() };
        let is_sound = proof.hashes.len() <= MAX_HASHES && is_note(checkpoint) && proof.to_string() == text;
        is_sound.then_some(proof)
    }
}

/// A text, an empty line and signatures (C2SP signed-note).
fn is_note(note: &str) -> bool {
    let is_signature = |line: &str| {
        line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).is_some_and(
            |(name, signature)| {
                !name.is_empty() && STANDARD.decode(signature).is_ok_and(|bytes| bytes.len() > 4)
            },
        )
    };
    let signatures = note.split_once("\n\n").and_then(|(_, signatures)| signatures.strip_suffix('\n'));
    let has_control = note.chars().any(|c| c.is_control() && c != '\n');
    !has_control
        && signatures.is_some_and(|lines| {
            lines.split('\n').count() <= MAX_SIGNATURES && lines.split('\n').all(is_signature)
        })
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str =
        "log.example\n3\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n\n\u{2014} log.example AAAAAAA=\n";

    #[test]
    fn a_proof_is_written_as_the_standard_has_it_and_read_again() {
        let hashes = vec![[1; 32], [2; 32]];
        let proof = Proof { index: 1, hashes, checkpoint: NOTE.to_owned() };
        let text = format!(
            "c2sp.org/tlog-proof@v1\nindex 1\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
             AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\n{NOTE}"
        );
        assert_eq!(proof.to_string(), text);
        assert_eq!(Proof::parse(&text), Some(proof));
        let alone = format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{NOTE}");
        assert!(Proof::parse(&alone).unwrap().hashes.is_empty());
    }

    #[test]
    fn only_one_text_is_a_proof() {
        let good = format!(
            "c2sp.org/tlog-proof@v1\nindex 1\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\n{NOTE}"
        );
        assert!(Proof::parse(&good).is_some());
        for (from, to) in [
            ("@v1", "@v2"),
            ("index 1", "index 01"),
            ("index 1", "index +1"),
            ("index 1", "index 18446744073709551616"),
            ("index 1", "extra AAAA\nindex 1"),
            ("AQE=", "AQF="),
            ("AQE=", "AQE"),
            ("AQE=", "AQE=\r"),
            ("\n\n\u{2014}", "\n\u{2014}"),
            ("\u{2014}", "-"),
            ("log.example AAAAAAA=\n", "log.example AAAAAAA="),
            ("log.example AAAAAAA=\n", "log.example AAAAAAA=\r\n"),
            ("log.example AAAAAAA=\n", "log.example AAAAAAA=\nmore\n"),
        ] {
            assert!(good.contains(from), "{from:?}");
            assert_eq!(Proof::parse(&good.replace(from, to)), None, "{from:?} {to:?}");
        }
        assert_eq!(Proof::parse(&good.replace("AQE=\n", &"AQE=\n".repeat(65))), None);
        assert_eq!(Proof::parse(&good.repeat(2)), None);
        assert_eq!(Proof::parse(&(good + &"\u{2014} w AAAAAAA=\n".repeat(100))), None);
    }
}
