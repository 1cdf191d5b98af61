//! Dates and times as they may be given: ISO 8601 in the narrow forms that every database reads alike. Words such as
//! `now`, which mean something else each time they are read, are no times.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::{
    System,
    types::{arguments, word},
};

/// What a column of this type takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Date,
    Time {
        zone: bool,
    },
    Timestamp {
        zone: bool,
    },
    Duration,
    /// SQLite keeps times as the application writes them.
    Any,
}

/// The text of a given time for a column of that type.
///
/// # Errors
/// Why it is none.
pub(super) fn text(given: &str, type_name: &str, system: System) -> Result<String, String> {
    match form(type_name, system) {
        Form::Duration => duration(given, type_name, system),
        Form::Any => {
            let reads =
                [date(given, system).is_ok(), Clock::of(given).is_some(), Stamp::of(given, system).is_ok()];
            reads.contains(&true).then(|| given.to_owned()).ok_or_else(|| {
                "it is no date or time, such as 1899-12-31, 23:59:59 or 1899-12-31T23:59:59Z".to_owned()
            })
        }
        Form::Date if is_infinite(given, system) => Ok(given.to_owned()),
        Form::Date => date(given, system),
        Form::Time { zone } => {
            let clock = Clock::of(given).ok_or("it is no time of day, such as 23:59:59.5")?;
            clock.fits(zone, type_name)?;
            Ok(given.to_owned())
        }
        Form::Timestamp { .. } if is_infinite(given, system) => Ok(given.to_owned()),
        Form::Timestamp { zone } => {
            let stamp = Stamp::of(given, system)?;
            stamp.clock.fits(zone, type_name)?;
            match system {
                System::MySql => mysql(given, zone),
                System::Postgres | System::Sqlite => Ok(given.to_owned()),
            }
        }
    }
}

fn form(type_name: &str, system: System) -> Form {
    let zone = type_name.contains("with time zone");
    match (system, word(type_name).as_str()) {
        (System::Sqlite, _) => Form::Any,
        (_, "date") => Form::Date,
        (System::MySql, "time") => Form::Duration,
        (System::MySql, "timestamp") => Form::Timestamp { zone: true },
        (_, "time") => Form::Time { zone },
        (_, "timestamp" | "datetime") => Form::Timestamp { zone },
        _ => Form::Duration,
    }
}

fn is_infinite(given: &str, system: System) -> bool {
    system == System::Postgres && matches!(given, "infinity" | "-infinity")
}

/// PostgreSQL's years go beyond four digits and before Christ.
fn date(given: &str, system: System) -> Result<String, String> {
    let wrong = || "it is no date, such as 1899-12-31".to_owned();
    let plain = match given.strip_suffix(" BC") {
        Some(plain) if system == System::Postgres => plain,
        Some(_) => return Err("this database has no dates before Christ".to_owned()),
        None => given,
    };
    let mut parts = plain.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let longest = if system == System::Postgres { 6 } else { 4 };
    if !digits(year, 4..=longest) || !digits(month, 2..=2) || !digits(day, 2..=2) {
        return Err(wrong());
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let written = number(year)?;
    let year = i32::try_from(written).map_err(|_| wrong())?;
    // The year before 1 is 1 BC.
    let counted = if plain.len() < given.len() { 1 - year } else { year };
    let exists = written > 0
        && (NaiveDate::from_ymd_opt(counted, number(month)?, number(day)?).is_some() || counted > 262_000);
    exists.then(|| given.to_owned()).ok_or_else(|| "there is no such day".to_owned())
}

/// A time of day.
struct Clock {
    fraction: usize,
    has_zone: bool,
}

impl Clock {
    fn of(text: &str) -> Option<Self> {
        let (time, zone) = match text.find(['Z', '+', '-']) {
            Some(at) => text.split_at_checked(at)?,
            None => (text, ""),
        };
        if !zone.is_empty() && !is_zone(zone) {
            return None;
        }
        let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
        let well_formed = fraction.bytes().all(|byte| byte.is_ascii_digit())
            && fraction.len() <= 6
            && (fraction.is_empty() != time.contains('.'));
        let exists = NaiveTime::parse_from_str(whole, "%H:%M:%S")
            .or_else(|_| NaiveTime::parse_from_str(whole, "%H:%M"))
            .is_ok()
            && matches!(whole.len(), 5 | 8)
            // A leap second, which databases turn into the first second of the next minute.
            && !whole.ends_with(":60");
        (well_formed && exists)
            .then(|| Self { fraction: fraction.trim_end_matches('0').len(), has_zone: !zone.is_empty() })
    }

    fn fits(&self, zone: bool, type_name: &str) -> Result<(), String> {
        match (zone, self.has_zone) {
            (true, false) => return Err("it must say its zone, such as Z or +02:00".to_owned()),
            (false, true) => return Err("the column keeps no zone: leave it out".to_owned()),
            _ => {}
        }
        is_kept(self.fraction, type_name)
    }
}

/// More digits of a second would be rounded.
fn is_kept(digits: usize, type_name: &str) -> Result<(), String> {
    let kept = arguments(type_name).first().copied();
    let kept = kept.unwrap_or(if is_mysql_time(type_name) { 0 } else { 6 });
    if digits > kept as usize {
        return Err(format!("{type_name} keeps {kept} digits of a second"));
    }
    Ok(())
}

/// Without a precision MySQL keeps whole seconds; PostgreSQL writes its types out (`… time zone`).
fn is_mysql_time(type_name: &str) -> bool {
    matches!(word(type_name).as_str(), "datetime" | "timestamp" | "time") && !type_name.contains(" time zone")
}

fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let digits: String = text.get(1..).unwrap_or_default().replace(':', "");
    let in_place = matches!(text.len(), 3 | 5 | 6) && (text.len() != 6 || text.get(3..4) == Some(":"));
    let number = |at: std::ops::Range<usize>| digits.get(at).and_then(|part| part.parse::<u32>().ok());
    in_place
        && matches!(digits.len(), 2 | 4)
        && number(0..2).is_some_and(|hours| hours <= 15)
        && (digits.len() == 2 || number(2..4).is_some_and(|minutes| minutes < 60))
}

