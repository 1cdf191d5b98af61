//! Pages of a list. A cursor says after which row the next page begins; it is bound to the filters of its list
//! by a keyed hash, so that nobody can make one up or carry it to another list.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{problem::Problem, query::Query};
use crate::domain::vault::Vault;

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;
/// Hex digits of the hash that a cursor carries: 128 bits.
const MAC: usize = 32;

/// The row after which a page of requests begins: the time it is sorted by, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: Uuid,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.timestamp_micros(), self.id.simple())
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        let at = at.parse().ok().and_then(DateTime::from_timestamp_micros).ok_or(())?;
        Ok(Self { at, id: id.parse().map_err(drop)? })
    }
}

/// How much of a list is asked for; `P` says where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging<P> {
    pub limit: i64,
    pub after: Option<P>,
    /// What the cursors of this list are bound to.
    scope: String,
}

impl<P: fmt::Display + FromStr> Paging<P> {
    /// `scope` names the list with its filters, the same for every page of it.
    ///
    /// # Errors
    /// For a limit out of 1 to 500, or a cursor that this service did not make for this list.
    pub fn read(query: &Query, scope: String, vault: &Vault) -> Result<Self, Problem> {
        let limit = query.read("limit", "a number from 1 to 500", |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        })?;
        let after = query.read("cursor", "the next_cursor of a page of this very list", |text| {
            open(text, &scope, vault)?.parse().ok()
        })?;
        Ok(Self { limit: limit.unwrap_or(DEFAULT_LIMIT), after, scope })
    }

    /// Rows to fetch: one more than a page holds, to know whether another page follows.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// Cuts the surplus row off and makes the cursor of the next page.
    pub fn cut<T>(&self, rows: &mut Vec<T>, vault: &Vault, position: impl Fn(&T) -> P) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or_default();
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        rows.last().map(|last| seal(&position(last).to_string(), &self.scope, vault))
    }
}

fn seal(position: &str, scope: &str, vault: &Vault) -> String {
    let mac = vault.fingerprint(format!("{scope}\n{position}").as_bytes());
    URL_SAFE_NO_PAD.encode(format!("{position}.{}", &mac[..MAC]))
}

fn open(cursor: &str, scope: &str, vault: &Vault) -> Option<String> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (position, mac) = decoded.rsplit_once('.')?;
    let right = vault.fingerprint(format!("{scope}\n{position}").as_bytes());
    aws_lc_rs::constant_time::verify_slices_are_equal(mac.as_bytes(), &right.as_bytes()[..MAC]).ok()?;
    Some(position.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn a_cursor_opens_only_for_its_own_list() {
        let vault = Vault::new(&[7; 32]);
        let position = Position { at: Clock.now(), id: Clock.new_id() };
        let cursor = seal(&position.to_string(), "requests?status=failed", &vault);
        let opened = open(&cursor, "requests?status=failed", &vault).unwrap();
        assert_eq!(opened.parse(), Ok(position));
        assert_eq!(open(&cursor, "requests?status=paused", &vault), None);
        assert_eq!(open(&cursor, "requests?status=failed", &Vault::new(&[8; 32])), None);
        for wrong in ["", "a", "!!", &cursor[1..], &cursor[..cursor.len() - 1]] {
            assert_eq!(open(wrong, "requests?status=failed", &vault), None);
        }
    }
}
