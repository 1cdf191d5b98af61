//! Backups: what a verification expects of one, and what it found. Nothing that is not known is ever ok.

use std::{collections::BTreeMap, io::Read, str::FromStr};

use age::{DecryptError, Decryptor, stream::StreamReader, x25519};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::audit::{EventName, NewEvent, timestamp};

/// How far the clocks of two machines may lie apart.
const SLACK: TimeDelta = TimeDelta::seconds(60);
/// The longest text that is taken from a command, in characters.
const LONGEST_TEXT: usize = 500;

/// Why a backup is not ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    NeverVerified,
    NotFound,
    Unreadable,
    TooOld,
    InFuture,
    TooSmall,
    Checksum,
    Encryption,
    /// Truncated, or not what it should be.
    Damaged,
    /// Too few rows in a table, or no such table.
    Rows,
    ToolMissing,
    /// The scratch database cannot be had, or not be dropped.
    Scratch,
    Timeout,
    /// The command said so, or did not say.
    Command,
}

impl Reason {
    pub const ALL: [Self; 14] = [
        Self::NeverVerified,
        Self::NotFound,
        Self::Unreadable,
        Self::TooOld,
        Self::InFuture,
        Self::TooSmall,
        Self::Checksum,
        Self::Encryption,
        Self::Damaged,
        Self::Rows,
        Self::ToolMissing,
        Self::Scratch,
        Self::Timeout,
        Self::Command,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverVerified => "never_verified",
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::TooOld => "too_old",
            Self::InFuture => "in_future",
            Self::TooSmall => "too_small",
            Self::Checksum => "checksum",
            Self::Encryption => "encryption",
            Self::Damaged => "damaged",
            Self::Rows => "rows",
            Self::ToolMissing => "tool_missing",
            Self::Scratch => "scratch",
            Self::Timeout => "timeout",
            Self::Command => "command",
        }
    }
}

/// One thing that is wrong with a backup. The text never holds a row's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub reason: Reason,
    pub detail: String,
}

impl Flaw {
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What the newest backup must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub max_age: Option<TimeDelta>,
    /// Bytes.
    pub min_size: Option<i64>,
    /// How long backups are kept, as its keeper says.
    pub retention_days: Option<i32>,
}

/// Rows by table.
pub type Tables = BTreeMap<String, i64>;

/// What was found out about a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// When the newest backup was made.
    pub last_success: Option<DateTime<Utc>>,
    pub retention_days: Option<i32>,
    /// Bytes.
    pub size: Option<i64>,
    /// SHA-256 in hex, or what the command said.
    pub checksum: Option<String>,
    /// What the command said.
    pub said: Option<String>,
    /// Rows that were counted after the restore.
    pub tables: Tables,
    pub flaws: Vec<Flaw>,
}

impl Findings {
    pub fn fail(&mut self, reason: Reason, detail: impl Into<String>) {
        self.flaws.push(Flaw::new(reason, detail));
    }

    /// Judges age and size. Where one is expected and not known, that is a flaw.
    pub fn judge(&mut self, expected: &Expected, now: DateTime<Utc>) {
        match (self.last_success, expected.max_age) {
            (Some(at), _) if at > now + SLACK => {
                self.fail(Reason::InFuture, "it was made in the future: compare the clocks of both machines");
            }
            (Some(at), Some(most)) if now - at > most => {
                self.fail(Reason::TooOld, format!("it is older than {}", hours(most)));
            }
            (None, Some(_)) if self.flaws.is_empty() => {
                self.fail(Reason::TooOld, "how old it is was not said");
            }
            _ => {}
        }
        match (self.size, expected.min_size) {
            (Some(size), Some(least)) if size < least => {
                self.fail(Reason::TooSmall, format!("it has {size} bytes; at least {least} are expected"));
            }
            (None, Some(_)) if self.flaws.is_empty() => {
                self.fail(Reason::TooSmall, "how large it is was not said");
            }
            _ => {}
        }
        self.retention_days = self.retention_days.or(expected.retention_days);
    }

