//! An event as the bytes that a store or a file holds, and its hash: verification trusts nothing of it, and neither parses nor
//! copies what it need not.

use super::plain::{is_plain, is_plain_text};
use crate::domain::{json::Strict, tree::Digest};
use aws_lc_rs::digest::{SHA256, digest};

/// As [`Event`](super::Event), unread. `rows` and `details` are JSON.
#[derive(Debug, Clone, Copy)]
pub struct RawEvent<'a> {
    pub id: &'a [u8],
    pub stream: &'a [u8],
    pub seq: i64,
    pub at: &'a [u8],
    pub event: &'a [u8],
    pub request_id: Option<&'a [u8]>,
    pub subject_ref: Option<&'a [u8]>,
    pub actor: &'a [u8],
    pub step: Option<&'a [u8]>,
    pub action: Option<&'a [u8]>,
    pub rows: Option<&'a [u8]>,
    pub details: &'a [u8],
    pub prev_hash: &'a [u8],
    pub hash: &'a [u8],
}

/// The 32 bytes of a hash that is written as the service writes it: 64 digits in lower case.
#[must_use]
pub fn digest_of(hex: &[u8]) -> Option<Digest> {
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    if pairs.len() != 32 {
        return None;
    }
    let mut digest = Digest::default();
    // One look at the end is faster than 64 on the way.
    let mut seen = 0;
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let (high, low) = (DIGIT[usize::from(*high)], DIGIT[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(digest)
}

/// What each byte is as a hexadecimal digit in lower case; 0xff where it is none.
const DIGIT: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    table
};

/// Computes hashes, in a buffer that it keeps.
#[derive(Default)]
pub struct Hasher {
    bytes: Vec<u8>,
}

impl Hasher {
    /// What the event's hash has to be behind this one; `None` where it has no canonical form, and so no hash at all.
    pub fn hash(&mut self, before: &Digest, event: &RawEvent<'_>) -> Option<Digest> {
        self.bytes.clear();
        self.bytes.extend_from_slice(before);
        self.write(event)?;
        // What is plain was copied unread, and what is no text has no JSON form.
        std::str::from_utf8(&self.bytes[before.len()..]).ok()?;
        digest(&SHA256, &self.bytes).as_ref().try_into().ok()
    }

    /// The event in canonical form, its keys sorted.
    fn write(&mut self, event: &RawEvent<'_>) -> Option<()> {
        self.optional(b"{\"action\":", event.action)?;
        self.text(b",\"actor\":", event.actor)?;
        self.text(b",\"at\":", event.at)?;
        self.json(b",\"details\":", event.details)?;
        self.text(b",\"event\":", event.event)?;
        self.text(b",\"id\":", event.id)?;
        self.optional(b",\"request_id\":", event.request_id)?;
        self.json(b",\"rows\":", event.rows.unwrap_or(b"null"))?;
        self.bytes.extend_from_slice(b",\"seq\":");
        self.number(event.seq);
        self.optional(b",\"step\":", event.step)?;
        self.text(b",\"stream\":", event.stream)?;
        self.optional(b",\"subject_ref\":", event.subject_ref)?;
        self.bytes.push(b'}');
        Some(())
    }

    fn optional(&mut self, key: &[u8], text: Option<&[u8]>) -> Option<()> {
        if let Some(text) = text {
            return self.text(key, text);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(b"null");
        Some(())
    }

    fn text(&mut self, key: &[u8], text: &[u8]) -> Option<()> {
        self.bytes.extend_from_slice(key);
        if is_plain_text(text) {
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(text);
            self.bytes.push(b'"');
            return Some(());
        }
        let text = std::str::from_utf8(text).ok()?;
        serde_json::to_writer(&mut self.bytes, text).ok()
    }

    fn json(&mut self, key: &[u8], json: &[u8]) -> Option<()> {
        self.bytes.extend_from_slice(key);
        if is_plain(json) {
            self.bytes.extend_from_slice(json);
            return Some(());
        }
        // A member that stands twice is one thing to this reader and another to the next.
        let Strict(value) = serde_json::from_slice(json).ok()?;
        self.bytes.extend_from_slice(&serde_json_canonicalizer::to_vec(&value).ok()?);
        Some(())
    }

    /// A `seq` is never so large that RFC 8785 would write it in another way.
    fn number(&mut self, number: i64) {
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), number.unsigned_abs());
        loop {
            at -= 1;
            digits[at] = b"0123456789"[usize::try_from(rest % 10).unwrap_or_default()];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            self.bytes.push(b'-');
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::audit::{Event, genesis, hex, unhex};

    /// The texts of an event, as a store holds them.
    pub struct Texts {
        event: Event,
        texts: [Option<String>; 4],
    }

    impl Texts {
        pub fn of(event: &Event) -> Self {
            let texts = [
                Some(event.id.to_string()),
                event.request_id.map(|id| id.to_string()),
                event.rows.as_ref().map(ToString::to_string),
                Some(event.details.to_string()),
            ];
            Self { event: event.clone(), texts }
        }

        pub fn raw(&self) -> RawEvent<'_> {
            let event = &self.event;
            let [id, request_id, rows, details] =
                self.texts.each_ref().map(|text| text.as_deref().map(str::as_bytes));
            RawEvent {
                id: id.unwrap_or_default(),
                stream: event.stream.as_bytes(),
                seq: event.seq,
                at: event.at.as_bytes(),
                event: event.event.as_bytes(),
                request_id,
                subject_ref: event.subject_ref.as_deref().map(str::as_bytes),
                actor: event.actor.as_bytes(),
                step: event.step.as_deref().map(str::as_bytes),
                action: event.action.as_deref().map(str::as_bytes),
                rows,
                details: details.unwrap_or_default(),
                prev_hash: event.prev_hash.as_bytes(),
                hash: event.hash.as_bytes(),
            }
        }
    }

    #[test]
    fn digits_are_read_as_they_are_written() {
        let digest: Digest = std::array::from_fn(|i| u8::try_from(i * 8 + 7).unwrap());
        let text = hex(&digest);
        assert_eq!(digest_of(text.as_bytes()), Some(digest));
        assert_eq!(digest_of(text.as_bytes()).unwrap().as_slice(), unhex(&text));
        assert_eq!(digest_of(genesis().as_bytes()), Some([0; 32]));
        for wrong in [text.to_uppercase(), text[1..].to_owned(), text.clone() + "00", text.replace('f', "g")]
        {
            assert_eq!(digest_of(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_has_no_canonical_form_has_no_hash() {
        let event = RawEvent {
            id: b"x",
            stream: b"x",
            seq: 1,
            at: b"x",
            event: b"x",
            request_id: None,
            subject_ref: None,
            actor: b"x",
            step: None,
            action: None,
            rows: None,
            details: b"{}",
            prev_hash: b"",
            hash: b"",
        };
        let hash = |event: &RawEvent<'_>| Hasher::default().hash(&[0; 32], event);
        assert!(hash(&event).is_some());
        assert_eq!(hash(&RawEvent { details: b"{ }", ..event }), hash(&event), "the same value");
        assert!(hash(&RawEvent { details: b"{", ..event }).is_none());
        assert!(hash(&RawEvent { actor: b"\x01\xff", ..event }).is_none());
        assert!(hash(&RawEvent { actor: b"\xff", ..event }).is_none());
        assert!(hash(&RawEvent { details: b"{\"a\":\"\xff\"}", ..event }).is_none());
        assert_ne!(hash(&RawEvent { seq: i64::MIN, ..event }), hash(&event));
    }
}
