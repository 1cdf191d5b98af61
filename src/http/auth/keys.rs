//! Verification keys, each with exactly one algorithm (RFC 8725 §3.1): the key decides, never the token.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// The shortest secret for HS256, in bytes (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;
/// The shortest RSA modulus, in bytes: 2,048 bits (RFC 7518 §3.3).
const MIN_MODULUS: usize = 256;

/// Where the issuer's keys come from. `Debug` shows nothing of them.
#[derive(Clone)]
pub enum KeySource {
    /// A JSON Web Key Set (RFC 7517).
    Jwks { url: String },
    /// RSA, P-256 or Ed25519, as PEM.
    PublicKey { pem: String },
    /// HS256; at least 32 bytes.
    Hmac { secret: Vec<u8> },
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jwks { .. } => "Jwks",
            Self::PublicKey { .. } => "PublicKey",
            Self::Hmac { .. } => "Hmac([redacted])",
        })
    }
}

/// Why a configured key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    #[error("hmac_secret has fewer than 32 bytes")]
    ShortSecret,
    #[error("public_key holds a private key; configure only its public half")]
    PrivateKey,
    #[error("public_key is no PEM public key of RSA (2,048 bits or more), P-256 or Ed25519")]
    NotAKey,
    #[error("jwks_url is no http or https URL")]
    BadUrl,
}

/// A key and the one algorithm that it is used with.
#[derive(Clone)]
pub struct VerificationKey {
    /// Only selects among the keys of a set.
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

impl VerificationKey {
    /// # Errors
    /// When the secret is too short.
    pub fn from_secret(secret: &[u8]) -> Result<Self, UnusableKey> {
        if secret.len() < MIN_SECRET {
            return Err(UnusableKey::ShortSecret);
        }
        Ok(Self { kid: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    /// # Errors
    /// When the text holds a private key, or no public key of a kind that is supported.
    pub fn from_pem(pem: &str) -> Result<Self, UnusableKey> {
        if pem.contains("PRIVATE KEY") {
            return Err(UnusableKey::PrivateKey);
        }
        let bytes = pem.trim().as_bytes();
        let candidates = [
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
        ];
        for (algorithm, candidate) in candidates {
            let Ok(key) = candidate else { continue };
            let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
            let fits = match algorithm {
                Algorithm::EdDSA => length == 32,
                Algorithm::ES256 => length == 65,
                _ => length >= MIN_MODULUS,
            };
            return if fits { Ok(Self { kid: None, algorithm, key }) } else { Err(UnusableKey::NotAKey) };
        }
        Err(UnusableKey::NotAKey)
    }

    /// A member of a JWKS; `None` for keys of other kinds, uses and algorithms, and for symmetric keys, which
    /// have no place in a public document.
    #[must_use]
    pub fn from_jwk(member: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(member.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|use_| *use_ != PublicKeyUse::Signature) {
            return None;
        }
        if jwk.common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify)) {
            return None;
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if decoded_length(&rsa.n) >= MIN_MODULUS => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithm, key })
    }
}

/// Of base64url text without padding, in bytes.
fn decoded_length(text: &str) -> usize {
    text.len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(VerificationKey::from_secret(&[7; 31]).err(), Some(UnusableKey::ShortSecret));
        assert!(VerificationKey::from_secret(&[7; 32]).is_ok());
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----";
        assert_eq!(VerificationKey::from_pem(private).err(), Some(UnusableKey::PrivateKey));
        assert_eq!(VerificationKey::from_pem("hello").err(), Some(UnusableKey::NotAKey));
    }

    #[test]
    fn a_symmetric_member_of_a_key_set_is_ignored() {
        let member = serde_json::json!({ "kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "a" });
        assert!(VerificationKey::from_jwk(&member).is_none());
    }
}
