//! When something is done by itself: cron expressions in a time zone, or intervals. Both are grids in time, so that every
//! process knows the same moments without asking another.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::run::Task;

/// One schedule of the configuration.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: String,
    pub timing: Timing,
    pub task: Task,
}

#[derive(Debug, Clone)]
pub enum Timing {
    /// Every so many seconds, counted from 1970.
    Interval(TimeDelta),
    Cron {
        text: String,
        cron: Box<Cron>,
        zone: Tz,
    },
}

impl Timing {
    /// A cron expression of five fields, or an interval (`6h`).
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, (String, String)> {
        if text.split_whitespace().count() > 1 || text.starts_with('@') {
            return Self::cron(text, zone);
        }
        Self::interval(text)
    }

    /// # Errors
    /// When it is no cron expression.
    pub fn cron(text: &str, zone: Tz) -> Result<Self, (String, String)> {
        let remedy = "five fields: minute, hour, day, month, weekday, such as 0 3 * * *";
        // The parser takes it for a list of nothing, whose moments are searched for until the end of the calendar.
        if text.split_whitespace().flat_map(|field| field.split(',')).any(str::is_empty) {
            return Err((format!("`{text}` has a list with nothing in it"), remedy.to_owned()));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| (format!("`{text}`: {error}"), remedy.to_owned()))?;
        Ok(Self::Cron { text: text.to_owned(), cron: Box::new(cron), zone })
    }

    /// # Errors
    /// When it is no interval of a second or more.
    pub fn interval(text: &str) -> Result<Self, (String, String)> {
        let remedy = "a whole number and a unit: 30s, 15m, 6h, 1d, 1w";
        let wrong = || (format!("`{text}` is neither a cron expression nor an interval"), remedy.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let count: i64 = count.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        Self::every(count.checked_mul(seconds).ok_or_else(wrong)?).ok_or_else(wrong)
    }

    /// Every so many seconds; `None` for less than one, and for more than the calendar has.
    #[must_use]
    pub fn every(seconds: i64) -> Option<Self> {
        (seconds > 0).then_some(())?;
        TimeDelta::try_seconds(seconds).filter(|every| *every < TimeDelta::days(36_600)).map(Self::Interval)
    }

    /// The last moment that is not after `at`.
    #[must_use]
    pub fn last_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Interval(every) => {
                let every = every.num_seconds();
                DateTime::from_timestamp(at.timestamp().div_euclid(every).checked_mul(every)?, 0)
            }
            Self::Cron { cron, zone, .. } => cron
                .find_previous_occurrence(&at.with_timezone(zone), true)
                .ok()
                .map(|last| last.with_timezone(&Utc)),
        }
    }

    /// The first moment after `at`; `None` where there is none (`0 0 30 2 *`).
    #[must_use]
    pub fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Interval(every) => {
                let every = every.num_seconds();
                let next = at.timestamp().div_euclid(every).checked_add(1)?.checked_mul(every)?;
                DateTime::from_timestamp(next, 0)
            }
            Self::Cron { cron, zone, .. } => cron
                .find_next_occurrence(&at.with_timezone(zone), false)
                .ok()
                .map(|next| next.with_timezone(&Utc)),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval(every) => write!(f, "every {}", shortest(every.num_seconds())),
            Self::Cron { text, zone, .. } => write!(f, "{text} ({zone})"),
        }
    }
}

fn shortest(seconds: i64) -> String {
    [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds % unit == 0)
        .map_or_else(|| format!("{seconds}s"), |(unit, short)| format!("{}{short}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn intervals_are_a_grid_that_every_process_sees() {
        let six_hours = Timing::parse("6h", Tz::UTC).unwrap();
        assert_eq!(six_hours.to_string(), "every 6h");
        assert_eq!(six_hours.next_after(at("2026-01-31T05:59:59Z")), Some(at("2026-01-31T06:00:00Z")));
        assert_eq!(six_hours.next_after(at("2026-01-31T06:00:00Z")), Some(at("2026-01-31T12:00:00Z")));
        assert_eq!(six_hours.last_until(at("2026-01-31T11:59:59Z")), Some(at("2026-01-31T06:00:00Z")));
        assert_eq!(six_hours.last_until(at("2026-01-31T12:00:00Z")), Some(at("2026-01-31T12:00:00Z")));
    }

    #[test]
    fn cron_follows_the_clocks_of_its_zone() {
        let nightly = Timing::parse("30 2 * * *", Tz::Europe__Berlin).unwrap();
        // In winter and in summer.
        assert_eq!(nightly.next_after(at("2026-01-31T00:00:00Z")), Some(at("2026-01-31T01:30:00Z")));
        assert_eq!(nightly.next_after(at("2026-07-31T00:00:00Z")), Some(at("2026-07-31T00:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-01-31T01:30:00Z")), Some(at("2026-01-31T01:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-02-03T00:00:00Z")), Some(at("2026-02-02T01:30:00Z")));
        // The hour that there is twice comes once, and what the night leaves out comes all the same.
        let mut moment = at("2026-10-24T12:00:00Z");
        let mut fired = Vec::new();
        for _ in 0..3 {
            moment = nightly.next_after(moment).unwrap();
            fired.push(moment.date_naive().to_string());
        }
        assert_eq!(fired, ["2026-10-25", "2026-10-26", "2026-10-27"]);
        let spring = nightly.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert_eq!(spring.date_naive().to_string(), "2026-03-29");
    }

    #[test]
    fn what_is_no_timing_is_refused_with_a_remedy() {
        for text in [
            "",
            "soon",
            "0h",
            "6",
            "61 * * * *",
            "* * * *",
            "* * * * * *",
            "0 , * * *",
            "1, * * * *",
            "1.5h",
            "-1h",
        ] {
            let (problem, remedy) = Timing::parse(text, Tz::UTC).unwrap_err();
            assert!(!problem.is_empty() && !remedy.is_empty(), "{text}");
        }
        let never = Timing::parse("0 0 30 2 *", Tz::UTC).unwrap();
        assert_eq!(never.next_after(at("2026-01-01T00:00:00Z")), None);
    }
}
