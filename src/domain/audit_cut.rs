//! The part of the audit that retention dropped: the digests of its rows, and the signed cut that
//! accounts for them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// The rows up to a position were dropped. As it is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Position of the newest dropped row.
    pub position: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Digest of that row, in hex: the first kept row continues it.
    pub digest: String,
    /// The fold of the digests of all rows up to it, in hex.
    pub leaves: String,
    /// Covers all of that; in hex.
    pub mac: String,
}

/// Digests of dropped rows that follow one another. As they are exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaves {
    /// Position of the first one.
    pub from: i64,
    /// In hex, without gaps.
    pub digests: Vec<String>,
}

impl Leaves {
    pub(super) fn each(&self) -> impl Iterator<Item = (i64, &str)> {
        self.digests.iter().enumerate().map(|(n, digest)| {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            (self.from.saturating_add(n), digest.as_str())
        })
    }
}

/// A digest over the digests of all rows from the first on. Each step hashes the fold before it and one
/// more digest, so the next drop continues where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold([u8; 32]);

impl Default for Fold {
    /// Over no row.
    fn default() -> Self {
        Self(Sha256::digest(b"verdict audit leaves").into())
    }
}

impl Fold {
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        bytes_of(text).map(Self)
    }

    pub(super) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// `None`: that is no digest.
    pub(super) fn with_hex(self, digest: &str) -> Option<Self> {
        let leaf = bytes_of(digest)?;
        Some(Self(Sha256::new().chain_update(self.0).chain_update(leaf).finalize().into()))
    }
}

pub(super) fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit_chain::{Broken, Chain};

    fn digest(n: u8) -> String {
        hex::encode([n; 32])
    }

    fn cut(position: i64, chain: &Chain) -> Cut {
        Cut {
            position,
            at: OffsetDateTime::UNIX_EPOCH,
            digest: chain.digest().to_owned(),
            leaves: chain.leaves().to_hex(),
            mac: String::new(),
        }
    }

    #[test]
    fn a_cut_covers_exactly_the_leaves_it_was_made_for() {
        let mut chain = Chain::default();
        for n in 1..=3 {
            chain.follow_leaf(n.into(), &digest(n)).unwrap();
        }
        let whole = cut(3, &chain);
        assert_eq!(chain.clone().leaves_end(), Err(Broken::LeavesWithoutCut(3)));
        assert_eq!(chain.clone().follow_cut(&whole), Ok(()));
        assert_eq!(Chain::behind(&whole).map(|behind| behind.leaves()), Some(chain.leaves()));

        let followed = |leaves: &[(i64, u8)]| {
            let mut chain = Chain::default();
            for (position, n) in leaves {
                chain.follow_leaf(*position, &digest(*n))?;
            }
            chain.follow_cut(&whole)?;
            chain.leaves_end()
        };
        assert_eq!(followed(&[(1, 1), (2, 2), (3, 3)]), Ok(()));
        // The digest of the newest row is the same, and an older one is not.
        assert_eq!(followed(&[(1, 1), (2, 9), (3, 3)]), Err(Broken::LeavesChanged(3)));
        assert_eq!(followed(&[(1, 2), (2, 1), (3, 3)]), Err(Broken::LeavesChanged(3)));
        let missing = |after, next| Err(Broken::LeavesMissing { after, next });
        assert_eq!(followed(&[(2, 2), (3, 3)]), missing(0, 2));
        assert_eq!(followed(&[(1, 1), (3, 3)]), missing(1, 3));
        assert_eq!(followed(&[(1, 1), (2, 2)]), missing(2, 3));
        assert_eq!(followed(&[(1, 1), (2, 2), (3, 3), (4, 4)]), Err(Broken::OutOfPlace(4)));
    }
}
