//! Sources of callbacks: whose verifications one may touch.

use std::sync::Arc;

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
