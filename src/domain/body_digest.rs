//! Recognises a repeated callback without storing anything that reveals its body.
//!
//! A plain digest of a short body can be inverted by trying every body. So the database keeps a
//! keyed one, and its random key beside it. Once both are deleted, nothing is left to try against.
//! A process that only accepts callbacks needs no secret key for this.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The random key of one row.
pub type Salt = [u8; 16];

/// SHA-256 of the exact body: held in memory only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    pub fn salted(&self, salt: &[u8]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("any key length");
        mac.update(&self.0);
        mac.finalize().into_bytes().into()
    }

    /// Whether the stored digest is of this body. Rows from before salts existed hold the plain
    /// digest, and erased rows hold none.
    pub fn made(&self, digest: Option<&[u8]>, salt: Option<&[u8]>) -> bool {
        let Some(digest) = digest else { return false };
        let expected = salt.map_or(self.0, |salt| self.salted(salt));
        expected[..].ct_eq(digest).into()
    }
}

impl std::fmt::Debug for BodyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_digests_are_recognised_with_and_without_salt() {
        let (body, other) = (BodyDigest::of(b"a"), BodyDigest::of(b"b"));
        let (salt, stored) = ([7; 16], body.salted(&[7; 16]));
        assert!(body.made(Some(&stored), Some(&salt)));
        assert!(!body.made(Some(&stored), Some(&[8; 16])));
        assert!(!body.made(Some(&stored), None));
        assert!(!other.made(Some(&stored), Some(&salt)));
        let plain: [u8; 32] = Sha256::digest(b"a").into();
        assert!(body.made(Some(&plain), None));
        assert!(!other.made(Some(&plain), None));
        assert!(!body.made(None, None));
    }
}
