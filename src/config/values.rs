//! Single values: durations, URLs, keys, origins. Messages say what is wrong and never quote a secret.

use std::{net::SocketAddr, path::Path, time::Duration};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use url::Url;

use crate::domain::{
    call::{CallTemplate, Method},
    webhook::SigningKey,
};

/// RFC 7518 §3.2: a key for HS256 has at least the size of its hash.
pub const SHORTEST_HMAC_SECRET: usize = 32;

/// A fault of one value: what is wrong, what to do.
pub(super) type Wrong = (String, String);

fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err((problem.into(), remedy.into()))
}

/// `250ms`, `30s`, `5m`, `1h`, `7d`.
///
/// # Errors
/// A text that says what a duration looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<u64> = text[..digits].parse().ok();
    let millis = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    number
        .zip(millis)
        .and_then(|(number, millis)| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration is a whole number and a unit: 250ms, 30s, 5m, 1h, 7d".to_owned())
}

/// `500B`, `64KiB`, `1MiB`, `2GiB`, `1TiB`, in bytes; `kB`, `MB`, `GB` and `TB` are powers of 1000.
pub(super) fn size(text: &str) -> Result<i64, Wrong> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<i64> = text[..digits].parse().ok();
    let unit: Option<i64> = match text[digits..].trim_start() {
        "" | "B" => Some(1),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    match number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit)).filter(|size| *size > 0) {
        Some(size) => Ok(size),
        None => wrong(format!("`{text}` is no size"), "a whole number and a unit: 500B, 64KiB, 1MiB, 2GiB"),
    }
}

/// The shortest way to write a duration, for messages.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        m if m % 86_400_000 == 0 && m > 0 => format!("{}d", m / 86_400_000),
        m if m % 60_000 == 0 && m > 0 => format!("{}m", m / 60_000),
        m if m % 1_000 == 0 => format!("{}s", m / 1_000),
        m => format!("{m}ms"),
    }
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    let numeric =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().or_else(|_| {
        wrong(
            format!("`{text}` is no address to listen on"),
            "write an IP address and a port: 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080",
        )
    })
}

/// The service's own database.
pub(super) fn store_url(text: &str, folder: &Path) -> Result<String, Wrong> {
    match database_url(text, folder) {
        Ok(url) if url.starts_with("mysql:") => {
            wrong("the store cannot be MySQL or MariaDB", "use sqlite:FILE or postgres://USER@HOST/DATABASE")
        }
        other => other,
    }
}

/// A database that holds personal data, in one spelling per kind: `postgres://`, `mysql://`, `sqlite:/absolute`.
pub(super) fn connection_url(text: &str, folder: &Path) -> Result<String, Wrong> {
    match is_service(text) {
        true => service_url(text),
        false => database_url(text, folder),
    }
}

/// The connection is an HTTP service.
pub(super) fn is_service(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn service_url(text: &str) -> Result<String, Wrong> {
    let url = protected_url(text, "personal data must not travel unprotected")?;
    let parsed = Url::parse(&url).map_err(|error| (format!("this is no URL: {error}"), String::new()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return wrong(
            "the URL holds credentials",
            "put them into headers: { authorization: \"Bearer ${MAILER_TOKEN}\" }",
        );
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return wrong("the URL goes on behind its path", "write the common beginning of all calls only");
    }
    Ok(url)
}

/// A header that goes with every call to a service.
pub(super) fn header(name: &str, value: &str) -> Result<(), Wrong> {
    const OURS: [&str; 6] =
        ["host", "connection", "content-length", "content-type", "transfer-encoding", "idempotency-key"];
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || !name.bytes().all(is_token) {
        return wrong(format!("`{name}` is no name of a header"), "such as: authorization");
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return wrong(format!("the header `{name}` is set by the service itself"), "take it out");
    }
    if !value.bytes().all(|c| (b' '..=b'~').contains(&c)) {
        return wrong(
            format!("the value of `{name}` holds what no header can"),
            "does a secret end in a line break?",
        );
    }
    Ok(())
}

/// The call that tells whether address and credentials of a service are right.
pub(super) fn probe(text: &str) -> Result<CallTemplate, Wrong> {
    let remedy = "such as: probe: GET /health";
    match CallTemplate::parse(text) {
        Ok(call) if call.method != Method::Get || !call.names().is_empty() => {
            wrong("the probe must be a GET without names in braces", remedy)
        }
        Ok(call) => Ok(call),
        Err(problem) => wrong(format!("the probe: {problem}"), remedy),
    }
}

fn database_url(text: &str, folder: &Path) -> Result<String, Wrong> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        return sqlite_url(path, folder);
    }
    let kind = match text.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => "postgres",
        Some("mysql" | "mariadb") => "mysql",
        _ => {
            return wrong(
                "the URL names no database that is known",
                "it begins with postgres://, mysql:// or sqlite:; that of an HTTP service with https://",
            );
        }
    };
    match Url::parse(text) {
        // PostgreSQL takes its host from the environment or a socket; MySQL always has one.
        Ok(url) if kind == "postgres" || url.host_str().is_some_and(|host| !host.is_empty()) => {
            let (_, rest) = text.split_once("://").unwrap_or_default();
            Ok(format!("{kind}://{rest}"))
        }
        Ok(_) => wrong("the URL names no host", format!("write {kind}://USER@HOST/DATABASE")),
        Err(error) => wrong(
            format!("this is no URL: {error}"),
            "percent-encode special characters of the password: @ is %40, / is %2F",
        ),
    }
}

