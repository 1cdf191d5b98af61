//! What a command says of a backup.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Findings, Reason};

/// The longest text that is taken from a command, in characters.
const LONGEST_TEXT: usize = 500;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
