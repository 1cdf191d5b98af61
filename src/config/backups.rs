//! The section `backups`: where backups lie and what makes one good.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    ExportStore, Secret,
    read::{Sections, is_name},
    values,
};
use crate::domain::{
    backup::{Identity, Tables},
    document::{Fields, Node},
    schedule::Timing,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Of a file or an object, unless the configuration says otherwise: a daily backup, and two hours to make it.
const MAX_AGE: Duration = Duration::from_secs(26 * 3_600);
const TIMEOUT: Duration = HOUR;

/// A backup that somebody else makes and this service verifies.
#[derive(Debug, Clone)]
pub struct Backup {
    pub kind: BackupKind,
    pub max_age: Option<Duration>,
    /// Bytes.
    pub min_size: Option<i64>,
    /// A file `NAME.sha256` lies beside it.
    pub has_checksum: bool,
    pub retention_days: Option<i32>,
    /// The key that opens it, where it is encrypted in the age format.
    pub identity: Option<Secret>,
    pub restore: Option<Restore>,
    /// Of a whole verification.
    pub timeout: Duration,
    /// When it is verified by itself, as it is written.
    pub schedule: Option<Timing>,
}

#[derive(Debug, Clone)]
pub enum BackupKind {
    /// A pattern, absolute.
    File(String),
    ObjectStore {
        store: ExportStore,
        prefix: String,
    },
    /// Program and arguments, and the folder that it runs in.
    Command {
        argv: Vec<String>,
        folder: PathBuf,
    },
}

/// How restorability is proven, and the least rows by table.
#[derive(Debug, Clone)]
pub struct Restore {
    pub into: RestoreInto,
    pub tables: Tables,
}

#[derive(Debug, Clone)]
pub enum RestoreInto {
    Sqlite,
    /// `postgres://…` of a server where databases may be created and dropped; may hold a password.
    Postgres(Secret),
}

/// What all kinds have, what files and objects have beside it, and what one kind has.
const COMMON: [&str; 7] =
    ["kind", "max_age", "min_size", "retention_days", "timeout", "schedule", "time_zone"];
const STORED: [&str; 6] = ["checksum", "encrypted", "identity", "restore", "scratch", "tables"];
const KINDS: [(&str, &[&str]); 3] =
    [("file", &["path"]), ("object_store", &["store", "prefix", "s3"]), ("command", &["command"])];

impl Sections<'_> {
    pub(super) fn backups(&mut self, root: &Fields<'_>) -> BTreeMap<String, Backup> {
        let mut backups = BTreeMap::new();
        let Some(node) = root.get("backups") else { return backups };
        for (name, node) in self.reader.map(node, "`backups`").unwrap_or_default() {
            if !is_name(&name.value) {
                let remedy = "use letters, digits, `_` and `-`";
                self.reader.error(name.line, format!("`{}` is no name of a backup", name.value), remedy);
            }
            let what = format!("backup `{}`", name.value);
            if let Some(backup) = self.backup(name.line, node, &what) {
                backups.insert(name.value.clone(), backup);
            }
        }
        backups
    }

    fn backup(&mut self, line: usize, node: &Node, what: &str) -> Option<Backup> {
        let all: Vec<&str> = COMMON
            .into_iter()
            .chain(STORED)
            .chain(KINDS.iter().flat_map(|(_, keys)| *keys).copied())
            .collect();
        let fields = self.reader.fields(node, what, &all)?;
        let remedy = "write file, object_store or command";
        let Some((kind_line, kind)) = self.text(&fields, "kind") else {
            if !fields.has("kind") {
                self.reader.error(line, format!("{what} has no `kind`"), remedy);
            }
            return None;
        };
        let Some((_, own)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            self.reader.error(kind_line, format!("{what}: `{kind}` is no kind of backup"), remedy);
            return None;
        };
        let is_stored = kind != "command";
        for key in all.into_iter().filter(|key| fields.has(key)) {
            let fits = COMMON.contains(&key) || own.contains(&key) || (is_stored && STORED.contains(&key));
            if !fits {
                let problem = format!("{what}: `{key}` means nothing for kind {kind}");
                self.reader.error(fields.line_of(key), problem, "take it out");
            }
        }
        let kind = self.backup_kind(&fields, &kind, what);
        let max_age = match fields.has("max_age") || is_stored {
            true => {
                let mut max_age = MAX_AGE;
                self.duration(&fields, "max_age", HOUR / 60..=HOUR * 24 * 366, &mut max_age);
                Some(max_age)
            }
            false => None,
        };
        let mut timeout = TIMEOUT;
        self.duration(&fields, "timeout", Duration::from_secs(1)..=HOUR * 24, &mut timeout);
        let min_size = self.text(&fields, "min_size");
        let min_size = min_size.and_then(|(line, text)| self.checked(line, "min_size", values::size(&text)));
        let retention_days = self.days(&fields, 1..=36_600);
        let identity = self.backup_identity(&fields, what);
        let has_checksum = self.word(&fields, "checksum", &["sha256"], what).is_some();
        let restore = self.restore(&fields, what);
        let schedule = self.timing(&fields);
        Some(Backup {
            kind: kind?,
            max_age,
            min_size: min_size.or(is_stored.then_some(1)),
            has_checksum,
            retention_days,
            identity,
            restore,
            timeout,
            schedule,
        })
    }

    fn backup_kind(&mut self, fields: &Fields<'_>, kind: &str, what: &str) -> Option<BackupKind> {
        let folder = self.sources.folder.to_path_buf();
        let needed = match kind {
            "file" => "path",
            "object_store" => "store",
            _ => "command",
        };
        if fields.get(needed).is_none() {
            let remedy = match needed {
                "path" => "such as path: /var/backups/shop-*.dump",
                "store" => "write a folder, or s3://BUCKET/PREFIX",
                _ => "such as command: [/usr/local/bin/backup-status, --json]",
            };
            self.reader.error(fields.line, format!("{what} has no `{needed}`"), remedy);
            return None;
        }
        match kind {
            "file" => {
                let (line, text) = self.text(fields, "path")?;
                let pattern = match Path::new(&text).is_absolute() {
                    true => text,
                    // The folder itself is no pattern.
                    false => format!("{}/{text}", glob::Pattern::escape(&folder.display().to_string())),
                };
                if let Err(error) = glob::Pattern::new(&pattern) {
                    let remedy = "`*` and `?` stand for anything within a name, `**` for any folders";
                    self.reader.error(line, format!("{what}: path is no pattern: {}", error.msg), remedy);
                }
                Some(BackupKind::File(pattern))
            }
            "object_store" => {
                let store = self.object_store(fields, what, "a place for backups")?;
                let prefix = self.text(fields, "prefix").map(|(_, text)| text).unwrap_or_default();
                Some(BackupKind::ObjectStore { store, prefix })
            }
            _ => {
                let node = fields.get("command")?;
                let parts = self.reader.list(node, &format!("`command` of {what}"))?;
                let mut argv: Vec<String> =
                    parts.iter().filter_map(|part| self.expanded(part, "a part of `command`")).collect();
                let Some(program) = argv.first_mut().filter(|program| !program.is_empty()) else {
                    let remedy = "such as command: [/usr/local/bin/backup-status, --json]";
                    self.reader.error(node.line, format!("{what}: `command` names no program"), remedy);
                    return None;
                };
                // One with a folder is a path, and relative ones start where all do; others are looked for in PATH.
                if program.contains('/') {
                    *program = folder.join(&*program).display().to_string();
                }
                Some(BackupKind::Command { argv, folder })
            }
        }
    }

    fn backup_identity(&mut self, fields: &Fields<'_>, what: &str) -> Option<Secret> {
        let is_encrypted = self.word(fields, "encrypted", &["age"], what).is_some();
        match (is_encrypted, self.text(fields, "identity")) {
            (true, Some((line, text))) => {
                if Identity::parse(&text).is_none() {
                    let remedy = "a file of age-keygen: identity: ${file:secrets/backup.key}";
                    self.reader.error(line, format!("{what}: identity is no AGE-SECRET-KEY-1…"), remedy);
                }
                Some(Secret::new(text))
            }
            (true, None) if !fields.has("identity") => {
                let remedy = "name the key that opens it: identity: ${file:secrets/backup.key}";
                self.reader.error(fields.line_of("encrypted"), format!("{what} has no `identity`"), remedy);
                None
            }
            (false, Some((line, _))) if !fields.has("encrypted") => {
                let remedy = "write encrypted: age, or take it out";
                self.reader.error(line, format!("{what} has an identity and is not encrypted"), remedy);
                None
            }
            _ => None,
        }
    }

    fn restore(&mut self, fields: &Fields<'_>, what: &str) -> Option<Restore> {
        let into = self.word(fields, "restore", &["sqlite", "postgres"], what);
        let tables = self.least_rows(fields, what);
        let Some(into) = into else {
            for key in
                ["tables", "scratch"].into_iter().filter(|key| fields.has(key) && !fields.has("restore"))
            {
                let problem = format!("{what}: `{key}` belongs to a restore test");
                self.reader.error(fields.line_of(key), problem, "write restore: sqlite or restore: postgres");
            }
            return None;
        };
        if tables.values().all(|least| *least == 0) {
            let problem = format!("{what}: nothing says which rows its restore has to bring back");
            let remedy = "name tables with the least rows of each: tables: { users: 1, orders: 1 }";
            self.reader.error(fields.line_of("restore"), problem, remedy);
        }
        let scratch = self.text(fields, "scratch");
        let into = match (into, scratch) {
            ("sqlite", None) => RestoreInto::Sqlite,
            ("sqlite", Some((line, _))) => {
                let remedy = "take it out: a SQLite backup is opened as a private copy";
                self.reader.error(line, format!("{what}: `scratch` belongs to restore: postgres"), remedy);
                return None;
            }
            (_, Some((line, text))) => {
                let url = values::connection_url(&text, self.sources.folder);
                let url = self.checked(line, "scratch", url)?;
                if !url.starts_with("postgres://") {
                    let remedy = "write postgres://USER@HOST/DATABASE";
                    self.reader.error(line, format!("{what}: `scratch` is no PostgreSQL"), remedy);
                }
                RestoreInto::Postgres(Secret::new(url))
            }
            (_, None) => {
                if !fields.has("scratch") {
                    let problem = format!("{what} has no `scratch`");
                    let remedy = "postgres:// of a server where a database may be created and dropped again";
                    self.reader.error(fields.line_of("restore"), problem, remedy);
                }
                return None;
            }
        };
        Some(Restore { into, tables })
    }

    fn least_rows(&mut self, fields: &Fields<'_>, what: &str) -> Tables {
        let mut tables = Tables::new();
        let Some(node) = fields.get("tables") else { return tables };
        for (table, node) in self.reader.map(node, &format!("`tables` of {what}")).unwrap_or_default() {
            let Some(text) = self.expanded(node, &format!("`{}`", table.value)) else { continue };
            match text.parse::<i64>().ok().filter(|least| *least >= 0) {
                Some(least) => {
                    tables.insert(table.value.clone(), least);
                }
                None => {
                    let problem = format!("{what}: the least rows of `{}` are no number", table.value);
                    self.reader.error(node.line, problem, "such as tables: { users: 1 }");
                }
            }
        }
        tables
    }

    fn days(&mut self, fields: &Fields<'_>, range: RangeInclusive<i32>) -> Option<i32> {
        let (line, text) = self.text(fields, "retention_days")?;
        let days = text.parse().ok().filter(|days| range.contains(days));
        if days.is_none() {
            let problem =
                format!("`retention_days` must be a number from {} to {}", range.start(), range.end());
            self.reader.error(line, problem, "how long backups are kept, in days");
        }
        days
    }

    /// One of a few words; `None` where it is left out or wrong.
    fn word(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        words: &[&'static str],
        what: &str,
    ) -> Option<&'static str> {
        let (line, text) = self.text(fields, key)?;
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            self.reader.error(line, format!("{what}: `{key}` is {}", words.join(" or ")), "or leave it out");
        }
        found
    }
}