    /// Compares the rows that were counted with the least that is expected of each table.
    pub fn compare(&mut self, expected: &Tables) {
        for (table, least) in expected {
            match self.tables.get(table) {
                Some(rows) if rows >= least => {}
                Some(rows) => self.fail(
                    Reason::Rows,
                    format!("table `{table}` has {rows} rows; at least {least} are expected"),
                ),
                None => self.fail(
                    Reason::Rows,
                    format!("there is no table `{table}`: is it the backup of another database?"),
                ),
            }
        }
    }
}

fn hours(span: TimeDelta) -> String {
    match span.num_minutes() {
        minutes if minutes % 60 == 0 => format!("{} h", minutes / 60),
        minutes if minutes > 0 => format!("{minutes} min"),
        _ => format!("{} s", span.num_seconds()),
    }
}

/// What a verification came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The backup's name in the configuration.
    pub name: String,
    pub ok: bool,
    pub reasons: Vec<Reason>,
    /// What is wrong, for people.
    pub message: Option<String>,
    pub last_success: Option<DateTime<Utc>>,
    pub retention_days: Option<i32>,
    /// Seconds between `last_success` and the verification, or the reading.
    pub age: Option<i64>,
    /// Bytes.
    pub size: Option<i64>,
    pub checksum: Option<String>,
    pub tables: Tables,
    /// Of the verification.
    pub duration_ms: i64,
    pub verified_at: DateTime<Utc>,
}

impl Report {
    #[must_use]
    pub fn new(name: &str, findings: Findings, verified_at: DateTime<Utc>, duration_ms: i64) -> Self {
        let flaws = &findings.flaws;
        let mut reasons: Vec<Reason> = Vec::new();
        for flaw in flaws {
            if !reasons.contains(&flaw.reason) {
                reasons.push(flaw.reason);
            }
        }
        let texts: Vec<&str> =
            flaws.iter().map(|flaw| flaw.detail.as_str()).chain(findings.said.as_deref()).collect();
        Self {
            name: name.to_owned(),
            ok: flaws.is_empty(),
            message: (!texts.is_empty()).then(|| texts.join("; ")),
            reasons,
            age: findings.last_success.map(|at| age(at, verified_at)),
            last_success: findings.last_success,
            retention_days: findings.retention_days,
            size: findings.size,
            checksum: findings.checksum,
            tables: findings.tables,
            duration_ms,
            verified_at,
        }
    }

    /// With the age that the backup had when it was verified.
    #[must_use]
    pub fn aged(self) -> Self {
        Self { age: self.last_success.map(|at| age(at, self.verified_at)), ..self }
    }

    /// The report as it has to be read now: what was young enough when it was verified may be too old since.
    #[must_use]
    pub fn as_of(mut self, expected: &Expected, now: DateTime<Utc>) -> Self {
        let Some(at) = self.last_success else { return self };
        self.age = Some(age(at, now));
        let mut since = Findings { last_success: Some(at), ..Findings::default() };
        since.judge(&Expected { max_age: expected.max_age, ..Expected::default() }, now);
        if let Some(flaw) = since.flaws.pop().filter(|_| self.ok) {
            self.ok = false;
            self.reasons = vec![flaw.reason];
            self.message = Some(flaw.detail);
        }
        self
    }

    /// The stream of a backup's audit events.
    #[must_use]
    pub fn stream(name: &str) -> String {
        format!("backup:{name}")
    }

    /// The event that commits with the report.
    #[must_use]
    pub fn event(&self, actor: &str) -> NewEvent {
        let event = if self.ok { EventName::BackupVerified } else { EventName::BackupFailed };
        let details = json!({
            "backup": self.name, "reasons": self.reason_words(), "last_success": self.last_success.map(timestamp),
            "size": self.size, "tables": self.tables,
        });
        NewEvent::new(event, actor, details)
    }

