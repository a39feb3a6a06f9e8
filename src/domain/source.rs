//! Sources of callbacks: whose verifications one may touch.

use std::sync::{Arc, PoisonError, RwLock};

/// A source by its configured name, and the other sources of its group, whose verifications it
/// shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAccess {
    /// As in `[sources.NAME]`.
    pub name: String,
    /// The rest of its group.
    pub peers: Arc<[String]>,
}

impl SourceAccess {
    /// A source that shares nothing.
    pub fn alone(name: impl Into<String>) -> Self {
        Self { name: name.into(), peers: [].into() }
    }

    /// Whether what belongs to `owner` is within reach.
    pub fn reaches(&self, owner: &str) -> bool {
        self.name == owner || self.peers.iter().any(|peer| peer == owner)
    }

    /// `owner name`, for each other source whose verifications are within reach. A name of a source
    /// holds no blank.
    pub fn pairs(&self) -> impl Iterator<Item = String> {
        self.peers.iter().map(|owner| format!("{owner} {}", self.name))
    }
}

/// Which sources share their verifications, for counting the earlier ones of a reference. Replaced
/// whole when the configuration changes.
#[derive(Debug, Default)]
pub struct Groups(RwLock<Arc<[(String, String)]>>);

impl Groups {
    /// To begin with: for each source, itself with each other one of its group.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(RwLock::new(pairs.into()))
    }

    /// `(source, peer)`, for each two sources of one group.
    pub fn pairs(&self) -> Arc<[(String, String)]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces all of them.
    pub fn replace(&self, pairs: Vec<(String, String)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pairs.into();
    }
}
