//! Texts in every form in which they may lie somewhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What is looked for, and how it is written.
pub struct Needles {
    /// In small letters, for all that does not depend on the case.
    small: Vec<(String, &'static str)>,
    exact: Vec<(String, &'static str)>,
}

impl Needles {
    pub fn new(facts: impl IntoIterator<Item = String>) -> Self {
        let (mut small, mut exact) = (Vec::new(), Vec::new());
        for fact in facts {
            let lower = fact.to_lowercase();
            for text in [&fact, &lower] {
                small.push((text.to_lowercase(), "as it is"));
                small.push((hex(text), "hex"));
                let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                small.push((encoded.to_lowercase(), "percent-encoded"));
                small.push((encoded.replace("%20", "+").to_lowercase(), "as a form"));
                small.push((text.replace('@', "%40").replace(' ', "+").to_lowercase(), "as a query"));
                let bytes = format!("{:?}", text.as_bytes());
                small.push((bytes.trim_matches(['[', ']']).to_owned(), "as numbers"));
                for offset in 0..3 {
                    let inner = base64_at(text, offset);
                    exact.push((inner.replace('+', "-").replace('/', "_"), "base64url"));
                    exact.push((inner, "base64"));
                }
            }
        }
        Self { small, exact }
    }

    /// The first that is there, and around it what it was found in.
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        // Byte by byte: what is looked for is ASCII.
        let text: String = bytes.iter().map(|byte| char::from(byte & 0x7f)).collect();
        let lower = text.to_ascii_lowercase();
        let around = |at: usize| text[at.saturating_sub(200)..(at + 200).min(text.len())].to_owned();
        let found = |haystack: &str, needles: &[(String, &str)]| {
            needles.iter().find_map(|(needle, form)| {
                let at = haystack.find(needle.as_str())?;
                Some(format!("{needle} ({form}): …{}…", around(at)))
            })
        };
        found(&lower, &self.small).or_else(|| found(&text, &self.exact))
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What base64 makes of a text that begins at that byte of a group of three, without what depends on its neighbours.
fn base64_at(text: &str, offset: usize) -> String {
    let bytes = [&vec![0; offset], text.as_bytes()].concat();
    let first = (offset * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    STANDARD.encode(&bytes)[first..whole].to_owned()
}

#[test]
fn every_form_is_found_and_nothing_else() {
    let fact = "Jane.Canary@Example.test, 7b";
    let needles = Needles::new([fact.to_owned()]);
    let upper_hex = hex(fact).to_uppercase();
    let encoded = |before: &str| STANDARD.encode(format!("{before}{fact} and more"));
    for text in [
        format!("to {fact}."),
        fact.to_uppercase(),
        fact.to_lowercase(),
        upper_hex,
        encoded(""),
        encoded("x"),
        encoded("xy"),
        encoded("xyz"),
        "GET /?q=jane%2ecanary%40example%2Etest%2C%207b".to_owned(),
        "q=Jane.Canary%40Example.test,+7b".to_owned(),
        format!("{:?}", fact.as_bytes()),
    ] {
        assert!(needles.found_in(text.as_bytes()).is_some(), "{text}");
    }
    let other = "Jane.Canary@Example.test, 8b";
    for text in [other.to_owned(), STANDARD.encode(other), hex(other), String::new()] {
        assert_eq!(needles.found_in(text.as_bytes()), None);
    }
}
