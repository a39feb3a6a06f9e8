//! Access keys: as sources give them, and as settings name them.

use std::path::PathBuf;

use secrecy::SecretString;
use time::OffsetDateTime;

/// An access key: it signs requests.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Names the key; not a secret.
    pub access_key_id: String,
    /// Signs.
    pub access_key_secret: SecretString,
    /// Comes with temporary keys.
    pub security_token: Option<SecretString>,
    /// When they expire; `None` for keys that do not.
    pub expires_at: Option<OffsetDateTime>,
}

impl Credentials {
    pub(super) fn last_past(&self, at: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|end| end > at)
    }
}

/// A secret, or the file that holds it.
#[derive(Clone, Debug)]
pub enum Secret {
    /// The secret itself.
    Value(SecretString),
    /// The content of a file without blanks around it. It is read again after the provider has
    /// refused it.
    File(PathBuf),
}

/// A key given in the settings.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub access_key_secret: Secret,
    /// The token of a temporary key.
    pub security_token: Option<SecretString>,
}

/// Why one source has no credentials.
pub(super) enum Miss {
    /// It is not set up, or has nothing: the next is asked.
    Next(String),
    /// It is set up on purpose and failed: no other source is asked.
    Stop(String),
}
