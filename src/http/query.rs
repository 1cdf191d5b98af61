//! Query parameters: every one is known and well-formed, or the call is refused. A filter that is ignored
//! because of a typing error would show what was not asked for.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::problem::Problem;

/// The parameters of a call, by name.
#[derive(Debug, Clone, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// # Errors
    /// For a parameter that is not among `known`, or stands twice.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(Problem::parameter(&name, "is not known"));
            }
            if value.contains('\0') {
                return Err(Problem::parameter(&name, "must not hold U+0000"));
            }
            if values.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::parameter(&name, "stands twice"));
            }
        }
        Ok(Self(values))
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value that `read` understands.
    ///
    /// # Errors
    /// When it does not; `what` says what it should be.
    pub fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| read(text).ok_or_else(|| Problem::parameter(name, &format!("must be {what}"))))
            .transpose()
    }

    /// Several values, comma-separated; absent means no restriction and yields an empty list.
    ///
    /// # Errors
    /// When `read` does not understand one of them.
    pub fn several<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        let list = self.read(name, what, |text| text.split(',').map(|part| read(part.trim())).collect());
        Ok(list?.unwrap_or_default())
    }

    /// # Errors
    /// When it is no UUID.
    pub fn id(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        self.read(name, "a UUID", |text| text.parse().ok())
    }

    /// # Errors
    /// When it is no RFC 3339 time.
    pub fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        self.read(name, "an RFC 3339 time, such as 2026-11-02T09:00:00Z", |text| {
            // A plus that was not percent-encoded arrives as a blank.
            super::body::time(&text.replace(' ', "+"))
        })
    }

    /// # Errors
    /// When it is neither `true` nor `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.read(name, "true or false", |text| text.parse().ok())
    }

    /// `30s`, `500ms`, `1m`; cut to `max`.
    ///
    /// # Errors
    /// When it is no such duration.
    pub fn duration(&self, name: &str, max: Duration) -> Result<Option<Duration>, Problem> {
        let duration = self.read(name, "a duration, such as 30s", duration)?;
        Ok(duration.map(|duration| duration.min(max)))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1m"), Some(Duration::from_secs(60)));
        for wrong in ["", "s", "-1s", "1h", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        let query = Query::parse("wait=5m", &["wait"]).unwrap();
        assert_eq!(query.duration("wait", Duration::from_secs(60)).unwrap(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert!(Query::parse("statuss=failed", &["status"]).is_err());
        assert!(Query::parse("status=a&status=b", &["status"]).is_err());
        let query = Query::parse("status=a%2Cb&from=2026-11-02T09:00:00+01:00", &["status", "from"]).unwrap();
        assert_eq!(query.several("status", "", |s| Some(s.to_owned())).unwrap(), ["a", "b"]);
        assert_eq!(query.time("from").unwrap().unwrap().to_rfc3339(), "2026-11-02T08:00:00+00:00");
    }
}
