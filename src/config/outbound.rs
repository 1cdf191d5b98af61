//! The parts about calls to others: `webhooks`, `outbound`, and what an HTTP connection has beside its URL.

use std::collections::BTreeMap;

use super::{
    ConnectionKind, Webhook,
    read::{Sections, is_name},
    secret::Secret,
    values,
};
use crate::domain::document::Fields;

impl Sections<'_> {
    pub(super) fn webhooks(&mut self, root: &Fields<'_>) -> BTreeMap<String, Webhook> {
        let mut webhooks = BTreeMap::new();
        let Some(node) = root.get("webhooks") else { return webhooks };
        for (name, node) in self.reader.map(node, "`webhooks`").unwrap_or_default() {
            let what = format!("webhook `{}`", name.value);
            if !is_name(&name.value) {
                let remedy = "use letters, digits, `_` and `-`";
                self.reader.error(name.line, format!("`{}` is no name of a webhook", name.value), remedy);
            }
            let Some(fields) = self.reader.fields(node, &what, &["url", "secret"]) else { continue };
            for key in ["url", "secret"] {
                if fields.get(key).is_none() {
                    self.reader.error(name.line, format!("{what} has no `{key}`"), "give it url and secret");
                }
            }
            let url = self.text(&fields, "url");
            let url = url.and_then(|(line, text)| self.checked(line, &what, values::webhook_url(&text)));
            let secret = self.text(&fields, "secret");
            let secret =
                secret.and_then(|(line, text)| self.checked(line, &what, values::webhook_secret(text)));
            if let (Some(url), Some(secret)) = (url, secret) {
                webhooks.insert(name.value.clone(), Webhook { url, secret: Secret::new(secret) });
            }
        }
        webhooks
    }

    /// What a connection is, by its URL.
    pub(super) fn connection_kind(&mut self, fields: &Fields<'_>, what: &str, url: &str) -> ConnectionKind {
        if !values::is_service(url) {
            for key in ["headers", "probe"].into_iter().filter(|key| fields.has(key)) {
                let problem = format!("{what}: `{key}` belongs to HTTP services, and this is a database");
                self.reader.error(fields.line_of(key), problem, "take it out");
            }
            return ConnectionKind::Database;
        }
        let mut headers: Vec<(String, Secret)> = Vec::new();
        let node = fields.get("headers");
        let pairs = node.and_then(|node| self.reader.map(node, &format!("`headers` of {what}")));
        for (name, node) in pairs.unwrap_or_default() {
            let Some(value) = self.expanded(node, &format!("header `{}`", name.value)) else { continue };
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name.value)) {
                let problem = format!("{what} has the header `{}` twice", name.value);
                self.reader.error(name.line, problem, "keep one of the two");
            }
            if self.checked(name.line, what, values::header(&name.value, &value)).is_some() {
                headers.push((name.value.clone(), Secret::new(value)));
            }
        }
        let probe = self.text(fields, "probe");
        let probe = probe.and_then(|(line, text)| self.checked(line, what, values::probe(&text)));
        ConnectionKind::Service { headers, probe }
    }

    /// Hosts that may lead to private addresses.
    pub(super) fn private_hosts(&mut self, root: &Fields<'_>) -> Vec<String> {
        let Some(fields) = self.section(root, "outbound", &["private_hosts"]) else { return Vec::new() };
        let Some(node) = fields.get("private_hosts") else { return Vec::new() };
        let items = self.reader.list(node, "outbound.private_hosts").unwrap_or_default();
        items.iter().filter_map(|item| self.expanded(item, "a host")).collect()
    }
}
