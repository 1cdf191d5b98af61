//! Pseudonyms and sealing: everything that is derived from `secrets.pseudonym_key`.
//!
//! Keys are derived by HKDF-SHA-256 (RFC 5869) with separate labels; sealing is AES-256-GCM with a random
//! nonce in front; each request seals with a random data key of its own, which lies wrapped beside the sealed
//! data and is deleted with it.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac, rand,
};

use super::{audit::hex, key::Key};

/// The service's keys. `Debug` shows nothing of them.
pub struct Vault {
    refs: hmac::Key,
    wrapping: [u8; 32],
    ledger: [u8; 32],
    periods: [u8; 32],
    cursor: hmac::Key,
}

/// A request's own data key, or a ledger's, unwrapped.
#[derive(Clone)]
pub struct DataKey([u8; 32]);

/// The key of a calendar month, under which pseudonyms are shown: see [`super::pseudonym`].
#[derive(Clone)]
pub struct PeriodKey {
    requests: hmac::Key,
    consents: hmac::Key,
}

/// Sealed data could not be opened: another key, or somebody changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open with this pseudonym_key")]
pub struct Unopened;

impl Vault {
    /// `master` is the configured key: exactly 32 bytes.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        Self {
            refs: hmac::Key::new(hmac::HMAC_SHA256, &derive(master, b"rightful subject_ref v1")),
            wrapping: derive(master, b"rightful data key wrapping v1"),
            ledger: derive(master, b"rightful ledger key wrapping v1"),
            periods: derive(master, b"rightful period key wrapping v1"),
            cursor: hmac::Key::new(hmac::HMAC_SHA256, &derive(master, b"rightful page cursor v1")),
        }
    }

    /// The compared pseudonym of one identity, which is never shown: hex HMAC-SHA-256 over connection, schema, table, column, the compared form of
    /// the value and, with a scope, the scope's values. Each part is length-prefixed.
    #[must_use]
    pub fn subject_ref(&self, place: [&str; 4], value: &Key, scope: &[Key]) -> String {
        let mut context = hmac::Context::with_key(&self.refs);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        for name in place {
            part(name.as_bytes());
        }
        part(&value.tagged_bytes());
        for value in scope {
            part(&value.tagged_bytes());
        }
        hex(context.sign().as_ref())
    }

    /// Hex HMAC over any bytes that must not be comparable with a plain hash: idempotent bodies, page cursors.
    #[must_use]
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        hex(hmac::sign(&self.cursor, bytes).as_ref())
    }

    /// A new random data key and its wrapped form.
    #[must_use]
    pub fn new_data_key(&self) -> (DataKey, Vec<u8>) {
        let key = DataKey(random());
        let wrapped = seal(&self.wrapping, &key.0, b"data key");
        (key, wrapped)
    }

    /// # Errors
    /// When the wrapped key was made under another `pseudonym_key`.
    pub fn unwrap_data_key(&self, wrapped: &[u8]) -> Result<DataKey, Unopened> {
        let opened = open(&self.wrapping, wrapped, b"data key")?;
        opened.try_into().map(DataKey).map_err(|_| Unopened)
    }

    /// A new random key of a ledger and its wrapped form. No data key's wrapping opens it.
    #[must_use]
    pub fn new_ledger_key(&self) -> (DataKey, Vec<u8>) {
        let key = DataKey(random());
        let wrapped = seal(&self.ledger, &key.0, b"ledger key");
        (key, wrapped)
    }

    /// # Errors
    /// When the wrapped key was made under another `pseudonym_key`.
    pub fn unwrap_ledger_key(&self, wrapped: &[u8]) -> Result<DataKey, Unopened> {
        let opened = open(&self.ledger, wrapped, b"ledger key")?;
        opened.try_into().map(DataKey).map_err(|_| Unopened)
    }

    /// A new random key of a month and its wrapped form. No other wrapping opens it.
    #[must_use]
    pub fn new_period_key(&self) -> (PeriodKey, Vec<u8>) {
        let secret: [u8; 32] = random();
        let wrapped = seal(&self.periods, &secret, b"period key");
        (PeriodKey::new(&secret), wrapped)
    }

    /// # Errors
    /// When the wrapped key was made under another `pseudonym_key`.
    pub fn unwrap_period_key(&self, wrapped: &[u8]) -> Result<PeriodKey, Unopened> {
        let opened = open(&self.periods, wrapped, b"period key")?;
        let secret: [u8; 32] = opened.try_into().map_err(|_| Unopened)?;
        Ok(PeriodKey::new(&secret))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault([redacted])")
    }
}

impl DataKey {
    /// Seals under this key; `place` (such as `keys/3/17`) is authenticated, so that sealed parts cannot be swapped.
    #[must_use]
    pub fn seal(&self, plain: &[u8], place: &str) -> Vec<u8> {
        seal(&self.0, plain, place.as_bytes())
    }

    /// # Errors
    /// When the data was sealed under another key or for another place.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Vec<u8>, Unopened> {
        open(&self.0, sealed, place.as_bytes())
    }

    /// Names one call of this request to another system: the same each time, and nothing can be read from it.
    #[must_use]
    pub fn call_id(&self, step: &str, resource: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &derive(&self.0, b"rightful call v1"));
        let mut context = hmac::Context::with_key(&key);
        context.update(&(step.len() as u64).to_be_bytes());
        context.update(step.as_bytes());
        context.update(resource);
        let mut id = hex(context.sign().as_ref());
        id.truncate(32);
        id
    }

    /// The key of this request's `hmac` masks.
    #[must_use]
    pub fn mask_key(&self) -> [u8; 32] {
        derive(&self.0, b"rightful hmac mask v1")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

impl PeriodKey {
    fn new(secret: &[u8; 32]) -> Self {
        let key = |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, &derive(secret, label));
        Self { requests: key(b"rightful shown ref v1"), consents: key(b"rightful shown ref of consents v1") }
    }

    /// Hex HMAC-SHA-256 over a compared pseudonym, as requests and holds show it.
    #[must_use]
    pub fn shown(&self, pseudonym: &str) -> String {
        hex(hmac::sign(&self.requests, pseudonym.as_bytes()).as_ref())
    }

    /// The same as consents show it.
    #[must_use]
    pub fn shown_of_consent(&self, pseudonym: &str) -> String {
        hex(hmac::sign(&self.consents, pseudonym.as_bytes()).as_ref())
    }
}

impl fmt::Debug for PeriodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeriodKey([redacted])")
    }
}

fn derive(secret: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(secret);
    let info = [label];
    pseudo_random
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("HKDF-SHA-256 yields 32 bytes");
    out
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn seal(key: &[u8; 32], plain: &[u8], place: &[u8]) -> Vec<u8> {
    let nonce: [u8; 12] = random();
    let mut sealed = plain.to_vec();
    aead(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
        .expect("AES-GCM seals less than 64 GiB");
    [nonce.as_slice(), &sealed].concat()
}

fn open(key: &[u8; 32], sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, Unopened> {
    let (nonce, rest) = sealed.split_at_checked(12).ok_or(Unopened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened)?;
    let mut buffer = rest.to_vec();
    let plain = aead(key).open_in_place(nonce, Aad::from(place), &mut buffer).map_err(|_| Unopened)?;
    Ok(plain.to_vec())
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes"))
}
