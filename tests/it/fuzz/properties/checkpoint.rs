//! Checkpoints and the keys to them: what opens was signed, word by word, and is written as it is read.

use rightful::domain::{
    checkpoint::{BadNote, PublicKey, Signer, SigningKey, TreeHead, is_origin, open, read, size_of},
    tree::{inclusion, subtrees},
};

/// The example key of Go's package golang.org/x/mod/sumdb/note: what it signs in the corpus is not all a checkpoint.
const KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ORIGIN: &str = "PeterNeumann";
/// The sizes of the trees in the corpus that are signed; the root of each is made of its size.
const SIGNED: [u64; 4] = [0, 3, 42, u64::MAX];

/// Signs as that key's owner, for a log of that name.
pub fn signer(origin: &str) -> Signer {
    Signer { origin: origin.to_owned(), keys: vec![SigningKey::parse(KEY).expect("a key")] }
}

pub fn keys() -> Vec<PublicKey> {
    signer(ORIGIN).keys.iter().map(|key| key.public().clone()).collect()
}

fn head(size: u64) -> TreeHead {
    TreeHead { size, root: [size.to_le_bytes()[0]; 32] }
}

/// The checkpoints of the corpus.
pub fn made() -> Vec<Vec<u8>> {
    SIGNED.map(|size| signer(ORIGIN).sign(size, &head(size).root).into_bytes()).into()
}

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    key(text);
    let read = read(text);
    let opened = open(text, &keys());
    if let Ok(opened) = opened {
        assert_eq!(read, Ok(opened));
        assert_eq!(opened, head(opened.size));
        let signed = signer(ORIGIN).sign(opened.size, &opened.root);
        let (signed, _) = signed.rsplit_once("\n\n").expect("a note");
        assert!(SIGNED.contains(&opened.size) && text.starts_with(&format!("{signed}\n\n")), "{text}");
    }
    assert_ne!(open(text, &[]).ok(), Some(head(0)), "nobody has signed it");
    if let Ok(head) = read {
        let origin = text.split('\n').next().unwrap_or_default();
        assert!(origin.ends_with('\r') || size_of(text, origin) == Some(head.size));
        signs_what_it_says(origin, &head);
    }
    opened.is_ok()
}

fn signs_what_it_says(origin: &str, head: &TreeHead) {
    let note = signer(origin).sign(head.size, &head.root);
    let expected = if origin == ORIGIN { Ok(*head) } else { Err(BadNote::Origin) };
    assert_eq!(open(&note, &keys()), expected, "{note}");
    assert_eq!(read(&note), Ok(*head), "{note}");
    // The arithmetic of trees holds whatever size somebody claims.
    let covered: u64 = subtrees(&(0..head.size)).iter().map(|subtree| 1_u64 << subtree.level).sum();
    assert_eq!(covered, head.size);
    assert!(inclusion(head.size, head.size).is_none());
    let last = head.size.checked_sub(1).and_then(|last| inclusion(last, head.size));
    assert_eq!(last.is_some(), head.size > 0);
    assert!(last.is_none_or(|proof| proof.len() <= 64));
}

fn key(text: &str) {
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text.trim());
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert!(is_origin(key.name()));
        assert!(SigningKey::parse(text).is_err());
    }
    if let Ok(key) = SigningKey::parse(text) {
        let signer = Signer { origin: key.name().to_owned(), keys: vec![key] };
        let public = signer.keys[0].public().clone();
        assert_eq!(open(&signer.sign(7, &[7; 32]), &[public]), Ok(head(7)));
        assert!(text.parse::<PublicKey>().is_err());
    }
}
