//! The keyed hash of an identity number, by which a person's verifications are found.
//!
//! The key is made once at random and kept wrapped by the key ring: it is in no configuration, and
//! it stays when key-encryption keys are rotated.

use std::fmt;

use super::locked::Locked;
use super::seal::DataKey;
use crate::domain::folding;

/// Name of the key.
pub const PERSON_INDEX: &str = "person-index";

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
        folding::number(number).map(|number| self.0.mac(&[b"person", number.as_bytes()]))
    }
}

impl fmt::Debug for PersonIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonIndex(..)")
    }
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
}