    /// What webhooks are told of a backup that is not ok.
    #[must_use]
    pub fn news(&self) -> String {
        json!({
            "type": EventName::BackupFailed.as_str(),
            "timestamp": timestamp(self.verified_at),
            "data": {
                "name": self.name, "ok": self.ok, "reasons": self.reason_words(),
                "last_success": self.last_success.map(timestamp),
                "links": { "self": format!("/v1/backups/{}", self.name) },
            },
        })
        .to_string()
    }

    #[must_use]
    pub fn reason_words(&self) -> Vec<&'static str> {
        self.reasons.iter().map(|reason| reason.as_str()).collect()
    }
}

/// In seconds; that of what was made within [`SLACK`] ahead is 0.
fn age(made: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    (now - made).num_seconds().max(0)
}

/// What a command prints; every member may be missing.
#[derive(Deserialize)]
struct Answer {
    ok: Option<bool>,
    last_success: Option<DateTime<Utc>>,
    retention_days: Option<u16>,
    size: Option<u64>,
    checksum: Option<String>,
    message: Option<String>,
}

/// What a command found out, from the JSON object that it printed.
#[must_use]
pub fn from_command(printed: &[u8]) -> Findings {
    let mut findings = Findings::default();
    let Ok(answer) = serde_json::from_slice::<Answer>(printed) else {
        let detail = "the command did not print a JSON object of `ok`, `last_success` (RFC 3339), `retention_days`, \
                      `size` (bytes), `checksum` and `message`";
        findings.fail(Reason::Command, detail);
        return findings;
    };
    match answer.ok {
        Some(true) => {}
        Some(false) => findings.fail(Reason::Command, "the command says that it is not ok"),
        None => findings.fail(Reason::Command, "the command did not say `ok`"),
    }
    findings.last_success = answer.last_success;
    findings.retention_days = answer.retention_days.map(i32::from);
    findings.size = answer.size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    findings.checksum = answer.checksum.map(|text| plain(&text));
    findings.said = answer.message.map(|text| plain(&text)).filter(|text| !text.is_empty());
    findings
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

/// The SHA-256 that a checksum file gives for a file of that name: lines as `sha256sum` writes them, or the digest
/// alone.
#[must_use]
pub fn checksum_for(name: &str, text: &str) -> Option<String> {
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let [only] = lines.as_slice()
        && is_digest(only)
    {
        return Some(only.to_ascii_lowercase());
    }
    lines.into_iter().find_map(|line| {
        let (digest, file) = line.split_once(' ')?;
        // A second blank for text, an asterisk for binary.
        let file = file.strip_prefix([' ', '*']).unwrap_or(file);
        let base = file.rsplit('/').next().unwrap_or(file);
        (is_digest(digest) && base == name).then(|| digest.to_ascii_lowercase())
    })
}

/// The private key that opens backups in the age format. No `Debug`.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

impl Identity {
    /// Of a file that `age-keygen` wrote: comments, and one line `AGE-SECRET-KEY-1…`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (keys.next(), keys.next()) {
            (Some(key), None) => x25519::Identity::from_str(key).map(Self).ok(),
            _ => None,
        }
    }

    /// The plain text of what is encrypted to this key.
    ///
    /// # Errors
    /// For what is no age file, or is encrypted to another key.
    pub fn open<R: Read>(&self, encrypted: R) -> Result<StreamReader<R>, Flaw> {
        let wrong = |error: DecryptError| match error {
            DecryptError::NoMatchingKeys => {
                Flaw::new(Reason::Encryption, "it is encrypted with another key than `identity`")
            }
            DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
                Flaw::new(Reason::Encryption, "it is no file of the age format: is it encrypted at all?")
            }
            DecryptError::Io(error) => unread(&error),
            _ => Flaw::new(Reason::Encryption, "it cannot be decrypted"),
        };
        let decryptor = Decryptor::new(encrypted).map_err(wrong)?;
        decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)).map_err(wrong)
    }
}

