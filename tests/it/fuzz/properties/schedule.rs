//! Timings: the moments of one are in order, and are the same forwards and backwards.

use chrono::{DateTime, Utc};
use rightful::domain::schedule::Timing;

/// Seconds since 1970: on the clock's changes in Berlin, on a leap day, and at neither.
const MOMENTS: [i64; 4] = [1_774_746_000, 1_792_890_000, 1_709_164_800, 1_790_000_123];

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut taken = false;
    for zone in [chrono_tz::UTC, chrono_tz::Europe::Berlin] {
        let timing = match Timing::parse(text, zone) {
            Ok(timing) => timing,
            Err((problem, remedy)) => {
                assert!(!problem.is_empty() && !remedy.is_empty());
                continue;
            }
        };
        taken = true;
        assert!(!timing.to_string().is_empty());
        for moment in MOMENTS {
            in_order(&timing, DateTime::from_timestamp(moment, 0).expect("a time"));
        }
    }
    taken
}

fn in_order(timing: &Timing, at: DateTime<Utc>) {
    if let Some(last) = timing.last_until(at) {
        assert!(last <= at, "{timing}: {last} is after {at}");
        assert_eq!(timing.last_until(last), Some(last), "{timing}");
    }
    if let Some(next) = timing.next_after(at) {
        assert!(next > at, "{timing}: {next} is not after {at}");
        assert_eq!(timing.last_until(next), Some(next), "{timing}");
    }
}
