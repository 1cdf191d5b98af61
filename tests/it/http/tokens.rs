//! Tokens that must not be believed, and the three kinds of keys.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    encoding::{AsBigEndian, AsDer, EcPublicKeyUncompressedBin},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rightful::{domain::clock::Clock, http::auth::KeySource};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::app;
use crate::support::{
    app::{AUDIENCE, ISSUER, SECRET, Setup, TestApp, claims, token},
    stores::sqlite_store,
};

const ANY: &str = "/v1/requests";

fn signed(header: Header, claims: &Value, key: &EncodingKey) -> String {
    encode(&header, claims, key).unwrap()
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims("alice", &["admin"]);
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims("alice", &["admin"]);
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// Header and claims as they are, without a library that would refuse to write them.
fn crafted(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

fn hs256(header: &Value, claims: &Value) -> String {
    let unsigned = crafted(header, claims, "");
    let message = unsigned.trim_end_matches('.');
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_in_one_respect_is_refused() {
    let app = app().await;
    let now = Clock.now().timestamp();
    let good = claims("alice", &["admin"]);
    let mut tampered = token(&good).split('.').map(str::to_owned).collect::<Vec<_>>();
    tampered[1] = URL_SAFE_NO_PAD.encode(with("sub", json!("mallory")).to_string());
    let hostile = [
        ("expired", token(&with("exp", json!(now - 31)))),
        ("exp as text", token(&with("exp", json!("9999999999")))),
        ("no exp", token(&without("exp"))),
        ("not valid yet", token(&with("nbf", json!(now + 60)))),
        ("another issuer", token(&with("iss", json!("https://evil.test")))),
        ("a list of issuers", token(&with("iss", json!([ISSUER, "https://evil.test"])))),
        ("no issuer", token(&without("iss"))),
        ("another audience", token(&with("aud", json!("other")))),
        ("no audience", token(&without("aud"))),
        ("no sub", token(&without("sub"))),
        ("empty sub", token(&with("sub", json!("")))),
        ("sub with a line break", token(&with("sub", json!("alice\nbob")))),
        ("sub as number", token(&with("sub", json!(7)))),
        ("alg none", crafted(&json!({ "alg": "none" }), &good, "")),
        ("alg None", crafted(&json!({ "alg": "None", "typ": "JWT" }), &good, "")),
        (
            "HS512 with the same secret",
            signed(Header::new(Algorithm::HS512), &good, &EncodingKey::from_secret(SECRET)),
        ),
        ("another secret", signed(Header::default(), &good, &EncodingKey::from_secret(&[1; 32]))),
        ("tampered claims", tampered.join(".")),
        ("no signature", crafted(&json!({ "alg": "HS256" }), &good, "")),
        ("crit", hs256(&json!({ "alg": "HS256", "crit": ["exp"], "exp": now }), &good)),
        ("empty crit", hs256(&json!({ "alg": "HS256", "crit": [] }), &good)),
        ("two parts", "a.b".to_owned()),
        ("nonsense", "nonsense".to_owned()),
        ("very long", format!("{}.{}.x", "a".repeat(20_000), "b".repeat(10))),
    ];
    for (what, token) in hostile {
        let reply = app.bearer(Some(token)).get(ANY).await;
        assert_eq!(reply.status, 401, "{what}");
        reply.problem(401, "unauthenticated");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.starts_with("Bearer realm=\"rightful\", error=\"invalid_token\""),
            "{what}: {challenge}"
        );
    }
    let reply = app.nobody().get(ANY).await;
    reply.problem(401, "unauthenticated");
    assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"rightful\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_odd_but_right_is_believed() {
    let app = app().await;
    let now = Clock.now().timestamp();
    let good = claims("alice", &["admin"]);
    let evil = json!({ "kty": "oct", "k": "AAAA" });
    let fine = [
        ("within the leeway", token(&with("exp", json!(now - 20)))),
        ("nbf within the leeway", token(&with("nbf", json!(now + 20)))),
        ("several audiences", token(&with("aud", json!(["other", AUDIENCE])))),
        ("roles as text", token(&with("roles", json!("openid admin")))),
        ("unknown kid", hs256(&json!({ "alg": "HS256", "kid": "../../etc/passwd" }), &good)),
        (
            "keys in the token are ignored",
            hs256(
                &json!({ "alg": "HS256", "jku": "http://evil.test", "x5u": "http://evil.test", "jwk": evil }),
                &good,
            ),
        ),
    ];
    for (what, token) in fine {
        assert_eq!(app.bearer(Some(token)).get(ANY).await.status, 200, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_schemes_and_doubled_headers_are_refused() {
    let app = app().await;
    let good = token(&claims("alice", &["admin"]));
    for (name, value) in
        [("authorization", "Basic YTpi"), ("authorization", "Bearer"), ("x-token", good.as_str())]
    {
        app.nobody().get_with(ANY, &[(name, value)]).await.problem(401, "unauthenticated");
    }
    let bearer = format!("Bearer {good}");
    app.bearer(Some(good.clone()))
        .get_with(ANY, &[("authorization", &bearer)])
        .await
        .problem(401, "unauthenticated");
    app.nobody().get(&format!("{ANY}?access_token={good}")).await.problem(401, "unauthenticated");
    let lower = format!("bearer {good}");
    assert_eq!(app.nobody().get_with(ANY, &[("authorization", &lower)]).await.status, 200);
}

/// A key pair of the tests' issuer.
struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    pem: String,
    jwk: Value,
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn ed25519(kid: &str) -> Issuer {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    Issuer {
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(pkcs8.as_ref()),
        pem: pem(der.as_ref()),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" }),
    }
}

fn p256(kid: &str) -> Issuer {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let point: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
    let (x, y) = point.as_ref()[1..].split_at(32);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Issuer {
        algorithm: Algorithm::ES256,
        key: EncodingKey::from_ec_der(pkcs8.as_ref()),
        pem: pem(der.as_ref()),
        jwk: json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": kid }),
    }
}

impl Issuer {
    fn token(&self, kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        signed(header, &claims("alice", &["admin"]), &self.key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_believes_its_own_algorithm_only() {
    let (ed, ec) = (ed25519("a"), p256("b"));
    for (own, other) in [(&ed, &ec), (&ec, &ed)] {
        let keys = KeySource::PublicKey { pem: own.pem.clone() };
        let app = TestApp::with(sqlite_store().await, Setup { keys, ..Setup::default() }).await;
        assert_eq!(app.bearer(Some(own.token(None))).get(ANY).await.status, 200);
        app.bearer(Some(other.token(None))).get(ANY).await.problem(401, "unauthenticated");
        // The public key as the secret of HS256: the oldest trick (RFC 8725 §2.1).
        let confused = EncodingKey::from_secret(own.pem.as_bytes());
        let token = signed(Header::default(), &claims("alice", &["admin"]), &confused);
        app.bearer(Some(token)).get(ANY).await.problem(401, "unauthenticated");
    }
}

/// A server that answers every call with what it is given, and counts.
async fn key_server(answer: impl Fn() -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer().as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    (url, calls)
}

fn http_json(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_fetched_once_and_kid_selects() {
    let (ed, ec, stranger) = (ed25519("a"), p256("b"), ed25519("c"));
    let symmetric = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "d", "alg": "HS256" });
    let encryption =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": stranger.jwk["x"], "kid": "e", "use": "enc" });
    let set = json!({ "keys": [ed.jwk, ec.jwk, symmetric, encryption, { "kty": "unheard of" }] });
    let (url, calls) = key_server(move || http_json(&set)).await;
    let app =
        TestApp::with(sqlite_store().await, Setup { keys: KeySource::Jwks { url }, ..Setup::default() })
            .await;
    for token in [ed.token(Some("a")), ec.token(Some("b")), ed.token(None), ec.token(None)] {
        assert_eq!(app.bearer(Some(token)).get(ANY).await.status, 200);
    }
    let secret = EncodingKey::from_secret(SECRET);
    let symmetric = Header { kid: Some("d".to_owned()), ..Header::default() };
    for token in [
        ed.token(Some("b")),
        ed.token(Some("unknown")),
        stranger.token(Some("a")),
        stranger.token(Some("c")),
        stranger.token(Some("e")),
        signed(symmetric, &claims("alice", &["admin"]), &secret),
        token(&claims("alice", &["admin"])),
    ] {
        app.bearer(Some(token)).get(ANY).await.problem(401, "unauthenticated");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "an unknown kid asks again at most once a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_set_the_service_is_unavailable() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let huge = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(300 * 1024));
    for answer in [redirect.to_owned(), huge, http_json(&json!({ "keys": [] })), http_json(&json!([]))] {
        let (url, _) = key_server(move || answer.clone()).await;
        let app =
            TestApp::with(sqlite_store().await, Setup { keys: KeySource::Jwks { url }, ..Setup::default() })
                .await;
        app.bearer(Some(ed25519("a").token(Some("a")))).get(ANY).await.problem(503, "unavailable");
    }
}
