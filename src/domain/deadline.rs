//! Months as GDPR Art. 12(3) counts them: by the calendar (Regulation (EEC, Euratom) 1182/71, Art. 3).

use chrono::{DateTime, Months, Utc};

/// So many calendar months after `begins`; the last day of the month where the day does not exist (31 January →
/// 28 February).
#[must_use]
pub fn after_months(begins: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    begins.checked_add_months(Months::new(months)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Whole days left at `now`, rounded down; negative once overdue.
#[must_use]
pub fn days_left(due_at: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    (due_at - now).num_seconds().div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_ends_where_the_calendar_says() {
        for (from, to) in [
            ("2026-11-02T09:00:00Z", "2026-12-02T09:00:00Z"),
            ("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-31T23:59:59Z"),
        ] {
            assert_eq!(after_months(at(from), 1), at(to), "{from}");
        }
    }

    #[test]
    fn days_left_turns_negative_when_overdue() {
        let due = at("2026-12-02T09:00:00Z");
        assert_eq!(days_left(due, at("2026-11-23T08:00:00Z")), 9);
        assert_eq!(days_left(due, due), 0);
        assert_eq!(days_left(due, at("2026-12-02T09:00:01Z")), -1);
    }
}
