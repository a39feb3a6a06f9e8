//! The key ring: key-encryption keys that wrap one data key per verification.
//!
//! The first key is the primary one and wraps; all of them open. To rotate: put a new key first,
//! [`rewrap`](Vault::rewrap) the wrapped keys (never the data), then drop the old one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::label::label;
use super::locked::Locked;
use super::seal::{self, DataKey, KEY_LEN, KeyBytes, SealError};
use crate::domain::ids::{EndpointId, GoldenId, VerificationId};

/// Longest key id, in characters.
pub const MAX_ID_CHARS: usize = 64;

/// Why a key or a ring is refused. Names ids, never key bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key at all.
    #[error("the key ring is empty: name at least one key")]
    Empty,
    /// Two keys of one id.
    #[error("the key id `{0}` is used twice")]
    DoubleId(String),
    /// An id outside its alphabet.
    #[error("the key id `{0}` must be 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    BadId(String),
    /// Not 32 bytes in base64.
    #[error("the secret of key `{0}` must be the base64 form of exactly 32 bytes")]
    BadSecret(String),
}

/// Why a wrapped key does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Wrapped by a key that is not in the ring: put it back, behind the primary one.
    #[error("the key `{0}` is not in the key ring")]
    UnknownKey(String),
    /// Altered, of another verification, or the ring's key of that id is another one.
    #[error("the wrapped data key does not open for this verification")]
    Refused,
    /// Opened, but could not be wrapped again.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// One key-encryption key.
#[derive(Clone)]
pub struct Key {
    id: String,
    secret: Locked<KeyBytes>,
}

impl Key {
    /// A key of an id and 32 random bytes.
    pub fn new(id: impl Into<String>, mut secret: [u8; KEY_LEN]) -> Self {
        let kept = Locked::filled(KeyBytes::default(), |kept| kept.copy_from_slice(&secret));
        secret.zeroize();
        Self { id: id.into(), secret: kept }
    }

    /// A key of an id and the base64 form of 32 random bytes, as configuration spells it.
    pub fn parse(id: impl Into<String>, base64: &str) -> Result<Self, KeyError> {
        let id = id.into();
        let bytes = STANDARD.decode(base64.trim()).map(Zeroizing::new);
        let Some(bytes) = bytes.ok().filter(|bytes| bytes.len() == KEY_LEN) else {
            return Err(KeyError::BadSecret(id));
        };
        let secret = Locked::filled(KeyBytes::default(), |secret| secret.copy_from_slice(&bytes));
        Ok(Self { id, secret })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// The keys of an installation.
#[derive(Clone, Debug)]
pub struct KeyRing {
    primary: Key,
    others: Vec<Key>,
}

impl KeyRing {
    /// A ring whose first key is the primary one.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        for (index, key) in keys.iter().enumerate() {
            if !is_id(&key.id) {
                return Err(KeyError::BadId(key.id.clone()));
            }
            if keys[..index].iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyError::DoubleId(key.id.clone()));
            }
        }
        let mut keys = keys.into_iter();
        let primary = keys.next().ok_or(KeyError::Empty)?;
        Ok(Self { primary, others: keys.collect() })
    }

    /// Id of the key that wraps.
    pub fn primary_id(&self) -> &str {
        &self.primary.id
    }

    /// Ids of all keys, the primary one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.primary).chain(&self.others).map(Key::id)
    }

    /// Whether it holds this key.
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.primary).chain(&self.others).find(|key| key.id == id)
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A data key as it is kept in the database. Destroying it destroys all it ever sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The key of the ring that wrapped it.
    pub key_id: String,
    /// The sealed form of the data key.
    pub bytes: Vec<u8>,
}

/// Makes, opens and rewraps data keys.
#[derive(Clone, Debug)]
pub struct Vault {
    ring: KeyRing,
}

impl Vault {
    /// A vault over a ring.
    pub fn new(ring: KeyRing) -> Self {
        Self { ring }
    }

    /// A fresh data key for one verification, with the form to keep of it.
    pub fn new_data_key(&self, id: VerificationId) -> Result<(DataKey, WrappedKey), SealError> {
        let key = DataKey::generate()?;
        let wrapped = self.wrap(&Whose::Verification(id), &key)?;
        Ok((key, wrapped))
    }

    /// A fresh key of the installation, with the form to keep of it.
    pub fn new_named_key(&self, name: &str) -> Result<(DataKey, WrappedKey), SealError> {
        let key = DataKey::generate()?;
        let wrapped = self.wrap(&Whose::Installation(name), &key)?;
        Ok((key, wrapped))
    }

    /// A key of the installation.
    pub fn open_named_key(&self, name: &str, wrapped: &WrappedKey) -> Result<DataKey, OpenError> {
        self.unwrap_key(&Whose::Installation(name), wrapped)
    }

