//! The section `evidence`: who signs checkpoints of the audit log, and where they are published.

use std::collections::BTreeMap;

use super::{
    Evidence, EvidencePlace, EvidenceSink, ExportStore, Webhook, read::Sections, secret::Secret,
    values::Wrong,
};
use crate::domain::{
    checkpoint::{SigningKey, is_origin},
    document::{Fields, Node, suggest},
};

const KEY: &str = "`rightful keygen` writes one: key: ${file:secrets/evidence_key}";
const PLACE: &str = "write { file: PATH }, { store: FOLDER or s3://BUCKET/PREFIX } or { webhook: NAME }";

impl Sections<'_> {
    pub(super) fn evidence(&mut self, root: &Fields<'_>, webhooks: &BTreeMap<String, Webhook>) -> Evidence {
        let mut evidence = Evidence::default();
        let Some(fields) = self.section(root, "evidence", &["key", "origin", "sinks"]) else {
            return evidence;
        };
        let Some(node) = fields.get("key") else {
            self.reader.error(fields.line, "evidence.key is missing", KEY);
            return evidence;
        };
        let origin = self.text(&fields, "origin");
        evidence.origin = origin
            .and_then(|(line, text)| self.checked(line, "evidence.origin", checked_origin(text)))
            .unwrap_or_default();
        // One, or while they change several.
        for node in node.as_list().unwrap_or(std::slice::from_ref(node)) {
            self.signing_key(node, &mut evidence);
        }
        let Some(node) = fields.get("sinks") else { return evidence };
        for node in self.reader.list(node, "evidence.sinks").unwrap_or_default() {
            let Some(sink) = self.sink(node, webhooks) else { continue };
            if evidence.sinks.iter().any(|other| other.name == sink.name) {
                self.reader.error(node.line, "evidence.sinks has this place twice", "keep one of the two");
            }
            evidence.sinks.push(sink);
        }
        evidence
    }

    /// Without an `origin` that of the first key is the log's. The others have the same, or nobody could tell which log
    /// they speak of.
    fn signing_key(&mut self, node: &Node, evidence: &mut Evidence) {
        let Some(text) = self.expanded(node, "evidence.key") else { return };
        let key = SigningKey::parse(&text).map_err(|error| (error.to_string(), KEY.to_owned()));
        let Some(key) = self.checked(node.line, "evidence.key", key) else { return };
        if evidence.origin.is_empty() {
            key.name().clone_into(&mut evidence.origin);
        }
        if key.name() != evidence.origin {
            let problem = format!("evidence.key is a key of `{}`, not of `{}`", key.name(), evidence.origin);
            self.reader.error(
                node.line,
                problem,
                "a log keeps its origin, and its keys have it as their name",
            );
        }
        evidence.keys.push(Secret::new(text));
    }

    fn sink(&mut self, node: &Node, webhooks: &BTreeMap<String, Webhook>) -> Option<EvidenceSink> {
        const KINDS: [&str; 3] = ["file", "store", "webhook"];
        let fields = self.reader.fields(node, "a sink of evidence", &["file", "store", "s3", "webhook"])?;
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.get(kind).is_some()).collect();
        let [kind] = given.as_slice() else {
            self.reader.error(node.line, "a sink of evidence is one place", PLACE);
            return None;
        };
        let (line, text) = self.text(&fields, kind)?;
        let place = match *kind {
            "file" => EvidencePlace::File(self.sources.folder.join(&text)),
            "store" => EvidencePlace::Store(self.object_store(&fields, "", "a place for checkpoints")?),
            _ if webhooks.contains_key(&text) => EvidencePlace::Webhook(text),
            _ => {
                let problem = format!("evidence.sinks: there is no webhook `{text}`");
                self.reader.error(line, problem, suggest(&text, webhooks.keys().map(String::as_str)));
                return None;
            }
        };
        let name = match &place {
            EvidencePlace::File(path) | EvidencePlace::Store(ExportStore::Folder(path)) => {
                format!("{kind}:{}", path.display())
            }
            EvidencePlace::Store(ExportStore::Bucket { name, prefix, .. }) => {
                format!("{kind}:s3://{name}/{prefix}")
            }
            EvidencePlace::Webhook(name) => format!("{kind}:{name}"),
        };
        Some(EvidenceSink { name, place })
    }
}

fn checked_origin(text: String) -> Result<String, Wrong> {
    match is_origin(&text) {
        true => Ok(text),
        false => {
            Err((format!("`{text}` is no origin"), "no spaces and no +: rightful.example/audit".to_owned()))
        }
    }
}
