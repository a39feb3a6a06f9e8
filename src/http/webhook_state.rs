//! State that the handlers of webhooks share.

use super::one_second_cache::OneSecondCache;
use super::problem::Problem;
use crate::store::webhook_endpoints::PublicKey;
use crate::webhooks::targets::Targets;

/// The configuration and the cache of the handlers.
#[derive(Debug)]
pub struct Webhooks {
    pub(super) targets: Targets,
    /// Anonymous callers may read the keys. An error is cached as well, so that they do not burden a
    /// failing database.
    pub(super) public_keys: OneSecondCache<Result<Vec<PublicKey>, Problem>>,
}

impl Webhooks {
    pub fn new(targets: Targets) -> Self {
        Self { targets, public_keys: OneSecondCache::default() }
    }
}
