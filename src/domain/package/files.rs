//! Files of a package: their names, sizes and hashes.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::manifest::FilePart;
use crate::domain::audit::hex;

/// What stands for itself in a file name on every system.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// `tables/shop.comments~replies.json`: a step's name as a file name. No two are the same, also where a file system does
/// not tell small letters from capitals: then a number follows.
pub(super) fn file_name(step: &str, ending: &str, taken: &[FilePart]) -> String {
    let name: Vec<String> =
        step.split('/').map(|part| utf8_percent_encode(part, UNSAFE).to_string()).collect();
    let name = format!("tables/{}", name.join("~"));
    let is_free = |file: &String| !taken.iter().any(|part| part.file.eq_ignore_ascii_case(file));
    let plain = std::iter::once(format!("{name}.{ending}"));
    plain.chain((2..).map(|number| format!("{name}~{number}.{ending}"))).find(is_free).unwrap_or_default()
}

/// Counts and hashes what is written.
pub(super) struct Measured {
    bytes: u64,
    hash: Context,
}

impl Default for Measured {
    fn default() -> Self {
        Self { bytes: 0, hash: Context::new(&SHA256) }
    }
}

impl Measured {
    pub(super) fn write(&mut self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
        out.write_all(bytes)
    }

    /// Size in bytes, and SHA-256 in hex.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex(self.hash.finish().as_ref()))
    }
}
