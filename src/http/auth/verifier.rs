//! From the text of a token to a principal, after RFC 8725: one algorithm per key, every required claim, no
//! key material from the token itself.

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    jwks::Jwks,
    keys::{KeySource, UnusableKey, VerificationKey},
    roles::{Principal, Role},
};

/// For clocks that differ, in seconds.
const LEEWAY: u64 = 30;
/// No issuer's token is longer; in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// `sub` appears in every audit event of its bearer; in characters.
const MAX_SUB: usize = 255;

/// What a token must be to be believed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub issuer: String,
    pub audience: String,
    /// A claim's name, or a dotted path to it.
    pub roles_claim: String,
    pub keys: KeySource,
}

/// Why a token is not believed. The texts are constant: nothing of the token comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token's algorithm is not the configured key's")]
    Algorithm,
    #[error("the signature does not verify under the issuer's keys")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    Immature,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the token lacks one of exp, iss, aud and sub")]
    MissingClaim,
    #[error("the token asks for extensions that are not supported")]
    Critical,
    #[error("the issuer's keys are not available")]
    NoKeys,
}

enum Keys {
    One(Box<VerificationKey>),
    Set(Arc<Jwks>),
}

/// Checks tokens of one issuer.
pub struct Verifier {
    issuer: String,
    audience: String,
    roles_claim: String,
    keys: Keys,
}

impl Verifier {
    /// # Errors
    /// When the configured key cannot be used: no start without one.
    pub fn new(settings: Settings) -> Result<Self, UnusableKey> {
        let keys = match settings.keys {
            KeySource::Jwks { url } => Keys::Set(Arc::new(Jwks::new(&url)?)),
            KeySource::PublicKey { pem } => Keys::One(Box::new(VerificationKey::from_pem(&pem)?)),
            KeySource::Hmac { secret } => Keys::One(Box::new(VerificationKey::from_secret(&secret)?)),
        };
        Ok(Self {
            issuer: settings.issuer,
            audience: settings.audience,
            roles_claim: settings.roles_claim,
            keys,
        })
    }

    /// # Errors
    /// When the token is not to be believed.
    pub async fn verify(&self, token: &str) -> Result<Principal, Rejected> {
        if token.len() > MAX_TOKEN {
            return Err(Rejected::Malformed);
        }
        // The header is not believed: it selects among configured keys, and must not ask for more.
        let header = decode_header(token).map_err(|_| Rejected::Malformed)?;
        if header.crit.is_some() {
            return Err(Rejected::Critical);
        }
        match &self.keys {
            Keys::One(key) => self.check(token, key),
            Keys::Set(jwks) => {
                let keys = jwks.keys(header.kid.as_deref()).await.ok_or(Rejected::NoKeys)?;
                let mut fitting = keys.iter().filter(|key| match &header.kid {
                    Some(kid) => key.kid.as_ref() == Some(kid),
                    None => key.algorithm == header.alg,
                });
                // A token that names no key is believed only where there is no choice.
                match (fitting.next(), fitting.next()) {
                    (Some(key), None) => self.check(token, key),
                    (Some(key), Some(_)) if header.kid.is_some() => self.check(token, key),
                    _ => Err(Rejected::Signature),
                }
            }
        }
    }

    fn check(&self, token: &str, key: &VerificationKey) -> Result<Principal, Rejected> {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<Map<String, Value>>(token, &key.key, &validation).map_err(rejected)?.claims;
        // The library would take a list of issuers of which one fits.
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Rejected::Issuer);
        }
        let sub = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if sub.trim().is_empty() || sub.chars().count() > MAX_SUB || sub.chars().any(char::is_control) {
            return Err(Rejected::MissingClaim);
        }
        Ok(Principal { sub: sub.to_owned(), roles: roles(&claims, &self.roles_claim) })
    }
}

fn rejected(error: jsonwebtoken::errors::Error) -> Rejected {
    match error.kind() {
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Rejected::Algorithm,
        ErrorKind::InvalidSignature => Rejected::Signature,
        ErrorKind::ExpiredSignature => Rejected::Expired,
        ErrorKind::ImmatureSignature => Rejected::Immature,
        ErrorKind::InvalidIssuer => Rejected::Issuer,
        ErrorKind::InvalidAudience => Rejected::Audience,
        ErrorKind::MissingRequiredClaim(_) => Rejected::MissingClaim,
        _ => Rejected::Malformed,
    }
}

/// The known roles in a claim: a list of strings, or one string with blanks between (as `scope` has them).
fn roles(claims: &Map<String, Value>, path: &str) -> Vec<Role> {
    let words: Vec<&str> = match lookup(claims, path) {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut roles: Vec<Role> = words.into_iter().filter_map(Role::parse).collect();
    roles.dedup();
    roles
}

/// A claim by its dotted path; a claim whose own name has dots (`https://example.com/roles`) goes first.
fn lookup<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(&path[..dot])?.as_object()?;
        lookup(inner, &path[dot + 1..])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles_of(claims: Value, path: &str) -> Vec<Role> {
        roles(claims.as_object().unwrap(), path)
    }

    #[test]
    fn roles_are_found_at_a_dotted_path_as_list_or_text() {
        let nested = json!({ "realm_access": { "roles": ["admin", "offline_access", "auditor", 7] } });
        assert_eq!(roles_of(nested, "realm_access.roles"), [Role::Admin, Role::Auditor]);
        assert_eq!(roles_of(json!({ "scope": "openid service" }), "scope"), [Role::Service]);
        let dotted = json!({ "https://id.example/roles": ["approver"] });
        assert_eq!(roles_of(dotted, "https://id.example/roles"), [Role::Approver]);
        assert_eq!(roles_of(json!({ "roles": { "admin": true } }), "roles"), []);
        assert_eq!(roles_of(json!({ "roles": ["Admin", "admin "] }), "roles"), []);
    }
}
