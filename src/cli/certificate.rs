//! `rightful certificate`: verification of a certificate by whoever was handed it, without configuration and offline.

use std::{
    fs::File,
    io::{Read, stdin},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Outcome, print, public_key::public_keys};
use crate::domain::certificate::{self, Invalid, MAX_SIZE, Verified};

/// Verifies certificates of requests.
#[derive(Debug, Args)]
pub(super) struct Certificate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says what a certificate proves, or which check it fails. Nothing but the log's public key is needed.
    #[command(
        after_help = "Example:\n  rightful certificate verify certificate.json --key shop.example/audit+1a2b3c4d+AYEK…\n  \
                      rightful certificate verify - --key log.pub --json < certificate.json"
    )]
    Verify {
        /// The certificate as JSON; `-`: standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The log's public key, as `rightful keygen` prints it, or a file that holds it. Of several one that signed is enough.
        #[arg(long = "key", value_name = "PUBLIC", required = true)]
        keys: Vec<String>,
        /// Prints `{"ok": …, "failed": CHECK, "detail": …}` and what was proved.
        #[arg(long)]
        json: bool,
    },
}

impl Certificate {
    pub fn run(&self) -> Outcome {
        let Action::Verify { file, keys, json } = &self.action;
        let keys = public_keys(keys);
        let bytes = read(file)?;
        match certificate::verify(&bytes, &keys) {
            Ok(verified) if *json => print(&format!("{}\n", as_json(&verified))),
            Ok(verified) => print(&as_text(&verified)),
            Err(invalid) => {
                if *json {
                    let detail = invalid.to_string();
                    let told = json!({ "ok": false, "failed": invalid.as_str(), "detail": detail });
                    print(&format!("{told}\n"))?;
                }
                Err(refused(invalid))
            }
        }
    }
}

fn refused(invalid: Invalid) -> Failure {
    Failure::new(format!("the certificate does not hold: {invalid}"))
}

/// One byte more than is allowed, so that it shows.
fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let most = MAX_SIZE as u64 + 1;
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => stdin().take(most).read_to_end(&mut bytes),
        _ => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::new(format!("{}: {}", path.display(), error.kind())))?;
    Ok(bytes)
}

fn as_json(verified: &Verified) -> serde_json::Value {
    let statement = &verified.certificate.statement;
    json!({
        "ok": true, "failed": null, "detail": null,
        "request_id": statement.request_id, "kind": statement.kind, "status": statement.status,
        "outcome": statement.outcome, "finished_at": statement.finished_at,
        "log": { "origin": verified.origin, "index": verified.index, "size": verified.size },
    })
}

fn as_text(verified: &Verified) -> String {
    let statement = &verified.certificate.statement;
    let mut text = format!(
        "certified: {} {} is {} ({}), since {}\n  plan {} {}\n",
        statement.kind.as_str(),
        statement.request_id,
        statement.status.as_str(),
        statement.outcome.as_str(),
        statement.finished_at,
        shown(&statement.plan.name),
        shown(&statement.plan.version),
    );
    for step in &statement.steps {
        let done = match step.by_hand.as_ref().and_then(|by_hand| by_hand.result) {
            Some(result) => result.as_str().to_owned(),
            None => format!("{} rows done, {} withheld", step.rows.affected, step.rows.withheld),
        };
        let basis = step.basis.as_deref().map(|basis| format!(", {}", shown(basis))).unwrap_or_default();
        let (name, action) = (shown(&step.name), shown(&step.action));
        text += &format!("  {name} {action} {}: {done}{basis}\n", step.status.as_str());
    }
    text + &format!(
        "proved by entry {} of the {} in the log {}\n",
        verified.index,
        verified.size,
        shown(&verified.origin)
    )
}

/// A text from the certificate must not move the cursor of whoever looks at it.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
