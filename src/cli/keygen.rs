//! `rightful keygen`: a pair of keys for the checkpoints of the audit log.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Failure, Outcome, init, print};
use crate::domain::checkpoint::{NewKey, is_origin};

/// Makes a key that signs checkpoints of the audit log, and prints the public one that verifies them.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rightful keygen rightful.example/audit --out secrets/evidence_key\n\nGive the public key to \
                  whoever is to verify the log. Two keys may sign while one follows the other."
)]
pub(super) struct KeyGen {
    /// The log's origin: a name that no other log has, such as a host of yours and a word.
    #[arg(value_name = "ORIGIN", value_parser = parse_origin)]
    origin: String,

    /// The file to write the signing key to (mode 0600), which must not exist; otherwise it is printed, as the first line.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Prints `{"public_key": …, "private_key": …}`, the latter without --out only.
    #[arg(long)]
    json: bool,
}

impl KeyGen {
    pub fn run(&self) -> Outcome {
        let NewKey { private, public } = NewKey::generate(&self.origin)
            .map_err(|_| Failure::new("the operating system gives no random bytes"))?;
        if let Some(path) = &self.out {
            init::write_secret(path, &private)?;
        }
        let shown = self.out.is_none().then_some(private);
        if self.json {
            let mut keys = json!({ "public_key": public });
            if let Some(private) = shown {
                keys["private_key"] = private.into();
            }
            return print(&format!("{keys}\n"));
        }
        print(&shown.into_iter().chain([public]).map(|key| key + "\n").collect::<String>())
    }
}

fn parse_origin(text: &str) -> Result<String, String> {
    match is_origin(text) {
        true => Ok(text.to_owned()),
        false => Err("an origin has no spaces and no +: rightful.example/audit".to_owned()),
    }
}
