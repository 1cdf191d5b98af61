//! `rightful token`: a signed token for development, where the configuration itself holds the signing secret.

use std::{path::Path, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, builder::PossibleValuesParser};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::{Failure, Outcome, load, print};
use crate::{
    config::{self, Auth, AuthKeys},
    domain::{audit::timestamp, clock::Clock},
};

/// Prints a signed token; only with `auth.keys.hmac_secret`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  curl -H \"authorization: Bearer $(rightful token --role admin --subject alice)\" \\\n    http://127.0.0.1:8080/v1/requests"
)]
pub(super) struct Token {
    /// May be repeated.
    #[arg(
        long = "role",
        required = true,
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["admin", "approver", "auditor", "service"])
    )]
    roles: Vec<String>,

    /// Who the token is for (its `sub`); appears as the actor in the audit log.
    #[arg(long, value_name = "NAME")]
    subject: String,

    /// How long it is valid.
    #[arg(long, default_value = "1h", value_parser = config::duration)]
    ttl: Duration,

    /// Prints `{"token": …, "expires_at": …}`.
    #[arg(long)]
    json: bool,
}

impl Token {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        let expires_at = chrono::TimeDelta::from_std(self.ttl)
            .ok()
            .and_then(|ttl| Clock.now().checked_add_signed(ttl))
            .ok_or_else(|| Failure::new("--ttl is too long"))?;
        let token = sign(&config.auth, &self.subject, &self.roles, expires_at)?;
        if self.json {
            return print(&format!("{}\n", json!({ "token": token, "expires_at": timestamp(expires_at) })));
        }
        print(&format!("{token}\n"))
    }
}

/// A token that the service of this configuration accepts.
pub(super) fn sign(
    auth: &Auth,
    subject: &str,
    roles: &[String],
    expires_at: DateTime<Utc>,
) -> Result<String, Failure> {
    let AuthKeys::Hmac { secret } = &auth.keys else {
        return Err(Failure::new(
            "this configuration holds no signing secret (auth.keys.hmac_secret): ask your identity provider for a token",
        ));
    };
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!(auth.issuer));
    claims.insert("aud".to_owned(), json!(auth.audience));
    claims.insert("sub".to_owned(), json!(subject));
    claims.insert("iat".to_owned(), json!(Clock.now().timestamp()));
    claims.insert("exp".to_owned(), json!(expires_at.timestamp()));
    insert_at(&mut claims, &auth.roles_claim, json!(roles));
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| Failure::new("the token could not be signed"))
}

/// Puts a value where a dotted path says.
fn insert_at(claims: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            claims.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = claims.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert_at(inner, rest, value);
            }
        }
    }
}
