//! What is shown of a person. Two forms of a pseudonym: the *compared* one is the same for ever and never leaves the tables
//! that match people (see [`Vault::subject_ref`](super::vault::Vault::subject_ref)); the *shown* one, in the audit log, the
//! API and what is handed out, is taken over it under the key of a calendar month. With that key goes all that leads from
//! a person to what the log, which is never changed, holds of the month.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use super::vault::PeriodKey;

/// A calendar month, UTC: `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(NaiveDate);

impl Month {
    /// That of a moment.
    #[must_use]
    pub fn of(at: DateTime<Utc>) -> Self {
        let day = at.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    #[must_use]
    pub fn begin(self) -> DateTime<Utc> {
        NaiveDateTime::new(self.0, NaiveTime::MIN).and_utc()
    }

    /// When the next one begins.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        self.begin().checked_add_months(Months::new(1)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m"))
    }
}

impl FromStr for Month {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map(Self)
    }
}

/// The months that have, or had, a key.
#[derive(Default)]
pub struct PeriodKeys(BTreeMap<Month, Option<PeriodKey>>);

impl PeriodKeys {
    /// `None`: destroyed, or not to be opened.
    #[must_use]
    pub fn new(months: impl IntoIterator<Item = (Month, Option<PeriodKey>)>) -> Self {
        Self(months.into_iter().collect())
    }

    #[must_use]
    pub fn knows(&self, month: Month) -> bool {
        self.0.contains_key(&month)
    }

    /// How requests and holds of that time show a pseudonym; `None` once the key of their month was destroyed.
    #[must_use]
    pub fn shown(&self, at: DateTime<Utc>, pseudonym: &str) -> Option<String> {
        Some(self.of(at)?.shown(pseudonym))
    }

    /// How consents of that time show a pseudonym. In another form than requests: what was agreed to stays with its
    /// pseudonyms as the proof, and must not lead to what was asked for in the same month.
    #[must_use]
    pub fn shown_of_consent(&self, at: DateTime<Utc>, pseudonym: &str) -> Option<String> {
        Some(self.of(at)?.shown_of_consent(pseudonym))
    }

    /// As [`shown_of_consent`](Self::shown_of_consent), of the last month: an older consent may have outlived the key of
    /// its own.
    #[must_use]
    pub fn shown_last(&self, pseudonym: &str) -> Option<String> {
        Some(self.0.values().next_back()?.as_ref()?.shown_of_consent(pseudonym))
    }

    /// These identities and pseudonyms, as a request of that time knows them.
    #[must_use]
    pub fn refs(&self, at: DateTime<Utc>, compared: impl IntoIterator<Item = (String, String)>) -> Vec<Ref> {
        let known = |(identity, compared): (String, String)| {
            let shown = self.shown(at, &compared);
            Ref { identity, compared, shown }
        };
        compared.into_iter().map(known).collect()
    }

    /// Everything that a pseudonym is shown as under a key that is still there.
    pub fn all_shown<'a>(&'a self, pseudonym: &'a str) -> impl Iterator<Item = String> + 'a {
        let living = self.0.values().flatten();
        living.flat_map(move |key| [key.shown(pseudonym), key.shown_of_consent(pseudonym)])
    }

    fn of(&self, at: DateTime<Utc>) -> Option<&PeriodKey> {
        self.0.get(&Month::of(at))?.as_ref()
    }
}

/// One pseudonym that is known of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The identity's name in the plan.
    pub identity: String,
    pub compared: String,
    /// `None` where its month had lost its key before.
    pub shown: Option<String>,
}

/// As people are told from each other: identities and compared pseudonyms.
#[must_use]
pub fn compared(refs: &[Ref]) -> Vec<(String, String)> {
    refs.iter().map(|known| (known.identity.clone(), known.compared.clone())).collect()
}

/// As outsiders see it: identities and shown pseudonyms.
#[must_use]
pub fn shown(refs: Vec<Ref>) -> Vec<(String, String)> {
    refs.into_iter().filter_map(|known| Some((known.identity, known.shown?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vault::Vault;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_one_of_the_calendar_in_utc() {
        let december = Month::of(at("2026-12-31T23:59:59.999999Z"));
        assert_eq!(december.to_string(), "2026-12");
        assert_eq!(
            (december.begin(), december.end()),
            (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
        );
        assert_eq!("2026-12".parse::<Month>(), Ok(december));
        assert!(Month::of(at("2027-01-01T00:00:00Z")) > december);
        for wrong in ["", "2026", "2026-13", "2026-12-01"] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pseudonym_is_another_one_in_each_month_and_nothing_without_its_key() {
        let vault = Vault::new(&[7; 32]);
        let [(first, wrapped), (second, _)] = [vault.new_period_key(), vault.new_period_key()];
        let (october, november) = (at("2026-10-05T00:00:00Z"), at("2026-11-05T00:00:00Z"));
        let keys = PeriodKeys::new([(Month::of(october), Some(first)), (Month::of(november), Some(second))]);
        let (old, new) = (keys.shown(october, "x").unwrap(), keys.shown(november, "x").unwrap());
        assert_ne!(old, new);
        assert_ne!(Some(&new), keys.shown_of_consent(november, "x").as_ref());
        assert_eq!(keys.shown_last("x"), keys.shown_of_consent(november, "x"));
        let all: Vec<String> = keys.all_shown("x").collect();
        assert!(all.len() == 4 && all.contains(&old) && all.contains(&new), "{all:?}");

        let opened = vault.unwrap_period_key(&wrapped).unwrap();
        assert_eq!(opened.shown("x"), old);
        assert!(vault.unwrap_data_key(&wrapped).is_err() && vault.unwrap_ledger_key(&wrapped).is_err());
        let left = PeriodKeys::new([(Month::of(october), None), (Month::of(november), Some(opened))]);
        assert_eq!((left.shown(october, "x"), left.shown(at("2026-12-01T00:00:00Z"), "x")), (None, None));
        assert!(left.knows(Month::of(october)) && left.all_shown("x").count() == 2);
    }
}
