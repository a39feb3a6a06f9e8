//! Sources of callbacks, and which verifications each may read and change.

use std::sync::{Arc, PoisonError, RwLock};

/// A source by its configured name, and the other sources of its group, whose verifications it
/// shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAccess {
    /// As in `[sources.NAME]`.
    pub name: String,
    /// The other sources of its group.
    pub peers: Arc<[String]>,
}

impl SourceAccess {
    /// A source that shares nothing.
    pub fn alone(name: impl Into<String>) -> Self {
        Self { name: name.into(), peers: [].into() }
    }

    /// Whether this source may read and change what belongs to `owner`.
    pub fn reaches(&self, owner: &str) -> bool {
        self.name == owner || self.peers.iter().any(|peer| peer == owner)
    }

    /// `owner name`, for each other source of the group. A source's name contains no blank.
    pub fn pairs(&self) -> impl Iterator<Item = String> {
        self.peers.iter().map(|owner| format!("{owner} {}", self.name))
    }
}

/// The pairs of sources that share verifications, for counting earlier ones of a reference. A
/// changed configuration replaces all of them.
#[derive(Debug, Default)]
pub struct Groups(RwLock<Arc<[(String, String)]>>);

impl Groups {
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(RwLock::new(pairs.into()))
    }

    /// `(source, peer)`, for each two sources of one group.
    pub fn pairs(&self) -> Arc<[(String, String)]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, pairs: Vec<(String, String)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pairs.into();
    }
}
