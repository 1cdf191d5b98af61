//! From nodes to the structs of [`super`]: every fault is collected, none hides the next.

use std::{
    collections::BTreeMap,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Auth, AuthKeys, Backup, Batch, Config, Connection, Cors, MasterKey, Retention, Secret, Secrets, Worker,
    interpolate::Sources,
    values::{self, Wrong},
};
use crate::domain::{
    document::{Document, Fault, Fields, Node, Reader},
    request::Kind,
    run::{Task, TaskKind},
    schedule::Timing,
};

const SECTIONS: [&str; 17] = [
    "listen",
    "store",
    "plans",
    "auth",
    "secrets",
    "connections",
    "cors",
    "approval",
    "webhooks",
    "outbound",
    "exports",
    "retention",
    "schedules",
    "backups",
    "fixtures",
    "evidence",
    "worker",
];

pub(super) fn read(
    path: &Path,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Fault>> {
    let file = path.display().to_string();
    let node = Document::parse(&file, text)?;
    let folder = folder_of(path);
    let sources = Sources { folder: &folder, variable };
    let mut sections = Sections { reader: Reader::new(&file), sources };
    let config = sections.config(path, &node);
    match config {
        Some(config) if !sections.reader.has_errors() => Ok(config),
        _ => Err(sections.reader.into_faults()),
    }
}

/// The folder that relative paths start from, absolute.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf())
}

pub(super) struct Sections<'a> {
    pub(super) reader: Reader,
    pub(super) sources: Sources<'a>,
}

