//! Small texts that mean something: written again they mean the same.

use std::time::Duration;

use chrono::DateTime;
use rightful::{
    domain::{call::CallTemplate, number::is_same_number, period::Period, plan::Reference},
    http::query::Query,
};

const NAMES: [&str; 4] = ["status", "from", "wait", "id"];
const MINUTE: Duration = Duration::from_secs(60);

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let taken = [period(text), reference(text), call(text), query(text)];
    number(text);
    taken.contains(&true)
}

fn period(text: &str) -> bool {
    let Ok(period) = text.parse::<Period>() else { return false };
    assert_eq!(period.to_string().parse(), Ok(period));
    let moment = DateTime::from_timestamp(1_709_164_800, 0).expect("a leap day");
    assert!(period.before(moment).is_none_or(|before| before < moment));
    assert!(period.after(moment).is_none_or(|after| after > moment));
    assert!(!period.is_longer_than(period));
    true
}

fn reference(text: &str) -> bool {
    let Some(reference) = Reference::split(text) else { return false };
    assert!(reference.parts.iter().all(|part| !part.is_empty()));
    assert_eq!(Reference::split(&reference.to_string()), Some(reference));
    true
}

fn call(text: &str) -> bool {
    let call = match CallTemplate::parse(text) {
        Ok(call) => call,
        Err(why) => {
            assert!(!why.is_empty());
            return false;
        }
    };
    assert_eq!(CallTemplate::parse(&call.to_string()).as_ref(), Ok(&call));
    assert!(call.path(|_| None).is_none_or(|path| call.names().is_empty() && path.starts_with('/')));
    // A key is one piece of the path, whatever it holds: it moves no slash and begins no query.
    let path = call.path(|_| Some("x")).expect("all values");
    let hostile = call.path(|_| Some("/../a?b#c%2F\u{0} ü")).expect("all values");
    for c in ['/', '?', '#', ' '] {
        assert_eq!(path.matches(c).count(), hostile.matches(c).count(), "{hostile}");
    }
    assert!(hostile.is_ascii() || !path.is_ascii());
    true
}

fn query(text: &str) -> bool {
    let Ok(query) = Query::parse(text, &NAMES) else { return false };
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for name in NAMES {
        if let Some(value) = query.text(name) {
            assert!(!value.contains('\0'));
            written.append_pair(name, value);
        }
    }
    let again = Query::parse(&written.finish(), &NAMES).expect("what is known once");
    for name in NAMES {
        assert_eq!(again.text(name), query.text(name));
    }
    if let Ok(Some(time)) = query.time("from") {
        let text = time.to_rfc3339().replace('+', "%2B");
        let again = Query::parse(&format!("from={text}"), &NAMES).and_then(|query| query.time("from"));
        assert_eq!(again.ok().flatten(), Some(time), "{text}");
    }
    if let Ok(Some(wait)) = query.duration("wait", MINUTE) {
        assert!(wait <= MINUTE);
    }
    if let Ok(Some(id)) = query.id("id") {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    let parts = query.several("status", "", |part| Some(part.to_owned())).expect("any text");
    assert!(parts.iter().all(|part| part.trim() == part));
    true
}

/// A number is itself, and its opposite is not, unless it is nothing.
fn number(text: &str) {
    if !text.starts_with('-') && serde_json::from_str::<serde_json::Number>(text).is_ok() {
        assert!(is_same_number(text, text));
        assert!(!is_same_number(text, &format!("-{text}")));
        assert!(is_same_number(text, &format!("{text}e0")) || text.contains(['e', 'E']));
    }
}
