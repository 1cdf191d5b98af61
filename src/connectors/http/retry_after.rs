//! `Retry-After` (RFC 9110 §10.2.3).

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::RETRY_AFTER;

use super::Answer;

/// Nobody is kept waiting longer, whatever a service says.
const LONGEST: Duration = Duration::from_secs(3600);
/// A service that says "at once" is not asked in a circle.
const SHORTEST: Duration = Duration::from_secs(1);

/// When a service wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Delay(Duration),
    At(DateTime<Utc>),
}

impl RetryAfter {
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        parse(answer.header(RETRY_AFTER)?)
    }

    /// How long to wait from `now` on, between a second and an hour.
    #[must_use]
    pub fn wait(self, now: DateTime<Utc>) -> Duration {
        let wait = match self {
            Self::Delay(delay) => delay,
            Self::At(at) => (at - now).to_std().unwrap_or_default(),
        };
        wait.clamp(SHORTEST, LONGEST)
    }
}

/// Seconds, or a date as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are longer than the longest wait.
        return Some(RetryAfter::Delay(text.parse().map_or(LONGEST, Duration::from_secs)));
    }
    DateTime::parse_from_rfc2822(text).ok().map(|at| RetryAfter::At(at.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_bounded() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:00Z").unwrap().to_utc();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("0", Some(1)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Mon, 07 Nov 1994 08:00:00 GMT", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let wait = parse(text).map(|after| after.wait(now).as_secs());
            assert_eq!(wait, seconds, "{text}");
        }
    }
}
