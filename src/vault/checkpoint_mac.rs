//! The signatures of the audit's checkpoints, cuts and heads, and of lists of erasures.
//!
//! The key is made once at random and kept wrapped by the key ring: it is in no configuration, and
//! it stays when key-encryption keys are rotated.

use std::fmt;

use merkle_log::note::{KeyError, Kind, SigningKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::locked::Locked;
use super::seal::DataKey;

/// Name of the key.
pub const AUDIT: &str = "audit";

/// Signs the audit's checkpoints and cuts: without the key nobody can make one, not even with every
/// right in the database.
pub struct AuditSeal(Locked<DataKey>);

impl AuditSeal {
    /// Under the key named [`AUDIT`].
    pub fn new(key: DataKey) -> Self {
        Self(Locked::new(key))
    }

    /// Over a checkpoint: position, microseconds since 1970, digest.
    pub fn sign(&self, position: i64, at_micros: i64, digest: &[u8]) -> [u8; 32] {
        self.0.mac(&[b"checkpoint", &position.to_be_bytes(), &at_micros.to_be_bytes(), digest])
    }

    /// The key that signs heads of the audit's tree, for a log of this name. Unlike the others it is
    /// Ed25519, so witnesses verify it by its public half. Its seed is derived, so it stays when
    /// key-encryption keys are rotated.
    pub fn head_key(&self, origin: &str) -> Result<SigningKey, KeyError> {
        let seed = Zeroizing::new(self.0.mac(&[b"audit-tree-head"]));
        SigningKey::from_seed(origin, Kind::Log, &seed)
    }

    /// Over one line of a list of erasures. Such a list is kept outside the database, and nobody can
    /// add to it who has no key.
    pub fn sign_erasure(&self, line: &[u8]) -> [u8; 32] {
        self.0.mac(&[b"erasure", line])
    }

    /// In constant time.
    pub fn verifies_erasure(&self, line: &[u8], mac: &[u8]) -> bool {
        self.sign_erasure(line)[..].ct_eq(mac).into()
    }

    /// In constant time.
    pub fn verifies(&self, position: i64, at_micros: i64, digest: &[u8], mac: &[u8]) -> bool {
        self.sign(position, at_micros, digest)[..].ct_eq(mac).into()
    }

    /// Over a cut: position, microseconds since 1970, digest, and the fold of all digests up to it. The
    /// label keeps a checkpoint from being passed off as a cut.
    pub fn sign_cut(
        &self,
        position: i64,
        at_micros: i64,
        digest: &[u8],
        leaves: &[u8],
    ) -> [u8; 32] {
        let (position, at) = (position.to_be_bytes(), at_micros.to_be_bytes());
        self.0.mac(&[b"audit-cut", &position, &at, digest, leaves])
    }

    /// In constant time.
    pub fn verifies_cut(
        &self,
        position: i64,
        at_micros: i64,
        digest: &[u8],
        leaves: &[u8],
        mac: &[u8],
    ) -> bool {
        self.sign_cut(position, at_micros, digest, leaves)[..].ct_eq(mac).into()
    }
}

impl fmt::Debug for AuditSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSeal(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_verifies_only_as_it_was_made() {
        let seal = AuditSeal::new(DataKey::generate().unwrap());
        let mac = seal.sign(7, 1_000, b"digest");
        assert!(seal.verifies(7, 1_000, b"digest", &mac));
        assert!(!seal.verifies(8, 1_000, b"digest", &mac));
        assert!(!seal.verifies(7, 1_001, b"digest", &mac));
        assert!(!seal.verifies(7, 1_000, b"Digest", &mac));
        assert!(!seal.verifies(7, 1_000, b"digest", &mac[..31]));
        // A checkpoint is no line of a list of erasures.
        let line = b"line";
        assert!(seal.verifies_erasure(line, &seal.sign_erasure(line)));
        assert!(!seal.verifies_erasure(b"Line", &seal.sign_erasure(line)));
        assert_ne!(seal.sign_erasure(b"digest"), seal.sign(7, 1_000, b"digest"));
    }

    #[test]
    fn the_key_of_heads_stays_and_is_the_installations_own() {
        let (seal, other) = (
            AuditSeal::new(DataKey::generate().unwrap()),
            AuditSeal::new(DataKey::generate().unwrap()),
        );
        let key =
            |seal: &AuditSeal| seal.head_key("log.example/audit").unwrap().verifying().to_string();
        assert_eq!(key(&seal), key(&seal));
        assert_ne!(key(&seal), key(&other));
        assert_eq!(seal.head_key("two words").err(), Some(KeyError::Name));
    }

    #[test]
    fn a_checkpoint_is_no_cut() {
        let seal = AuditSeal::new(DataKey::generate().unwrap());
        let cut = seal.sign_cut(7, 1_000, b"digest", b"leaves");
        assert!(seal.verifies_cut(7, 1_000, b"digest", b"leaves", &cut));
        assert!(!seal.verifies_cut(8, 1_000, b"digest", b"leaves", &cut));
        assert!(!seal.verifies_cut(7, 1_000, b"digest", b"others", &cut));
        assert!(!seal.verifies_cut(7, 1_000, b"digestl", b"eaves", &cut));
        let checkpoint = seal.sign(7, 1_000, b"digest");
        assert!(!seal.verifies_cut(7, 1_000, b"digest", b"", &checkpoint));
        assert!(!seal.verifies(7, 1_000, b"digest", &cut));
    }
}