impl Sections<'_> {
    /// `None` where a part is missing that has no default; all its faults are reported.
    fn config(&mut self, path: &Path, node: &Node) -> Option<Config> {
        let fields = self.reader.fields(node, "the configuration", &SECTIONS)?;
        let folder = self.sources.folder.to_path_buf();
        let listen = self.value(&fields, "listen", "127.0.0.1:8080", values::listen);
        let store =
            self.value(&fields, "store", "sqlite:rightful.db", |text| values::store_url(text, &folder));
        let plans = self.value(&fields, "plans", "plans", |text| Ok(folder.join(text)));
        let auth = self.auth(&fields);
        let secrets = self.secrets(&fields);
        let connections = self.connections(&fields);
        let cors = self.cors(&fields);
        let (approval, approval_of_runs) = self.approval(&fields);
        let webhooks = self.webhooks(&fields);
        let private_hosts = self.private_hosts(&fields);
        let exports = self.exports(&fields);
        let retention = self.retention(&fields);
        let backups = self.backups(&fields);
        let schedules = self.schedules(&fields, own_timings(&retention, &backups));
        self.check_handlers(&fields, &schedules, &retention, &backups);
        let fixtures = self.fixtures(&fields);
        let evidence = self.evidence(&fields, &webhooks);
        let worker = self.worker(&fields);
        Some(Config {
            file: path.to_path_buf(),
            listen: listen?,
            store: Secret::new(store?),
            plans: plans?,
            auth: auth?,
            secrets: secrets?,
            connections,
            cors,
            approval,
            approval_of_runs,
            webhooks,
            private_hosts,
            exports: exports?,
            retention,
            schedules,
            backups,
            fixtures: fixtures?,
            evidence,
            worker,
        })
    }

    fn auth(&mut self, root: &Fields<'_>) -> Option<Auth> {
        let fields = self.required_section(
            root,
            "auth",
            &["issuer", "audience", "roles_claim", "keys"],
            "without it nobody could be let in: name issuer, audience and keys",
        )?;
        let issuer = self.required(&fields, "auth", "issuer");
        let audience = self.required(&fields, "auth", "audience");
        let roles_claim = self.value(&fields, "roles_claim", "roles", |text| {
            if text.split('.').any(str::is_empty) {
                return Err(("the path of the roles has an empty part".to_owned(), String::new()));
            }
            Ok(text.to_owned())
        });
        let keys = self.keys(&fields);
        Some(Auth { issuer: issuer?, audience: audience?, roles_claim: roles_claim?, keys: keys? })
    }

    fn keys(&mut self, auth: &Fields<'_>) -> Option<AuthKeys> {
        const KINDS: [&str; 3] = ["jwks_url", "public_key", "hmac_secret"];
        let remedy = "give exactly one of jwks_url, public_key, hmac_secret";
        let fields = self.required_section(auth, "keys", &KINDS, remedy)?;
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.get(kind).is_some()).collect();
        let [kind] = given.as_slice() else {
            let problem = format!("auth.keys holds {} kinds of keys", given.len());
            self.reader.error(fields.line, problem, remedy);
            return None;
        };
        let (line, text) = self.text(&fields, kind)?;
        let keys = match *kind {
            "jwks_url" => values::jwks_url(&text).map(|url| AuthKeys::Jwks { url }),
            "public_key" => values::public_key(text).map(|pem| AuthKeys::PublicKey { pem }),
            _ => values::hmac_secret(text).map(|text| AuthKeys::Hmac { secret: Secret::new(text) }),
        };
        self.checked(line, kind, keys)
    }

    fn secrets(&mut self, root: &Fields<'_>) -> Option<Secrets> {
        let remedy = "without it identities could not be sealed: openssl rand -base64 32";
        let fields = self.required_section(root, "secrets", &["pseudonym_key"], remedy)?;
        if fields.get("pseudonym_key").is_none() {
            self.reader.error(fields.line, "secrets.pseudonym_key is missing", remedy);
            return None;
        }
        let (line, text) = self.text(&fields, "pseudonym_key")?;
        let key = self.checked(line, "pseudonym_key", values::master_key(&text))?;
        Some(Secrets { pseudonym_key: MasterKey::new(key) })
    }

    fn connections(&mut self, root: &Fields<'_>) -> BTreeMap<String, Connection> {
        let mut connections = BTreeMap::new();
        let Some(node) = root.get("connections") else { return connections };
        for (name, node) in self.reader.map(node, "`connections`").unwrap_or_default() {
            let what = format!("connection `{}`", name.value);
            if !is_name(&name.value) {
                let remedy = "use letters, digits, `_` and `-`";
                self.reader.error(name.line, format!("`{}` is no name of a connection", name.value), remedy);
            }
            let Some(fields) = self.reader.fields(node, &what, &["url", "headers", "probe"]) else {
                continue;
            };
            if fields.get("url").is_none() {
                self.reader.error(
                    name.line,
                    format!("{what} has no `url`"),
                    "postgres://, mysql://, sqlite: or https://",
                );
                continue;
            }
            let Some((line, text)) = self.text(&fields, "url") else { continue };
            let url = values::connection_url(&text, self.sources.folder);
            let kind = self.connection_kind(&fields, &what, &text);
            if let Some(url) = self.checked(line, &what, url) {
                connections.insert(name.value.clone(), Connection { url: Secret::new(url), kind, line });
            }
        }
        connections
    }

    fn cors(&mut self, root: &Fields<'_>) -> Cors {
        let mut cors = Cors::default();
        let Some(fields) = self.section(root, "cors", &["origins"]) else { return cors };
        let Some(node) = fields.get("origins") else { return cors };
        for item in self.reader.list(node, "cors.origins").unwrap_or_default() {
            let Some(text) = self.expanded(item, "an origin") else { continue };
            cors.origins.extend(self.checked(item.line, "cors.origins", values::origin(&text)));
        }
        cors
    }

    /// The kinds of request, and of run, that wait for an approver.
    fn approval(&mut self, root: &Fields<'_>) -> (Vec<Kind>, Vec<TaskKind>) {
        const RUNS: [TaskKind; 2] = [TaskKind::Retention, TaskKind::Replay];
        let known: Vec<&str> =
            Kind::ALL.into_iter().map(Kind::as_str).chain(RUNS.into_iter().map(TaskKind::as_str)).collect();
        let Some(fields) = self.section(root, "approval", &known) else { return Default::default() };
        let mut required = Vec::new();
        for name in known.into_iter().filter(|name| fields.get(name).is_some()) {
            let Some((line, text)) = self.text(&fields, name) else { continue };
            match text.as_str() {
                "none" => {}
                "required" => required.push(name),
                _ => self.reader.error(line, format!("approval.{name} is none or required"), "write none"),
            }
        }
        let is_required = |name: &str| required.contains(&name);
        (
            Kind::ALL.into_iter().filter(|kind| is_required(kind.as_str())).collect(),
            RUNS.into_iter().filter(|kind| is_required(kind.as_str())).collect(),
        )
    }

    fn worker(&mut self, root: &Fields<'_>) -> Worker {
        let mut worker = Worker::default();
        let known = ["concurrency", "lease", "max_attempts", "batch"];
        let Some(fields) = self.section(root, "worker", &known) else { return worker };
        self.number(&fields, "concurrency", 1..=256, &mut worker.concurrency);
        self.duration(&fields, "lease", Duration::from_secs(1)..=Duration::from_secs(600), &mut worker.lease);
        self.number(&fields, "max_attempts", 1..=1_000, &mut worker.max_attempts);
        worker.batch = self.batch(&fields);
        // A batch is not started with less than a third of the lease left (DESIGN.md §3).
        if worker.batch.time_target * 3 >= worker.lease {
            self.reader.error(
                fields.line_of("lease"),
                "a batch could outlive its lease: time_target must be less than a third of it",
                "raise worker.lease or lower worker.batch.time_target",
            );
        }
        worker
    }

    fn batch(&mut self, worker: &Fields<'_>) -> Batch {
        let mut batch = Batch::default();
        let known = ["time_target", "min_rows", "max_rows", "pause", "long_pause"];
        let Some(fields) = self.section(worker, "batch", &known) else { return batch };
        let times = Duration::from_millis(10)..=Duration::from_secs(10);
        self.duration(&fields, "time_target", times, &mut batch.time_target);
        self.number(&fields, "max_rows", 1..=100_000, &mut batch.max_rows);
        // A small `max_rows` alone is no fault.
        batch.min_rows = batch.min_rows.min(batch.max_rows);
        self.number(&fields, "min_rows", 1..=100_000, &mut batch.min_rows);
        self.number(&fields, "pause", 0.0..=20.0, &mut batch.pause);
        self.number(&fields, "long_pause", 0.0..=100.0, &mut batch.long_pause);
        if batch.min_rows > batch.max_rows {
            self.reader.error(fields.line_of("min_rows"), "min_rows is larger than max_rows", "swap them");
        }
        batch
    }

    /// A section with defaults: `None` where it is missing or no map.
    pub(super) fn section<'n>(
        &mut self,
        parent: &Fields<'n>,
        name: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let node = parent.get(name)?;
        self.reader.fields(node, &format!("`{name}`"), known)
    }

    fn required_section<'n>(
        &mut self,
        parent: &Fields<'n>,
        name: &str,
        known: &[&str],
        remedy: &str,
    ) -> Option<Fields<'n>> {
        if parent.get(name).is_none() {
            self.reader.error(parent.line_of(name), format!("`{name}` is missing"), remedy);
        }
        self.section(parent, name, known)
    }

    fn required(&mut self, fields: &Fields<'_>, section: &str, key: &str) -> Option<String> {
        let text = match fields.get(key) {
            Some(_) => self.text(fields, key)?.1,
            None => String::new(),
        };
        if text.is_empty() {
            let line = fields.line_of(key);
            self.reader.error(line, format!("{section}.{key} is missing"), "tokens are checked against it");
            return None;
        }
        Some(text)
    }

    /// The expanded text of a field and its line.
    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<(usize, String)> {
        let node = fields.get(key)?;
        Some((node.line, self.expanded(node, &format!("`{key}`"))?))
    }

    pub(super) fn expanded(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.reader.text(node, what)?;
        match self.sources.expand(&text) {
            Ok(text) => Some(text),
            Err(missing) => {
                self.reader.error(node.line, format!("{what}: {}", missing.problem), missing.remedy);
                None
            }
        }
    }

    pub(super) fn value<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        default: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (line, text) = match fields.get(key) {
            Some(_) => self.text(fields, key)?,
            None => (fields.line_of(key), default.to_owned()),
        };
        self.checked(line, key, read(&text))
    }

    fn number<T>(&mut self, fields: &Fields<'_>, key: &str, range: RangeInclusive<T>, into: &mut T)
    where
        T: std::str::FromStr + PartialOrd + Display + Copy,
    {
        let Some((line, text)) = self.text(fields, key) else { return };
        match text.parse::<T>().ok().filter(|number| range.contains(number)) {
            Some(number) => *into = number,
            None => {
                let problem = format!("`{key}` must be a number from {} to {}", range.start(), range.end());
                self.reader.error(line, problem, format!("leave it out for {into}"));
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        range: RangeInclusive<Duration>,
        into: &mut Duration,
    ) {
        let Some((line, text)) = self.text(fields, key) else { return };
        match values::duration(&text) {
            Ok(duration) if range.contains(&duration) => *into = duration,
            Ok(_) => {
                let (from, to) = (values::written(*range.start()), values::written(*range.end()));
                self.reader.error(line, format!("`{key}` must lie between {from} and {to}"), "");
            }
            Err(remedy) => self.reader.error(line, format!("`{key}` is no duration"), remedy),
        }
    }

    pub(super) fn checked<T>(&mut self, line: usize, what: &str, value: Result<T, Wrong>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err((problem, remedy)) => {
                self.reader.error(line, format!("{what}: {problem}"), remedy);
                None
            }
        }
    }
}

/// When policies run and backups are verified, where they say so themselves.
fn own_timings(retention: &Retention, backups: &BTreeMap<String, Backup>) -> Vec<(Task, Timing)> {
    let backups = backups
        .iter()
        .filter_map(|(name, backup)| Some((Task::Backup(name.clone()), backup.schedule.clone()?)));
    retention.timings.iter().cloned().chain(backups).collect()
}

/// Names of connections stand in dotted references, so they hold no dot.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
