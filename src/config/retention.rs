//! The section `retention`: what becomes of old rows, and how long the service keeps what is its own.

use super::{
    Retention,
    exports::store,
    read::{Sections, is_name},
};
use crate::domain::{
    document::{At, Fields, Node},
    period::{FORM, Period},
    plan::{Reference, read_mask, read_sql},
    retention::{Nulls, Policy, PolicyAction},
    run::Task,
    schedule::Timing,
    sweep::{Periods, Sweep},
};

const POLICY: [&str; 12] = [
    "connection",
    "table",
    "timestamp",
    "older_than",
    "nulls",
    "where",
    "action",
    "children",
    "basis",
    "schedule",
    "time_zone",
    "allow_all",
];
const ACTIONS: &str = "delete, archive, { soft_delete: COLUMN } or { mask: { COLUMN: STRATEGY } }";

impl Sections<'_> {
    pub(super) fn retention(&mut self, root: &Fields<'_>) -> Retention {
        let mut retention = Retention::default();
        let [identities, requests, idempotency_keys, pseudonyms] = Sweep::ALL.map(Sweep::as_str);
        let known = ["policies", "archive", "ledger", identities, requests, idempotency_keys, pseudonyms];
        let Some(fields) = self.section(root, "retention", &known) else { return retention };
        if fields.get("archive").is_some() {
            let folder = self.sources.folder.to_path_buf();
            retention.archive =
                self.value(&fields, "archive", "", |text| store(text, &folder, "a place for archives"));
        }
        retention.periods = Periods {
            identities: self.period(&fields, identities),
            requests: self.period(&fields, requests),
            idempotency_keys: self.period(&fields, idempotency_keys),
            pseudonyms: self.period(&fields, pseudonyms),
        };
        self.check_pseudonyms(&fields, retention.periods);
        retention.ledger = self.period(&fields, "ledger").unwrap_or(retention.ledger);
        let Some(node) = fields.get("policies") else { return retention };
        for (name, node) in self.reader.map(node, "`retention.policies`").unwrap_or_default() {
            if !is_name(&name.value) {
                let problem = format!("`{}` is no name of a policy", name.value);
                self.reader.error(name.line, problem, "use letters, digits, `_` and `-`");
            }
            if let Some((policy, timing)) = self.policy(name, node) {
                let task = Task::Retention(policy.name.clone());
                retention.timings.extend(timing.map(|timing| (task, timing)));
                retention.policies.insert(policy.name.clone(), policy);
            }
        }
        let archives = |policy: &&Policy| policy.action.value == PolicyAction::Archive;
        if let (None, Some(policy)) = (&retention.archive, retention.policies.values().find(archives)) {
            let problem =
                format!("retention policy `{}` archives, and there is no `retention.archive`", policy.name);
            self.reader.error(
                policy.action.line,
                problem,
                "write archive: FOLDER, or archive: s3://BUCKET/PREFIX",
            );
        }
        retention
    }

    /// With a month's key goes whatever else of the month leads to a person: not before its own time.
    fn check_pseudonyms(&mut self, fields: &Fields<'_>, periods: Periods) {
        let Some(pseudonyms) = periods.pseudonyms else { return };
        for longer in [Sweep::Identities, Sweep::Requests] {
            if periods.of(longer).is_some_and(|period| period.is_longer_than(pseudonyms)) {
                let name = longer.as_str();
                let problem = format!("`pseudonyms` is shorter than `{name}`, which it would cut short");
                let remedy = format!("write a period at least as long as `{name}`");
                self.reader.error(fields.line_of("pseudonyms"), problem, remedy);
            }
        }
    }

    fn policy(&mut self, name: &At<String>, node: &Node) -> Option<(Policy, Option<Timing>)> {
        let what = format!("retention policy `{}`", name.value);
        let fields = self.reader.fields(node, &what, &POLICY)?;
        let connection = self.needed(&fields, &what, "connection", "the database that the table lies in");
        let table = self.needed(&fields, &what, "table", "TABLE or SCHEMA.TABLE");
        let table = table.and_then(|table| self.table(table));
        let timestamp = self.needed(&fields, &what, "timestamp", "the column that tells how old a row is");
        let older_than = self.needed(&fields, &what, "older_than", FORM);
        let older_than =
            older_than.and_then(|text| self.checked(text.line, "older_than", period(&text.value)));
        let nulls = match fields.get("nulls") {
            None => Some(None),
            Some(_) => self.value(&fields, "nulls", "keep", |text| match text {
                "keep" => Ok(Some(Nulls::Keep)),
                "old" => Ok(Some(Nulls::Old)),
                _ => Err((format!("`{text}` is no answer"), "write keep or old".to_owned())),
            }),
        };
        let filter = match fields.get("where") {
            None => Some(None),
            Some(node) => read_sql(&mut self.reader, node, "`where`").map(Some),
        };
        let action = self.action(&fields, &what);
        let children = self.children(&fields);
        let basis = self.needed(&fields, &what, "basis", "why that long: an auditor reads it");
        let allow_all = fields.get("allow_all").and_then(|node| self.reader.boolean(node, "`allow_all`"));
        let timing = self.timing(&fields);
        let policy = Policy {
            name: name.value.clone(),
            file: self.reader.file().to_owned(),
            line: name.line,
            connection: connection?,
            table: table?,
            timestamp: timestamp?,
            older_than: older_than?,
            nulls: nulls?,
            filter: filter?,
            action: action?,
            children,
            basis: basis?.value,
            allow_all: allow_all.unwrap_or(false),
        };
        Some((policy, timing))
    }

    fn period(&mut self, fields: &Fields<'_>, key: &str) -> Option<Period> {
        let (line, text) = self.text(fields, key)?;
        self.checked(line, key, period(&text))
    }

    fn needed(&mut self, fields: &Fields<'_>, what: &str, key: &str, remedy: &str) -> Option<At<String>> {
        let found = self.text(fields, key).filter(|(_, text)| !text.trim().is_empty());
        if found.is_none() {
            self.reader.error(fields.line_of(key), format!("{what} has no `{key}`"), remedy);
        }
        found.map(|(line, value)| At { line, value })
    }

    fn table(&mut self, name: At<String>) -> Option<At<Reference>> {
        let reference = Reference::split(&name.value).filter(|name| matches!(name.parts.len(), 1 | 2));
        if reference.is_none() {
            let problem = format!("`{}` is no name of a table", name.value);
            self.reader.error(name.line, problem, "write TABLE or SCHEMA.TABLE");
        }
        reference.map(|value| At { line: name.line, value })
    }

    fn children(&mut self, fields: &Fields<'_>) -> Vec<At<Reference>> {
        let Some(node) = fields.get("children") else { return Vec::new() };
        let items = self.reader.list(node, "`children`").unwrap_or_default();
        let mut children: Vec<At<Reference>> = Vec::new();
        for item in items {
            let Some(text) = self.reader.text(item, "a child table") else { continue };
            let Some(table) = self.table(At { line: item.line, value: text }) else { continue };
            if children.iter().any(|known| known.value == table.value) {
                let problem = format!("`children` names `{}` twice", table.value);
                self.reader.error(item.line, problem, "keep one of the two");
            }
            children.push(table);
        }
        children
    }

    fn action(&mut self, fields: &Fields<'_>, what: &str) -> Option<At<PolicyAction>> {
        let Some(node) = fields.get("action") else {
            self.reader.error(fields.line, format!("{what} has no `action`"), ACTIONS);
            return None;
        };
        let line = node.line;
        let value = match node.as_str() {
            Some("delete") => Some(PolicyAction::Delete),
            Some("archive") => Some(PolicyAction::Archive),
            Some(word) => {
                self.reader.error(line, format!("`{word}` is no action"), ACTIONS);
                None
            }
            None => {
                let parts = self.reader.fields(node, "`action`", &["soft_delete", "mask"])?;
                match (parts.get("soft_delete"), parts.get("mask")) {
                    (Some(column), None) => {
                        self.reader.text(column, "`soft_delete`").map(PolicyAction::SoftDelete)
                    }
                    (None, Some(mask)) => {
                        let columns = read_mask(&mut self.reader, mask, what)?;
                        self.check_mask(&columns);
                        Some(PolicyAction::Mask(columns))
                    }
                    _ => {
                        self.reader.error(line, format!("{what} needs one action"), ACTIONS);
                        None
                    }
                }
            }
        };
        value.map(|value| At { line, value })
    }

    /// Whether a row is masked is told from the row alone.
    fn check_mask(&mut self, columns: &[(At<String>, At<crate::domain::plan::MaskStrategy>)]) {
        use crate::domain::plan::MaskStrategy::{Hash, Hmac, RandomStringRewrite};
        for (name, strategy) in columns {
            if matches!(strategy.value, Hash | Hmac | RandomStringRewrite { .. }) {
                let problem =
                    format!("mask of `{}`: a policy could not tell such a row from one before", name.value);
                let remedy = "use null_rewrite, string_rewrite, or { sql: …, done: … }";
                self.reader.error(strategy.line, problem, remedy);
            }
        }
    }
}

fn period(text: &str) -> Result<Period, (String, String)> {
    text.parse().map_err(|form: &str| (format!("`{text}` is no period"), form.to_owned()))
}