    /// A fresh data key for one webhook endpoint, with the form to keep of it.
    pub fn new_endpoint_key(&self, id: EndpointId) -> Result<(DataKey, WrappedKey), SealError> {
        let key = DataKey::generate()?;
        let wrapped = self.wrap(&Whose::Endpoint(id), &key)?;
        Ok((key, wrapped))
    }

    /// The data key of one webhook endpoint.
    pub fn open_endpoint_key(
        &self,
        id: EndpointId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, OpenError> {
        self.unwrap_key(&Whose::Endpoint(id), wrapped)
    }

    /// A fresh data key for one golden pair, with the form to keep of it.
    pub fn new_golden_key(&self, id: GoldenId) -> Result<(DataKey, WrappedKey), SealError> {
        let key = DataKey::generate()?;
        let wrapped = self.wrap(&Whose::Golden(id), &key)?;
        Ok((key, wrapped))
    }

    /// The data key of one golden pair.
    pub fn open_golden_key(
        &self,
        id: GoldenId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, OpenError> {
        self.unwrap_key(&Whose::Golden(id), wrapped)
    }

    /// Id of the key that wraps.
    pub fn primary_id(&self) -> &str {
        self.ring.primary_id()
    }

    /// The ring.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The data key of one verification.
    pub fn open_data_key(
        &self,
        id: VerificationId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, OpenError> {
        self.unwrap_key(&Whose::Verification(id), wrapped)
    }

    fn unwrap_key(&self, whose: &Whose<'_>, wrapped: &WrappedKey) -> Result<DataKey, OpenError> {
        let key = self
            .ring
            .find(&wrapped.key_id)
            .ok_or_else(|| OpenError::UnknownKey(wrapped.key_id.clone()))?;
        let opened = seal::open(&key.secret, &whose.label(&key.id), &wrapped.bytes)
            .map_err(|_| OpenError::Refused)?;
        let mut bytes = KeyBytes::default();
        if opened.len() != KEY_LEN {
            return Err(OpenError::Refused);
        }
        bytes.copy_from_slice(&opened);
        Ok(DataKey(bytes))
    }

    /// Whether [`rewrap`](Self::rewrap) would change anything.
    pub fn is_current(&self, wrapped: &WrappedKey) -> bool {
        wrapped.key_id == self.ring.primary.id
    }

    /// The same data key under the primary key; `None` where it already is.
    pub fn rewrap(
        &self,
        id: VerificationId,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, OpenError> {
        if self.is_current(wrapped) {
            return Ok(None);
        }
        let key = self.open_data_key(id, wrapped)?;
        Ok(Some(self.wrap(&Whose::Verification(id), &key)?))
    }

    /// The same for a key of the installation.
    pub fn rewrap_named(
        &self,
        name: &str,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, OpenError> {
        if self.is_current(wrapped) {
            return Ok(None);
        }
        let key = self.open_named_key(name, wrapped)?;
        Ok(Some(self.wrap(&Whose::Installation(name), &key)?))
    }

    /// The same for the data key of a webhook endpoint.
    pub fn rewrap_endpoint(
        &self,
        id: EndpointId,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, OpenError> {
        if self.is_current(wrapped) {
            return Ok(None);
        }
        let key = self.open_endpoint_key(id, wrapped)?;
        Ok(Some(self.wrap(&Whose::Endpoint(id), &key)?))
    }

    /// The same for the data key of a golden pair.
    pub fn rewrap_golden(
        &self,
        id: GoldenId,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, OpenError> {
        if self.is_current(wrapped) {
            return Ok(None);
        }
        let key = self.open_golden_key(id, wrapped)?;
        Ok(Some(self.wrap(&Whose::Golden(id), &key)?))
    }

    fn wrap(&self, whose: &Whose<'_>, key: &DataKey) -> Result<WrappedKey, SealError> {
        let primary = &self.ring.primary;
        let bytes = seal::seal(&primary.secret, &whose.label(&primary.id), key.0.as_slice())?;
        Ok(WrappedKey { key_id: primary.id.clone(), bytes })
    }
}

/// The owner of a wrapped key, as associated data: the key opens for no other owner.
enum Whose<'a> {
    Verification(VerificationId),
    Installation(&'a str),
    Endpoint(EndpointId),
    Golden(GoldenId),
}

impl Whose<'_> {
    fn label(&self, key_id: &str) -> Vec<u8> {
        match self {
            Self::Verification(id) => label(&[b"data-key", id.0.as_bytes(), key_id.as_bytes()]),
            Self::Installation(name) => label(&[b"named-key", name.as_bytes(), key_id.as_bytes()]),
            Self::Endpoint(id) => label(&[b"endpoint-key", id.0.as_bytes(), key_id.as_bytes()]),
            Self::Golden(id) => label(&[b"golden-key", id.0.as_bytes(), key_id.as_bytes()]),
        }
    }
}

#[cfg(test)]
mod tests;
