//! Calls to an HTTP service as plans and the configuration write them: a method and a path in which `{name}` stands
//! for a key.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Everything but the unreserved characters of RFC 3986 §2.3: a key is always one piece of a path, never two.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// `DELETE /contacts/{email}`. The path goes behind that of the connection's URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallTemplate {
    pub method: Method,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{email}`.
    Value(String),
}

impl CallTemplate {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (method, path) =
            text.split_once(' ').ok_or("it is no method and path, such as GET /contacts/{email}")?;
        let known = Method::ALL.into_iter().find(|known| known.as_str() == method);
        let method = known.ok_or("its method is none of GET, POST, PUT, PATCH and DELETE")?;
        let path = path.trim();
        if !path.starts_with('/') {
            return Err("its path does not begin with a slash".to_owned());
        }
        let route = path.split('?').next().unwrap_or_default();
        // A client takes such a segment out of the path, and what is behind it is another place.
        if route.split('/').any(|segment| segment == "." || segment == "..") {
            return Err("its path has a segment of dots".to_owned());
        }
        Ok(Self { method, pieces: pieces(path)? })
    }

    /// The names in braces, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for piece in &self.pieces {
            if let Piece::Value(name) = piece
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// The path with percent-encoded values; `None` where one is missing. What it says is personal data.
    #[must_use]
    pub fn path<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut path = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Value(name) => path.extend(utf8_percent_encode(value(name)?, VALUE)),
            }
        }
        Some(path)
    }
}

/// New values of a resource's fields. Personal data: `Debug` shows nothing of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NewFields(pub Map<String, Value>);

impl NewFields {
    /// The JSON object that is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for NewFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewFields([redacted])")
    }
}

fn pieces(path: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (text, behind) = rest.split_once('{').map_or((rest, None), |(text, rest)| (text, Some(rest)));
        if let Some(odd) = text.chars().find(|c| !stands_in_path(*c)) {
            return Err(format!("`{odd}` cannot stand in its path: percent-encode it"));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let Some(behind) = behind else { break };
        let (name, after) = behind.split_once('}').ok_or("a brace in its path does not close")?;
        if name.is_empty() || name.contains('{') {
            return Err("braces in its path hold no name".to_owned());
        }
        pieces.push(Piece::Value(name.to_owned()));
        rest = after;
    }
    Ok(pieces)
}

/// RFC 3986 §3.3 and §3.4, the percent sign of what is encoded already included.
fn stands_in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/?".contains(c)
}

impl fmt::Display for CallTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method.as_str())?;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Value(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for CallTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<CallTemplate> for String {
    fn from(call: CallTemplate) -> Self {
        call.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_piece_of_the_path_whatever_it_holds() {
        let call = CallTemplate::parse("GET /v1/contacts/{email}?tenant={tenant}&x=1").unwrap();
        assert_eq!((call.method, call.names()), (Method::Get, vec!["email", "tenant"]));
        let path = |email: &'static str| {
            call.path(|name| Some(if name == "email" { email } else { "a&b" })).unwrap()
        };
        assert_eq!(path("jane@example.com"), "/v1/contacts/jane%40example.com?tenant=a%26b&x=1");
        assert_eq!(path("a/../b?c#d%"), "/v1/contacts/a%2F..%2Fb%3Fc%23d%25?tenant=a%26b&x=1");
        assert_eq!(path("é "), "/v1/contacts/%C3%A9%20?tenant=a%26b&x=1");
        assert_eq!(call.path(|name| (name == "email").then_some("x")), None);
    }

    #[test]
    fn it_is_kept_as_it_was_written() {
        for text in ["DELETE /contacts/{email}", "GET /health", "POST /x/{a}/{b}.json?y={a}"] {
            let call = CallTemplate::parse(text).unwrap();
            assert_eq!(call.to_string(), text);
            let json = serde_json::to_string(&call).unwrap();
            assert_eq!(serde_json::from_str::<CallTemplate>(&json).unwrap(), call);
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for (text, says) in [
            ("/contacts", "no method and path"),
            ("get /contacts", "GET, POST, PUT"),
            ("TRACE /contacts", "GET, POST, PUT"),
            ("GET contacts", "slash"),
            ("GET https://other.example/x", "slash"),
            ("GET /a/../b", "dots"),
            ("GET /a/{b", "does not close"),
            ("GET /a/{}", "no name"),
            ("GET /a#b", "`#` cannot stand"),
            ("GET /a b", "` ` cannot stand"),
            ("GET /é", "percent-encode"),
        ] {
            let refused = CallTemplate::parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
