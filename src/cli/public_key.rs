//! A public key of the log as an argument: itself, or a file that holds it.

use crate::domain::checkpoint::{BadPublicKey, PublicKey};

/// Reads `--key PUBLIC`.
///
/// # Errors
/// Why it is none, in words for the command line.
pub(super) fn public_key(argument: &str) -> Result<PublicKey, String> {
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
