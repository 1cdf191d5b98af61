//! Lines of an exported log: whatever way a line is read, its hash is that of what every reader of JSON finds in it.

use aws_lc_rs::digest::{SHA256, digest};
use rightful::domain::audit::{
    exported::read_line,
    raw::{Hasher, digest_of},
};
use serde_json::Value;

/// Beyond it RFC 8785 writes an integer as a float. No log gets as far.
const EXACT: u64 = 1 << 53;

/// What is looked at of an event: its hash, which nearly all goes into, and the rest.
#[derive(Debug, PartialEq)]
struct Read {
    hash: Option<[u8; 32]>,
    seq: i64,
    hashes: [Vec<u8>; 2],
    index: Option<u64>,
}

fn read(line: &[u8]) -> Option<Read> {
    read_line(line, |event, index| Read {
        hash: Hasher::default().hash(&[7; 32], event),
        seq: event.seq,
        hashes: [event.prev_hash.to_vec(), event.hash.to_vec()],
        index,
    })
}

pub fn check(line: &[u8]) -> bool {
    let Some(read) = read(line) else { return false };
    // Without hashes, and with details that nobody can read, it is told of as an event that does not have its own hash.
    let are_hashes = read.hashes.iter().all(|hash| digest_of(hash).is_some());
    let Some(hash) = read.hash.filter(|_| are_hashes) else { return false };
    let whole: Value = serde_json::from_slice(line).expect("a line with a hash is JSON");
    assert_eq!(read.seq, whole["seq"].as_i64().expect("a number"));
    assert_eq!(read.index, whole["index"].as_u64());
    for (hash, name) in read.hashes.iter().zip(["prev_hash", "hash"]) {
        assert_eq!(whole[name].as_str().map(str::as_bytes), Some(hash.as_slice()));
    }
    if read.seq.unsigned_abs() < EXACT {
        let mut body = whole.as_object().expect("an object").clone();
        body.retain(|name, _| !["prev_hash", "hash", "index"].contains(&name.as_str()));
        for name in ["action", "request_id", "rows", "step", "subject_ref"] {
            body.entry(name).or_insert(Value::Null);
        }
        let body = serde_json_canonicalizer::to_vec(&body).expect("what has a hash has a canonical form");
        assert_eq!(hash, digest(&SHA256, &[&[7; 32], body.as_slice()].concat()).as_ref());
    }
    let pretty = serde_json::to_vec_pretty(&whole).expect("a value can be written");
    assert_eq!(self::read(&pretty), Some(read), "laid out in another way");
    true
}
