//! Signing in by OpenID Connect: the code flow with PKCE, at one provider that the configuration
//! names.
//!
//! `oidc_client` asks the provider, `oidc_token` says whether an ID token holds, `oidc_flow` are the
//! pages on the way there and back.

use secrecy::SecretString;

/// A provider that identifies people.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As it names itself.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
}
