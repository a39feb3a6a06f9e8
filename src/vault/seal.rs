//! Data keys, and the sealed form of one value.
//!
//! Sealed form: one version byte, a random nonce of 12 bytes, then ciphertext and tag of
//! AES-256-GCM-SIV (RFC 8452), which stays safe even if a nonce should ever repeat.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::label::{VERSION, label};
use super::sealed_at::SealedAt;

/// Bytes of a nonce (RFC 8452 §4).
const NONCE_LEN: usize = 12;
/// Bytes of a tag (RFC 8452 §4).
const TAG_LEN: usize = 16;
/// By how many bytes a sealed value is longer than the value: its version, nonce and tag.
pub const OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;
/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// 32 bytes that vanish with their owner.
pub(super) type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

/// Nothing was sealed: the random source failed, or the value exceeds the cipher's 64 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused: no randomness, or a value beyond its limits")]
pub struct SealError;

/// The bytes do not open here: altered, cut, moved from another place, or of another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open in this place with this key")]
pub struct Refused;

/// Seals and opens everything of one verification.
#[derive(Clone)]
pub struct DataKey(pub(super) KeyBytes);

impl DataKey {
    /// A fresh random key.
    pub(crate) fn generate() -> Result<Self, SealError> {
        let mut bytes = KeyBytes::default();
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
        Ok(Self(bytes))
    }

    /// Seals a value for one place. [`OVERHEAD`] longer than the value; never the same twice.
    pub fn seal(&self, at: SealedAt, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(&self.0, &at.label(), plaintext)
    }

    /// Opens what [`DataKey::seal`] made for the same place.
    pub fn open(&self, at: SealedAt, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        open(&self.0, &at.label(), sealed)
    }

    /// HMAC-SHA-256 over parts, each behind its length. The first names the purpose.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("any key length");
        mac.update(&label(parts));
        mac.finalize().into_bytes().into()
    }
}

impl AsRef<[u8]> for DataKey {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Seals under one key and one label.
pub(super) fn seal(key: &KeyBytes, label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let cipher =
        RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_slice()).map_err(|_| SealError)?;
    // Sealed in place: the plaintext in this buffer is overwritten, never left behind. The room
    // for the tag is there from the start, so that the buffer never moves while it is plaintext.
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.push(VERSION);
    sealed.extend_from_slice(&[0; NONCE_LEN]);
    sealed.extend_from_slice(plaintext);
    let (nonce, tag) = cipher
        .seal_in_place_separate_tag(Aad::from(label), &mut sealed[1 + NONCE_LEN..])
        .map_err(|_| SealError)?;
    sealed[1..=NONCE_LEN].copy_from_slice(nonce.as_ref());
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made under the same key and label.
pub(super) fn open(
    key: &KeyBytes,
    label: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (version, rest) = sealed.split_first().ok_or(Refused)?;
    let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Refused)?;
    if *version != VERSION || body.len() < TAG_LEN {
        return Err(Refused);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refused)?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_slice()).map_err(|_| Refused)?;
    let mut buffer = Zeroizing::new(body.to_vec());
    let length =
        cipher.open_in_place(nonce, Aad::from(label), &mut buffer).map_err(|_| Refused)?.len();
    buffer.truncate(length);
    Ok(buffer)
}
