//! Keys from outside: a PEM text or a member of a JWKS is used with one algorithm, and never as a secret.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::FutureExt;
use rightful::http::auth::{KeySource, Settings, Verifier, keys::VerificationKey};
use serde_json::Value;

const CLAIMS: &str =
    r#"{"iss":"https://idp.test","aud":"rightful","sub":"alice","roles":["admin"],"exp":4102444800}"#;

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let jwk = serde_json::from_str::<Value>(text).ok();
    let jwk = jwk.as_ref().and_then(|member| Some((member, VerificationKey::from_jwk(member)?)));
    if let Some((member, key)) = &jwk {
        assert_ne!(member["kty"], "oct");
        assert_ne!(member["use"], "enc");
        assert_eq!(member["kid"].as_str(), key.kid.as_deref());
        is_public(key);
    }
    let pem = VerificationKey::from_pem(text);
    if let Ok(key) = &pem {
        assert!(!text.contains("PRIVATE KEY"));
        is_public(key);
        is_no_secret(text);
    }
    jwk.is_some() || pem.is_ok()
}

fn is_public(key: &VerificationKey) {
    assert!(["RS256", "ES256", "EdDSA"].contains(&format!("{:?}", key.algorithm).as_str()));
}

/// The oldest trick (RFC 8725 §2.1): everybody knows a public key, and can sign with its text as a secret.
fn is_no_secret(pem: &str) {
    let keys = KeySource::PublicKey { pem: pem.to_owned() };
    let verifier = Verifier::new(Settings {
        issuer: "https://idp.test".to_owned(),
        audience: "rightful".to_owned(),
        roles_claim: "roles".to_owned(),
        keys,
    });
    let verifier = verifier.expect("a usable key");
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA", "none"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}"}}"#));
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(CLAIMS));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), message.as_bytes());
        for signature in [URL_SAFE_NO_PAD.encode(tag), String::new()] {
            let token = format!("{message}.{signature}");
            let believed = verifier.verify(&token).now_or_never().expect("a configured key is at hand");
            assert!(believed.is_err(), "{token}");
        }
    }
}
