//! Tokens: one that is believed was signed with the key, and says what every required claim has to say.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::FutureExt;
use rightful::{
    domain::{clock::Clock, json::Strict},
    http::auth::{KeySource, Principal, Settings, Verifier},
};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.test";
const AUDIENCE: &str = "rightful";
const SECRET: &[u8] = b"a secret of the corpus, long enough for HS256";
/// What the tokens in the corpus that are signed say: each ends in the year 2100.
const GENUINE: [&str; 2] = [
    r#"{"iss":"https://idp.test","aud":"rightful","sub":"alice","roles":["admin"],"exp":4102444800}"#,
    r#"{"iss":"https://idp.test","aud":["other","rightful"],"sub":"importer","roles":"service","exp":4102444800,"nbf":1}"#,
];

/// The tokens of the corpus that are believed.
pub fn made() -> Vec<Vec<u8>> {
    GENUINE.map(|claims| signed(r#"{"alg":"HS256"}"#, claims).into_bytes()).into()
}

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // The text of a token, which nobody but the issuer can make.
    let believed = verify(text);
    if believed.is_some() {
        let claims = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.expect("three parts in base64");
        assert!(GENUINE.iter().any(|genuine| genuine.as_bytes() == claims), "{text}");
    }
    // A header and claims, which the issuer itself has signed.
    let Some((header, claims)) = text.split_once('\n') else { return believed.is_some() };
    let principal = verify(&signed(header, claims));
    let parsed = [header, claims].map(|text| serde_json::from_str::<Value>(text).unwrap_or_default());
    if let Some(principal) = &principal {
        is_rightly_believed(principal, &parsed);
    } else {
        assert!(!has_to_be_believed(header, claims), "{text}");
    }
    principal.is_some()
}

fn verify(token: &str) -> Option<Principal> {
    let keys = KeySource::Hmac { secret: SECRET.to_vec() };
    let verifier = Verifier::new(Settings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        roles_claim: "roles".to_owned(),
        keys,
    });
    let verifier = verifier.expect("a usable key");
    verifier.verify(token).now_or_never().expect("a configured key is at hand").ok()
}

fn signed(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn is_rightly_believed(principal: &Principal, [header, claims]: &[Value; 2]) {
    assert_eq!(header["alg"], "HS256");
    assert_eq!(header["crit"], Value::Null);
    assert_eq!(claims["iss"], ISSUER);
    let is_meant = match &claims["aud"] {
        Value::Array(all) => all.contains(&json!(AUDIENCE)),
        one => *one == AUDIENCE,
    };
    assert!(is_meant, "{claims}");
    let now = Clock.now().timestamp() as f64;
    assert!(claims["exp"].as_f64().expect("a number") > now - 32.0, "{claims}");
    assert!(claims["nbf"].is_null() || claims["nbf"].as_f64().expect("a number") < now + 32.0, "{claims}");
    assert_eq!(claims["sub"], principal.sub.as_str());
    assert!(is_name(&principal.sub));
    let roles = claims["roles"].to_string();
    assert!(principal.roles.iter().all(|role| roles.contains(role.as_str())), "{claims}");
}

/// With nothing about it that could be read in two ways.
fn has_to_be_believed(header: &str, claims: &str) -> bool {
    let Ok(Strict(claims)) = serde_json::from_str(claims) else { return false };
    let exp = claims["exp"].as_i64().unwrap_or_default();
    header == r#"{"alg":"HS256"}"#
        && claims["iss"] == ISSUER
        && claims["aud"] == AUDIENCE
        && claims.get("nbf").is_none()
        && (Clock.now().timestamp() + 60..1 << 53).contains(&exp)
        && claims["sub"].as_str().is_some_and(is_name)
        && claims.to_string().len() < 8192
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() < 256 && !text.chars().any(char::is_control)
}