fn sqlite_url(path: &str, folder: &Path) -> Result<String, Wrong> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") {
        return wrong("sqlite: needs a file", "write sqlite:FILE, relative to this configuration's folder");
    }
    Ok(format!("sqlite:{}", folder.join(path).display()))
}

/// JWKS come over TLS, or from this machine: whoever can change them can sign tokens.
pub(super) fn jwks_url(text: &str) -> Result<String, Wrong> {
    protected_url(text, "signing keys must not travel unprotected")
}

fn protected_url(text: &str, problem: &str) -> Result<String, Wrong> {
    let remedy = "write https://…; http:// is taken from localhost only";
    let url = Url::parse(text).or_else(|error| wrong(format!("this is no URL: {error}"), remedy))?;
    let local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if local => Ok(text.to_owned()),
        _ => wrong(problem, remedy),
    }
}

/// Whoever listens on the way could read and repeat what is told: over TLS, or on this machine.
pub(super) fn webhook_url(text: &str) -> Result<String, Wrong> {
    protected_url(text, "what is told to a webhook must not travel unprotected")
}

/// What lies there is sealed, but who may write there is told on the way: over TLS, or on this machine.
pub(super) fn object_store_url(text: &str) -> Result<String, Wrong> {
    protected_url(text, "the keys of an object store must not travel unprotected")
}

/// A key after the Standard Webhooks specification.
pub(super) fn webhook_secret(text: String) -> Result<String, Wrong> {
    if SigningKey::parse(&text).is_none() {
        return wrong(
            "the secret is not `whsec_` and 24 to 64 bytes in base64",
            "make one: echo whsec_$(openssl rand -base64 32)",
        );
    }
    Ok(text)
}

pub(super) fn public_key(pem: String) -> Result<String, Wrong> {
    if pem.contains("PRIVATE KEY") {
        return wrong("this is a private key", "give the service the public key only: openssl pkey -pubout");
    }
    if !pem.contains("-----BEGIN ") || !pem.contains("PUBLIC KEY-----") {
        return wrong("this is no public key in PEM", "it begins with -----BEGIN PUBLIC KEY-----");
    }
    Ok(pem)
}

pub(super) fn hmac_secret(text: String) -> Result<String, Wrong> {
    if text.len() < SHORTEST_HMAC_SECRET {
        return wrong(
            format!("the secret has {} bytes; HS256 needs at least {SHORTEST_HMAC_SECRET}", text.len()),
            "make one: openssl rand -base64 48",
        );
    }
    Ok(text)
}

pub(super) fn master_key(text: &str) -> Result<[u8; 32], Wrong> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let remedy = "make one: openssl rand -base64 32";
    match GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text.trim()) {
        Ok(bytes) => {
            let found = bytes.len();
            bytes.try_into().or_else(|_| wrong(format!("the key has {found} bytes; it needs 32"), remedy))
        }
        Err(_) => wrong("the key is not base64", remedy),
    }
}

/// An origin as browsers send it (RFC 6454): scheme, host and port, nothing behind.
pub(super) fn origin(text: &str) -> Result<String, Wrong> {
    let remedy = "write the panel's origin as the browser sends it: https://panel.example";
    if text == "*" {
        return wrong("`*` would let every web site call this service", remedy);
    }
    match Url::parse(text) {
        Ok(url) if url.origin().is_tuple() && url.origin().ascii_serialization() == text => {
            Ok(text.to_owned())
        }
        _ => wrong(format!("`{text}` is no origin"), remedy),
    }
}
