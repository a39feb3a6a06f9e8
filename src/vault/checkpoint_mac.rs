//! The signature of the audit's checkpoints.
//!
//! The key is made once at random and kept wrapped by the key ring: it is in no configuration, and
//! it stays when key-encryption keys are rotated.

use std::fmt;

use subtle::ConstantTimeEq;

use super::locked::Locked;
use super::seal::DataKey;

/// Name of the key.
pub const AUDIT: &str = "audit";

/// Signs the audit's checkpoints: who can write the database but has no key cannot make one.
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
    }
}
