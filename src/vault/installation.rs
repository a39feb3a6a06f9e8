//! Keys of the installation: the blind index of persons, and the audit's checkpoints.
//!
//! Made once at random and kept wrapped by the key ring, so that neither is in the configuration,
//! and neither changes when key-encryption keys are rotated.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::locked::Locked;
use super::seal::DataKey;
use crate::domain::folding;

/// Name of the key under the blind index.
pub const PERSON_INDEX: &str = "person-index";
/// Name of the key under the audit's checkpoints.
pub const AUDIT: &str = "audit";

/// Finds all verifications of a person without keeping the identity number readable: numbers have
/// so few digits that a plain digest could be tried out, a keyed one cannot without the key.
pub struct PersonIndex(Locked<DataKey>);

impl PersonIndex {
    /// Under the key named [`PERSON_INDEX`].
    pub fn new(key: DataKey) -> Self {
        Self(Locked::new(key))
    }

    /// HMAC-SHA-256 of an identity number as [`folding::number`] writes it; `None` where that is
    /// nobody's number.
    pub fn digest(&self, number: &str) -> Option<[u8; 32]> {
        folding::number(number).map(|number| mac(&self.0, &[b"person", number.as_bytes()]))
    }
}

impl fmt::Debug for PersonIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonIndex(..)")
    }
}

/// Signs the audit's checkpoints: who can write the database but has no key cannot make one.
pub struct AuditSeal(Locked<DataKey>);

impl AuditSeal {
    /// Under the key named [`AUDIT`].
    pub fn new(key: DataKey) -> Self {
        Self(Locked::new(key))
    }

    /// Over a checkpoint: position, microseconds since 1970, digest.
    pub fn sign(&self, position: i64, at_micros: i64, digest: &[u8]) -> [u8; 32] {
        mac(&self.0, &[b"checkpoint", &position.to_be_bytes(), &at_micros.to_be_bytes(), digest])
    }

    /// In constant time.
    pub fn verifies(&self, position: i64, at_micros: i64, digest: &[u8], mac: &[u8]) -> bool {
        self.sign(position, at_micros, digest)[..].ct_eq(mac).into()
    }
}

impl fmt::Debug for AuditSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSeal(..)")
    }
}

fn mac(key: &DataKey, parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.0.as_slice()).expect("any key length");
    mac.update(&super::seal::label(parts));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_however_it_is_written_and_another_is_not() {
        let index = PersonIndex::new(DataKey::generate().unwrap());
        let digest = index.digest("00000019000101001X");
        assert!(digest.is_some());
        assert_eq!(digest, index.digest(" 000000 19000101 001x "));
        assert_eq!(digest, index.digest("０００００019０００１０１００１Ｘ"));
        assert_ne!(digest, index.digest("000000190001010011"));
        assert_ne!(
            digest,
            PersonIndex::new(DataKey::generate().unwrap()).digest("00000019000101001X")
        );
        for nobodys in [" - ", "000000********001X", "000000xxxxxxxx001X", "0000\u{fffd}"] {
            assert_eq!(index.digest(nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn a_checkpoint_verifies_only_as_it_was_made() {
        let seal = AuditSeal::new(DataKey::generate().unwrap());
        let mac = seal.sign(7, 1_000, b"digest");
        assert!(seal.verifies(7, 1_000, b"digest", &mac));
        assert!(!seal.verifies(8, 1_000, b"digest", &mac));
        assert!(!seal.verifies(7, 1_001, b"digest", &mac));
        assert!(!seal.verifies(7, 1_000, b"Digest", &mac));
        assert!(!seal.verifies(7, 1_000, b"digest", &mac[..31]));
    }
}