/// What it means that a backup could not be read to its end.
#[must_use]
pub fn unread(error: &std::io::Error) -> Flaw {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => Flaw::new(Reason::Timeout, "it could not be read within `timeout`"),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Flaw::new(Reason::Damaged, "it cannot be unpacked to its end: truncated or damaged")
        }
        kind => Flaw::new(Reason::Unreadable, format!("it cannot be read: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn what_is_expected_and_not_known_is_a_flaw() {
        let now = Clock.now();
        let expected =
            Expected { max_age: Some(TimeDelta::hours(26)), min_size: Some(10), retention_days: Some(7) };
        let judged = |last_success, size| {
            let mut findings = Findings { last_success, size, ..Findings::default() };
            findings.judge(&expected, now);
            findings.flaws.iter().map(|flaw| flaw.reason).collect::<Vec<_>>()
        };
        let ago = |hours| Some(now - TimeDelta::hours(hours));
        for (last_success, size, reasons) in [
            (ago(1), Some(10), vec![]),
            (ago(27), Some(10), vec![Reason::TooOld]),
            (ago(1), Some(9), vec![Reason::TooSmall]),
            (ago(27), Some(9), vec![Reason::TooOld, Reason::TooSmall]),
            (ago(-1), Some(10), vec![Reason::InFuture]),
            (Some(now + TimeDelta::seconds(30)), Some(10), vec![]),
            (None, Some(10), vec![Reason::TooOld]),
            (ago(1), None, vec![Reason::TooSmall]),
        ] {
            assert_eq!(judged(last_success, size), reasons, "{last_success:?} {size:?}");
        }
    }

    #[test]
    fn a_report_grows_old() {
        let now = Clock.now();
        let expected = Expected { max_age: Some(TimeDelta::hours(26)), ..Expected::default() };
        let findings = Findings { last_success: Some(now), ..Findings::default() };
        let report = Report::new("shop", findings, now, 1);
        assert!(report.clone().as_of(&expected, now + TimeDelta::hours(26)).ok);
        let old = report.clone().as_of(&expected, now + TimeDelta::hours(27));
        assert_eq!((old.ok, old.reasons, old.age), (false, vec![Reason::TooOld], Some(27 * 3600)));
        assert!(!report.as_of(&expected, now - TimeDelta::hours(1)).ok, "the clock went back");
    }

    #[test]
    fn a_command_has_to_say_that_it_is_ok() {
        for (printed, ok) in [
            (r#"{ "ok": true }"#, true),
            (r#"{ "ok": true, "last_success": "2026-01-01T00:00:00+01:00", "more": [] }"#, true),
            (r#"{ "ok": true, "size": null }"#, true),
            ("{}", false),
            (r#"{ "ok": null }"#, false),
            (r#"{ "ok": false }"#, false),
            (r#"{ "ok": "true" }"#, false),
            (r#"{ "ok": true, "last_success": "yesterday" }"#, false),
            (r#"{ "ok": true, "size": -1 }"#, false),
            ("", false),
            (r#"{ "ok": true } and more"#, false),
        ] {
            assert_eq!(from_command(printed.as_bytes()).flaws.is_empty(), ok, "{printed}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_its_file() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let upper = b.to_ascii_lowercase();
        for (text, found) in [
            (format!("{a}  x.dump\n"), Some(&a)),
            (format!("{a} *x.dump"), Some(&a)),
            (format!("{a}  /var/backups/x.dump"), Some(&a)),
            (format!("{a}\n"), Some(&a)),
            (format!("{a}  y.dump\n{b}  x.dump\n"), Some(&upper)),
            (format!("{a}  y.dump\n"), None),
            (format!("{}  x.dump\n", &a[1..]), None),
            (String::new(), None),
        ] {
            assert_eq!(checksum_for("x.dump", &text).as_ref(), found, "{text}");
        }
    }
}
