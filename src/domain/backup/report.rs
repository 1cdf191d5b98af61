//! What a verification came to: for the store, the audit log and webhooks, and as it has to be read later.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Expected, Findings, Reason, Tables};
use crate::domain::audit::{EventName, NewEvent, timestamp};

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

/// In seconds; that of what was made a minute ahead is 0.
fn age(made: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    (now - made).num_seconds().max(0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::clock::Clock;

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
}
