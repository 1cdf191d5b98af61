//! Who calls: bearer tokens (RFC 6750) that are JWTs checked after RFC 8725, the roles in them, and the one
//! table of what a role may do.

pub mod jwks;
pub mod keys;
pub mod roles;
mod settings;
pub mod verifier;

pub use keys::KeySource;
pub use roles::{Operation, Principal, Role};
pub use verifier::{Settings, Verifier};
