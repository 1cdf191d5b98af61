//! `rightful audit verify`: the configured store, a copy of one, or an export, held against checkpoints from elsewhere.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    super::{Failure, Outcome, load, print, public_key::public_keys, run_async, wrong_usage},
    record::Record,
};
use crate::{
    config::Config,
    domain::{
        audit::verify::{Broken, Fault},
        checkpoint::{self, PublicKey, SigningKey, TreeHead},
    },
    http::VerificationBody,
    service::{
        audit::{
            Verification,
            offline::{self, verify_export},
            verification::{Anchors, Keys, Signatures, Verified, verify_against},
        },
        audit_readings::Reading,
    },
    store::Store,
};

const NO_KEY: &str = "a checkpoint is verified by the key that has signed it: add --key PUBLIC, the key that `rightful \
                      keygen` printed, or a file that holds it";
const BOTH: &str = "--export is read without a store: leave --store out";

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A checkpoint that was kept elsewhere; may be repeated.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,

    /// A public key of the log, or a file that holds it; repeated for all that there ever were. Of the configured store
    /// those of `evidence.key` otherwise.
    #[arg(long = "key", value_name = "PUBLIC")]
    keys: Vec<String>,

    /// An export of the whole log in NDJSON instead of a store; no configuration is needed.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,

    /// Prints what `GET /v1/audit/verify` answers.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(&self, config: &Path, store: Option<&str>) -> Outcome {
        let keys = public_keys(&self.keys);
        let of_store = |present| if keys.is_empty() { present } else { Keys::All(keys.clone()) };
        match (&self.export, store) {
            (Some(_), Some(_)) => wrong_usage(BOTH),
            (Some(export), None) => self.export(export, &keys),
            (None, Some(url)) => self.store(Record::copy(url), of_store(Keys::Unknown)),
            (None, None) => {
                let config = load(config)?;
                self.store(Record::configured(config.store.expose()), of_store(present_keys(&config)))
            }
        }
    }

    fn store(&self, opened: impl Future<Output = Result<(Store, Record), Failure>>, keys: Keys) -> Outcome {
        let checkpoints = match &keys {
            Keys::Unknown => self.opened(&[])?,
            Keys::Present(keys) | Keys::All(keys) => self.opened(keys)?,
        };
        let anchors = Anchors { keys, checkpoints };
        let verification = run_async(async {
            let (store, record) = opened.await?;
            let verification = verify_against(&store, &anchors).await.map_err(Failure::new)?;
            record.put(Reading::Verified(&verification)).await;
            Ok(verification)
        })?;
        let (shown, broken) = match &verification {
            Verification::Intact(found) => (text(found), None),
            Verification::Broken(broken) => (String::new(), Some(failure(broken, ""))),
        };
        let body = json!(VerificationBody::of(verification));
        self.tell(&shown, &body, broken)
    }

    fn export(&self, file: &Path, keys: &[PublicKey]) -> Outcome {
        let checkpoints = self.opened(keys)?;
        let verification = verify_export(file, &checkpoints);
        let verification =
            verification.map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let signatures = if checkpoints.is_empty() { Signatures::NotChecked } else { Signatures::Checked };
        match verification {
            offline::Verification::Intact(found) => {
                let size = found.tree.size;
                let body = json!({
                    "ok": true, "events": found.events, "head": null, "tree_size": size,
                    "root": found.tree.root_text(), "waiting": found.waiting,
                    "checkpoints": checkpoints.len(), "signatures": signatures.as_str(), "broken": null,
                });
                let shown = format!(
                    "intact: {} events, tree size {size}, root {}\n{}",
                    found.events,
                    found.tree.root_text(),
                    agreeing(checkpoints.len() as u64, signatures, found.waiting)
                );
                self.tell(&shown, &body, None)
            }
            offline::Verification::Broken(broken) => {
                let hint = match broken.reason {
                    Fault::SequenceGap | Fault::LeafGap => {
                        " (only an export of the whole log can be verified)"
                    }
                    _ => "",
                };
                let failure = failure(&broken, hint);
                let body = json!(VerificationBody::of(Verification::Broken(broken)));
                self.tell("", &body, Some(failure))
            }
        }
    }

    /// The answer, and the failure where there is one.
    fn tell(&self, text: &str, body: &serde_json::Value, broken: Option<Failure>) -> Outcome {
        if self.json {
            print(&format!("{body}\n"))?;
        } else if broken.is_none() {
            print(text)?;
        }
        broken.map_or(Ok(()), Err)
    }

    /// What the given checkpoints say.
    fn opened(&self, keys: &[PublicKey]) -> Result<Vec<TreeHead>, Failure> {
        if keys.is_empty() && !self.checkpoints.is_empty() {
            wrong_usage(NO_KEY);
        }
        let open = |path: &PathBuf| {
            let failure = |why: &dyn std::fmt::Display| Failure::new(format!("{}: {why}", path.display()));
            let note = std::fs::read_to_string(path).map_err(|error| failure(&error.kind()))?;
            checkpoint::open(&note, keys).map_err(|fault| failure(&fault))
        };
        self.checkpoints.iter().map(open).collect()
    }
}

fn present_keys(config: &Config) -> Keys {
    let keys = config.evidence.keys.iter().filter_map(|key| SigningKey::parse(key.expose()).ok());
    let keys: Vec<PublicKey> = keys.map(|key| key.public().clone()).collect();
    if keys.is_empty() { Keys::Unknown } else { Keys::Present(keys) }
}

fn text(found: &Verified) -> String {
    format!(
        "intact: {} events, head {}, tree size {}, root {}\n{}",
        found.events,
        found.head,
        found.tree.size,
        found.tree.root_text(),
        agreeing(found.checkpoints, found.signatures, found.waiting)
    )
}

fn agreeing(checkpoints: u64, signatures: Signatures, waiting: u64) -> String {
    let signatures = match signatures {
        _ if checkpoints == 0 => "",
        Signatures::Checked => "; signatures checked",
        Signatures::PartlyChecked => {
            "; signatures checked from the first on that the present keys have signed: add --key PUBLIC for each older key"
        }
        Signatures::NotChecked => "; signatures NOT checked: add --key PUBLIC",
    };
    let waiting = match waiting {
        0 => String::new(),
        waiting => format!("events that wait for their entry: {waiting}\n"),
    };
    format!("checkpoints that agree: {checkpoints}{signatures}\n{waiting}")
}

fn failure(broken: &Broken, hint: &str) -> Failure {
    let event = match (&broken.stream, broken.seq) {
        (Some(stream), Some(seq)) => format!(" in stream {stream} at event {seq}"),
        _ => String::new(),
    };
    let entry = broken.index.map(|index| format!(" at entry {index}")).unwrap_or_default();
    Failure::new(format!("the log is broken{event}{entry}: {}{hint}", broken.reason.as_text()))
}
