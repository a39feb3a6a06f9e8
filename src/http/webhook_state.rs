//! State that the handlers of webhooks share.

use super::one_second_cache::OneSecondCache;
use super::problem::Problem;
use crate::store::webhook_keys::PublicKey;
use crate::webhooks::Settings;
use crate::webhooks::targets::Targets;

/// The configuration and the cache of the handlers.
#[derive(Debug)]
pub struct Webhooks {
    pub(super) targets: Targets,
    pub(super) max_endpoints: u32,
    /// Anonymous callers may read the keys. An error is cached as well, so that they do not burden a
    /// failing database.
    pub(super) public_keys: OneSecondCache<Result<Vec<PublicKey>, Problem>>,
}

impl Webhooks {
    pub fn new(settings: Settings) -> Self {
        let Settings { targets, max_endpoints, .. } = settings;
        Self { targets, max_endpoints, public_keys: OneSecondCache::default() }
    }
}
