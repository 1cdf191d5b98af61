//! Which JSON text is its own RFC 8785 form, so that it can be hashed as it stands: what the service writes is. Whatever
//! else somebody may have put into a log is parsed and written anew.

/// Deeper values take the long way.
const DEPTH: usize = 16;
/// Integers of that many digits are exact in every implementation of JSON.
const DIGITS: usize = 15;

/// Bytes that are looked at together.
const AT_ONCE: usize = 16;

/// The end of the value that begins at `start`; `None` where it is not, or not easily seen to be, in canonical form.
#[must_use]
pub fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    value(text, start, DEPTH)
}

/// True where the whole text, which is UTF-8, is one value in canonical form.
#[must_use]
pub fn is_plain(text: &[u8]) -> bool {
    end_of_value(text, 0) == Some(text.len())
}

/// True where a text needs no escapes between its quotes.
#[must_use]
pub fn is_plain_text(text: &[u8]) -> bool {
    // Without an early end, so that it is done for many bytes at once.
    text.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

fn is_plain_byte(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

/// The end of the text whose opening quote is at `start`, behind its closing quote.
#[must_use]
pub fn end_of_text(text: &[u8], start: usize) -> Option<usize> {
    if *text.get(start)? != b'"' {
        return None;
    }
    let rest = text.get(start + 1..)?;
    // Many bytes at once, up to those among which it ends.
    let passed = rest.chunks_exact(AT_ONCE).take_while(|bytes| is_plain_text(bytes)).count() * AT_ONCE;
    let end = start + 1 + passed + rest[passed..].iter().position(|byte| !is_plain_byte(*byte))?;
    (text[end] == b'"').then_some(end + 1)
}

fn value(text: &[u8], start: usize, depth: usize) -> Option<usize> {
    let literal = |literal: &[u8]| text[start..].starts_with(literal).then_some(start + literal.len());
    match text.get(start)? {
        b'"' => end_of_text(text, start),
        b'{' => object(text, start + 1, depth.checked_sub(1)?),
        b'[' => array(text, start + 1, depth.checked_sub(1)?),
        b'n' => literal(b"null"),
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        _ => integer(text, start),
    }
}

/// A number that is no such integer has another byte behind it than a list or an object may have, and fails there.
fn integer(text: &[u8], start: usize) -> Option<usize> {
    let first = start + usize::from(text[start] == b'-');
    let digits = text.get(first..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_exact = match text.get(first)? {
        b'0' => digits == 1 && first == start,
        _ => (1..=DIGITS).contains(&digits),
    };
    is_exact.then_some(first + digits)
}

fn array(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    if *text.get(at)? == b']' {
        return Some(at + 1);
    }
    loop {
        at = value(text, at, depth)?;
        match text.get(at)? {
            b',' => at += 1,
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Keys are sorted by their UTF-16 form, which of ASCII is that of the bytes.
fn object(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    if *text.get(at)? == b'}' {
        return Some(at + 1);
    }
    let mut before: Option<&[u8]> = None;
    loop {
        let end = end_of_text(text, at)?;
        let key = &text[at + 1..end - 1];
        if !key.is_ascii() || before.is_some_and(|before| before >= key) || *text.get(end)? != b':' {
            return None;
        }
        before = Some(key);
        at = value(text, end + 1, depth)?;
        match text.get(at)? {
            b',' => at += 1,
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_text_is_plain() {
        for plain in [
            "{}",
            "[]",
            "null",
            "true",
            "-7",
            "0",
            "\"\u{7f}ü\"",
            r#"{"a":[1,{"b":null}],"b":"x","ba":false}"#,
            "123456789012345",
        ] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        for other in [
            "",
            " {}",
            "{} ",
            "{\"a\": 1}",
            "[1,]",
            "[1 ]",
            "{\"b\":1,\"a\":1}",
            "{\"a\":1,\"a\":1}",
            "{\"ü\":1}",
            "-0",
            "01",
            "1.0",
            "1e3",
            "-",
            "1234567890123456",
            "\"a\\n\"",
            "\"a",
            "\"a\nb\"",
            "{\"a\":1",
            "{\"a\"",
            "[",
            "nul",
            "{1:2}",
        ] {
            assert!(!is_plain(other.as_bytes()), "{other}");
        }
        assert!(!is_plain("[".repeat(100_000).as_bytes()));
    }

    #[test]
    fn a_text_ends_with_its_quote_however_long_it_is() {
        for length in 0..3 * AT_ONCE {
            let text = format!("\"{}\"", "x".repeat(length));
            assert_eq!(end_of_text(format!("{text}\"").as_bytes(), 0), Some(length + 2));
            assert_eq!(end_of_text(&text.as_bytes()[..=length], 0), None, "{length}");
            for place in 1..=length {
                let mut broken = text.clone().into_bytes();
                broken[place] = b'\n';
                assert_eq!(end_of_text(&broken, 0), None, "{length} {place}");
            }
        }
    }
}
