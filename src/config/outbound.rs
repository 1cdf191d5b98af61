//! The sections about calls to others: `webhooks` and `outbound`.

use std::collections::BTreeMap;

use super::{
    Webhook,
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

    /// Hosts that may lead to private addresses.
    pub(super) fn private_hosts(&mut self, root: &Fields<'_>) -> Vec<String> {
        let Some(fields) = self.section(root, "outbound", &["private_hosts"]) else { return Vec::new() };
        let Some(node) = fields.get("private_hosts") else { return Vec::new() };
        let items = self.reader.list(node, "outbound.private_hosts").unwrap_or_default();
        items.iter().filter_map(|item| self.expanded(item, "a host")).collect()
    }
}
