//! Signing in by OpenID Connect.

use secrecy::SecretString;

/// A provider that identifies people.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As it names itself.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
}
