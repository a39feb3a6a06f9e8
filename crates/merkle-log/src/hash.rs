//! The hashes of a tree. The prefixes keep a leaf from being passed off as a node.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The hash of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeHash([u8; 32]);

impl NodeHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// `None`: not 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The root of the tree without leaves.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest(b"").into())
    }

    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0_u8]).chain_update(entry).finalize().into())
    }

    pub fn of_nodes(left: &Self, right: &Self) -> Self {
        let hasher = Sha256::new().chain_update([1_u8]).chain_update(left.0).chain_update(right.0);
        Self(hasher.finalize().into())
    }

    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// `None`: not the base64 form of 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        Self::from_slice(&STANDARD.decode(text).ok()?)
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