/// A date and a time of day.
struct Stamp {
    clock: Clock,
}

impl Stamp {
    fn of(text: &str, system: System) -> Result<Self, String> {
        let wrong = || "it is no date with a time, such as 1899-12-31T23:59:59".to_owned();
        let (era, plain) = match text.strip_suffix(" BC") {
            Some(plain) => (" BC", plain),
            None => ("", text),
        };
        let (day, time) = plain.split_once(['T', ' ']).ok_or_else(wrong)?;
        date(&format!("{day}{era}"), system)?;
        Ok(Self { clock: Clock::of(time).ok_or_else(wrong)? })
    }
}

/// As MySQL reads it: in UTC, which is the session's zone, and without the zone, which only new versions understand.
fn mysql(given: &str, zone: bool) -> Result<String, String> {
    if !zone {
        return Ok(given.replace('T', " "));
    }
    let at = DateTime::parse_from_rfc3339(given)
        .map_err(|_| "it is no RFC 3339 time, such as 1999-12-31T23:59:59Z".to_owned())?
        .with_timezone(&Utc);
    let seconds = at.timestamp();
    if !(1..=i64::from(i32::MAX)).contains(&seconds) {
        return Err("a timestamp of this database lies between 1970 and 2038".to_owned());
    }
    Ok(at.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// Words of PostgreSQL that mean another time each time they are read.
pub(super) fn has_words(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.contains(word))
}

/// A range of times of PostgreSQL, as far as the database would read it as something else without a word; other types pass.
///
/// # Errors
/// What would change.
pub(super) fn range(text: &str, kind: &str) -> Result<(), String> {
    let zone = match kind {
        "tstzrange" | "tstzmultirange" => Some(true),
        "tsrange" | "tsmultirange" => Some(false),
        "daterange" | "datemultirange" => None,
        _ => return Ok(()),
    };
    if has_words(text) {
        // Read anew by each statement, they would be another day each time.
        return Err("it must be written with dates, not with words such as now".to_owned());
    }
    if has_long_fraction(text) {
        return Err("a time keeps 6 digits of a second".to_owned());
    }
    match zone {
        Some(true) if clocks(text).contains(&false) => {
            Err("each time must say its zone, such as +00".to_owned())
        }
        Some(false) if clocks(text).contains(&true) => {
            Err("the column keeps no zone: leave it out".to_owned())
        }
        _ => Ok(()),
    }
}

/// For every time of day in a text whether a zone follows it.
fn clocks(text: &str) -> Vec<bool> {
    let is_of_clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(':') {
        rest = after.trim_start_matches(is_of_clock);
        found.push(rest.starts_with(['+', '-', 'Z', 'z']));
        // The minutes of a zone are no clock.
        rest = rest.trim_start_matches(|c: char| is_of_clock(c) || matches!(c, '+' | '-'));
    }
    found
}

/// More digits than a second has microseconds.
fn has_long_fraction(text: &str) -> bool {
    text.split('.').skip(1).any(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part.get(..digits).is_some_and(|digits| digits.trim_end_matches('0').len() > 6)
    })
}

/// MySQL's `time` is one; PostgreSQL's intervals are read by the database alone.
fn duration(given: &str, type_name: &str, system: System) -> Result<String, String> {
    if system != System::MySql {
        return match has_words(given) {
            true => Err("it must be written in numbers, not with words such as now".to_owned()),
            false if has_long_fraction(given) => Err("an interval keeps 6 digits of a second".to_owned()),
            false => Ok(given.to_owned()),
        };
    }
    let wrong = || "it is no time up to 838:59:59, such as 23:59:59".to_owned();
    let plain = given.strip_prefix('-').unwrap_or(given);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let parts: Vec<&str> = whole.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else { return Err(wrong()) };
    let number = |text: &str, longest: usize| -> Option<u32> {
        let plain = (2..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let fits = number(hours, 3).is_some_and(|hours| hours <= 838)
        && [minutes, seconds].iter().all(|part| number(part, 2).is_some_and(|part| part < 60))
        && fraction.len() <= 6
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !fits {
        return Err(wrong());
    }
    is_kept(fraction.trim_end_matches('0').len(), type_name)?;
    Ok(given.to_owned())
}
