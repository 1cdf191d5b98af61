//! From the configuration's words to the verifier's.

use super::{KeySource, Settings};
use crate::config::{Auth, AuthKeys};

impl From<&Auth> for Settings {
    fn from(auth: &Auth) -> Self {
        Self {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            roles_claim: auth.roles_claim.clone(),
            keys: match &auth.keys {
                AuthKeys::Jwks { url } => KeySource::Jwks { url: url.clone() },
                AuthKeys::PublicKey { pem } => KeySource::PublicKey { pem: pem.clone() },
                AuthKeys::Hmac { secret } => KeySource::Hmac { secret: secret.expose().as_bytes().to_vec() },
            },
        }
    }
}
