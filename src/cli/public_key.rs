//! The public keys that a command verifies with: as `rightful keygen` prints them, or files that hold such.

use std::{fs::File, io::Read};

use super::Failure;
use crate::domain::checkpoint::{BadPublicKey, PublicKey};

/// Nobody has more keys than fit in there, and a file that is none is not read to its end.
const MAX_FILE: u64 = 64 * 1024;

/// The keys that these arguments are, or that their files hold, one a line.
pub(super) fn read(arguments: &[String]) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for argument in arguments {
        match argument.parse() {
            Ok(key) => keys.push(key),
            Err(BadPublicKey::Form) if !argument.contains('+') => keys.extend(of_file(argument)?),
            Err(error) => return Err(Failure::new(format!("--key: {error}"))),
        }
    }
    Ok(keys)
}

fn of_file(path: &str) -> Result<Vec<PublicKey>, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map_err(|error| {
        Failure::new(format!("--key: no public key, and the file {path}: {}", error.kind()))
    })?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let keys: Vec<PublicKey> = lines
        .map(str::parse)
        .collect::<Result<_, BadPublicKey>>()
        .map_err(|error| Failure::new(format!("{path}: {error}")))?;
    match keys.is_empty() {
        true => Err(Failure::new(format!("{path} holds no key"))),
        false => Ok(keys),
    }
}
