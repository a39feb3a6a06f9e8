//! Signing in by OpenID Connect: the code flow with PKCE, at one provider that the configuration
//! names.
//!
//! `client` asks the provider, `token` checks ID tokens, `flow` holds the pages on the way there and
//! back.

pub mod client;
pub mod flow;
mod token;

use secrecy::SecretString;

/// A provider that identifies people.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As it names itself.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
}
