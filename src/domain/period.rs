//! Spans as people and laws count them: `30d`, `6mo`, `10y`. A month is one of the calendar, whatever its length.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A whole number of one unit; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

impl Unit {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Seconds, "s"),
        (Self::Minutes, "m"),
        (Self::Hours, "h"),
        (Self::Days, "d"),
        (Self::Weeks, "w"),
        (Self::Months, "mo"),
        (Self::Years, "y"),
    ];
}

/// How a period is written.
pub const FORM: &str = "a period is a whole number and a unit: 12h, 30d, 2w, 6mo, 10y";

impl Period {
    pub const YEAR: Self = Self { count: 1, unit: Unit::Years };

    /// That long before `moment`; a day that the month does not have becomes its last one. `None` before the calendar
    /// begins.
    #[must_use]
    pub fn before(self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.months() {
            Some(months) => moment.checked_sub_months(Months::new(months?)),
            None => moment.checked_sub_signed(self.delta()?),
        }
    }

    /// That long after `moment`, counted in the same way. `None` after the calendar ends.
    #[must_use]
    pub fn after(self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.months() {
            Some(months) => moment.checked_add_months(Months::new(months?)),
            None => moment.checked_add_signed(self.delta()?),
        }
    }

    /// Counted from the beginning of a year of 365 days.
    #[must_use]
    pub fn is_longer_than(self, other: Self) -> bool {
        let after = |period: Self| period.after(DateTime::UNIX_EPOCH).unwrap_or(DateTime::<Utc>::MAX_UTC);
        after(self) > after(other)
    }

    /// `None` for units of a fixed length; `Some(None)` for too many months.
    fn months(self) -> Option<Option<u32>> {
        match self.unit {
            Unit::Months => Some(Some(self.count)),
            Unit::Years => Some(self.count.checked_mul(12)),
            _ => None,
        }
    }

    fn delta(self) -> Option<TimeDelta> {
        let count = i64::from(self.count);
        match self.unit {
            Unit::Seconds => TimeDelta::try_seconds(count),
            Unit::Minutes => TimeDelta::try_minutes(count),
            Unit::Hours => TimeDelta::try_hours(count),
            Unit::Days => TimeDelta::try_days(count),
            Unit::Weeks => TimeDelta::try_weeks(count),
            Unit::Months | Unit::Years => None,
        }
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let count = count.parse().ok().filter(|count| *count > 0).ok_or(FORM)?;
        let (unit, _) = Unit::ALL.into_iter().find(|(_, short)| *short == unit).ok_or(FORM)?;
        Ok(Self { count, unit })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = Unit::ALL.into_iter().find(|(unit, _)| *unit == self.unit).map_or("", |(_, short)| short);
        write!(f, "{}{short}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn months_and_years_are_those_of_the_calendar() {
        for (period, moment, before, after) in [
            ("30d", "2026-03-30T12:00:00Z", "2026-02-28T12:00:00Z", "2026-04-29T12:00:00Z"),
            ("1mo", "2026-03-31T12:00:00Z", "2026-02-28T12:00:00Z", "2026-04-30T12:00:00Z"),
            ("1y", "2024-02-29T00:00:00Z", "2023-02-28T00:00:00Z", "2025-02-28T00:00:00Z"),
            ("2w", "2026-01-01T00:00:00Z", "2025-12-18T00:00:00Z", "2026-01-15T00:00:00Z"),
            ("90m", "2026-01-01T00:00:00Z", "2025-12-31T22:30:00Z", "2026-01-01T01:30:00Z"),
        ] {
            let read: Period = period.parse().unwrap();
            assert_eq!(read.to_string(), period);
            assert_eq!(read.before(at(moment)), Some(at(before)), "{period}");
            assert_eq!(read.after(at(moment)), Some(at(after)), "{period}");
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in ["", "d", "0d", "-1d", "1.5y", "10 y", "1M", "99999999999d", "1year"] {
            assert_eq!(text.parse::<Period>(), Err(FORM), "{text}");
        }
        let endless: Period = "4000000000y".parse().unwrap();
        assert_eq!(endless.before(at("2026-01-01T00:00:00Z")), None);
    }
}
