//! Hundreds of tokens that must not be believed, made up systematically from one that is. Those that are wrong in a way
//! worth a name stand in `tokens.rs`.

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures::{StreamExt, stream};
use rightful::domain::clock::Clock;
use serde_json::{Value, json};

use super::app;
use crate::support::app::{AUDIENCE, ISSUER, SECRET, claims, token};

const ANY: &str = "/v1/requests";

/// What it is, and the token.
type Hostile = (String, String);

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Signed with the right key, whatever header and claims say.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn good_claims() -> String {
    claims("alice", &["admin"]).to_string()
}

/// Every required claim as every kind of value that it must not be.
fn claims_of_other_kinds() -> Vec<Hostile> {
    let now = Clock.now().timestamp();
    let kinds = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(""),
        json!(" "),
        json!("x"),
        json!([]),
        json!({}),
        json!([null]),
        json!([["x"]]),
        json!({ "x": "y" }),
        json!(format!("{}", now + 3600)),
    ];
    let own = [
        ("exp", vec![json!(now - 3600), json!([now + 3600]), json!({ "exp": now + 3600 })]),
        (
            "iss",
            vec![
                json!([ISSUER]),
                json!(format!("{ISSUER}/")),
                json!(ISSUER.to_uppercase()),
                json!({ "iss": ISSUER }),
            ],
        ),
        (
            "aud",
            vec![
                json!([[AUDIENCE]]),
                json!(AUDIENCE.to_uppercase()),
                json!(format!("{AUDIENCE} ")),
                json!({ "aud": AUDIENCE }),
            ],
        ),
        (
            "sub",
            vec![json!("a\u{0}b"), json!("a\u{85}b"), json!("\t"), json!("s".repeat(256)), json!(["alice"])],
        ),
    ];
    let mut all = Vec::new();
    for (claim, more) in own {
        // A subject may be any text.
        let is_fine =
            |value: &Value| claim == "sub" && value.as_str().is_some_and(|text| !text.trim().is_empty());
        for value in kinds.iter().filter(|value| !is_fine(value)).chain(&more) {
            let mut claims = claims("alice", &["admin"]);
            claims[claim] = value.clone();
            all.push((format!("{claim}: {value}"), token(&claims)));
        }
    }
    for value in [json!(now + 3600), json!(u64::MAX), json!(1e300)] {
        let mut claims = claims("alice", &["admin"]);
        claims["nbf"] = value.clone();
        all.push((format!("nbf: {value}"), token(&claims)));
    }
    for text in ["", "null", "[]", "7", "\"alice\"", "{", "{}", "\u{feff}{}"] {
        all.push((format!("the claims are {text:?}"), signed(r#"{"alg":"HS256"}"#, text)));
    }
    all
}

/// Headers that ask for what is not to be had, over a signature that is right.
fn headers() -> Vec<Hostile> {
    let algorithms = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " ",
        "HS256 ",
        "hs256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "PS256",
        "PS384",
        "PS512",
        "EdDSA",
        "Ed25519",
        "dir",
        "A128KW",
        "RSA-OAEP",
        "HS256\u{0}",
    ];
    let mut all: Vec<String> = algorithms.map(|name| json!({ "alg": name }).to_string()).into();
    let kinds = [Value::Null, json!(0), json!(true), json!(["HS256"]), json!({ "HS256": 1 })];
    all.extend(kinds.map(|kind| json!({ "alg": kind }).to_string()));
    let critical = [json!([]), json!(["exp"]), json!(["b64"]), json!(["http://example.com/UNDEFINED"])];
    all.extend(critical.map(|crit| json!({ "alg": "HS256", "crit": crit, "b64": false }).to_string()));
    all.extend(
        ["", "{}", "[]", "null", "7", "{", "\"HS256\"", "{\"typ\":\"JWT\"}", "{alg:HS256}"]
            .map(str::to_owned),
    );
    all.into_iter().map(|header| (format!("header {header}"), signed(&header, &good_claims()))).collect()
}

/// The right token with one place changed.
fn damaged() -> Vec<Hostile> {
    let good = token(&claims("alice", &["admin"]));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!("three parts") };
    let mut all = Vec::new();
    // The last digit holds bits that no byte has; that one has its own line below.
    for at in 0..signature.len() - 1 {
        let mut other = signature.to_owned();
        let digit = if &signature[at..=at] == "A" { "B" } else { "A" };
        other.replace_range(at..=at, digit);
        all.push((format!("digit {at} of the signature"), format!("{header}.{body}.{other}")));
        all.push((format!("{at} digits of signature"), format!("{header}.{body}.{}", &signature[..at])));
    }
    for at in (0..body.len()).step_by(7) {
        let mut other = body.to_owned();
        let digit = if &body[at..=at] == "A" { "B" } else { "A" };
        other.replace_range(at..=at, digit);
        all.push((format!("digit {at} of the claims"), format!("{header}.{other}.{signature}")));
    }
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let whole = [
        ("padded", format!("{header}.{body}.{signature}=")),
        ("standard digits", format!("{header}.{body}.{}", STANDARD.encode(&bytes))),
        (
            "a longer signature",
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode([bytes.as_slice(), &[0]].concat())),
        ),
        (
            "the hex of the signature",
            format!("{header}.{body}.{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        ),
        ("swapped parts", format!("{body}.{header}.{signature}")),
        ("four parts", format!("{good}.x")),
        ("five parts, as an encrypted one has", format!("{good}.x.y")),
        ("a dot behind", format!("{good}.")),
        ("a dot in front", format!(".{good}")),
        ("no header", format!(".{body}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("only dots", "..".to_owned()),
        ("a comma", format!("{good},{good}")),
        ("a blank inside", format!("{header}. {body}.{signature}")),
        ("percent-encoded", good.replace('.', "%2E")),
        (
            "JSON serialisation",
            json!({ "payload": body, "protected": header, "signature": signature }).to_string(),
        ),
    ];
    all.extend(whole.map(|(what, token)| (what.to_owned(), token)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_made_up_tokens_are_refused() {
    let app = app().await;
    let good = token(&claims("alice", &["admin"]));
    assert_eq!(app.bearer(Some(good)).get(ANY).await.status, 200);
    assert_eq!(app.bearer(Some(signed(r#"{"alg":"HS256"}"#, &good_claims()))).get(ANY).await.status, 200);
    let hostile = [claims_of_other_kinds(), headers(), damaged()].concat();
    assert!(hostile.len() >= 200, "{}", hostile.len());
    let believed: Vec<String> = stream::iter(hostile)
        .map(|(what, token)| {
            let app = &app;
            async move { (what, app.bearer(Some(token)).get(ANY).await) }
        })
        .buffer_unordered(8)
        .filter_map(|(what, reply)| async move {
            (reply.status != 401).then(|| format!("{} {what}", reply.status))
        })
        .collect()
        .await;
    assert!(believed.is_empty(), "{believed:#?}");
}
