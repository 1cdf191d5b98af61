//! Public keys of the log as arguments: themselves, or files that hold one each.

use super::wrong_usage;
use crate::domain::checkpoint::{BadPublicKey, PublicKey};

/// Reads what was given as `--key PUBLIC`, or ends the process as wrong usage. What was given is not shown: it may be a
/// private key.
pub(super) fn public_keys(arguments: &[String]) -> Vec<PublicKey> {
    let read =
        |argument: &String| public_key(argument).unwrap_or_else(|why| wrong_usage(&format!("--key: {why}")));
    arguments.iter().map(read).collect()
}

fn public_key(argument: &str) -> Result<PublicKey, String> {
    let fault = match argument.parse() {
        Ok(key) => return Ok(key),
        Err(BadPublicKey::Private) => return Err(BadPublicKey::Private.to_string()),
        Err(fault) => fault,
    };
    match std::fs::read_to_string(argument) {
        Ok(text) => text.parse().map_err(|fault: BadPublicKey| format!("the key in that file: {fault}")),
        Err(_) => Err(format!("{fault}; nor is there a file of that name that holds one")),
    }
}
