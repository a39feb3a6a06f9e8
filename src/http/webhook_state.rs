//! State that the handlers of webhooks share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::problem::Problem;
use crate::store::Store;
use crate::store::webhook_endpoints::PublicKey;
use crate::webhooks::targets::Targets;

/// The configuration and the cache of the handlers.
#[derive(Debug)]
pub struct Webhooks {
    pub(super) targets: Targets,
    pub(super) public_keys: PublicKeys,
}

impl Webhooks {
    pub fn new(targets: Targets) -> Self {
        Self { targets, public_keys: PublicKeys::default() }
    }
}

/// How long keys are cached. Anonymous callers cause at most one query in this time.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// The cached public keys.
#[derive(Debug, Default)]
pub(super) struct PublicKeys {
    cached: Mutex<Option<Cached>>,
    /// Locked while a query runs.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Cached {
    read_at: Instant,
    /// An error is cached as long, so that anonymous callers do not burden a failing database.
    keys: Result<Vec<PublicKey>, Problem>,
}

impl PublicKeys {
    /// Clears the cache after this process added, rotated or removed a key.
    pub(super) fn forget(&self) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn cached(&self) -> Option<Result<Vec<PublicKey>, Problem>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = cached.as_ref().filter(|cached| cached.read_at.elapsed() < CACHED_FOR);
        fresh.map(|cached| cached.keys.clone())
    }

    pub(super) async fn read(&self, store: &Store) -> Result<Vec<PublicKey>, Problem> {
        if let Some(keys) = self.cached() {
            return keys;
        }
        let _loading = self.loading.lock().await;
        if let Some(keys) = self.cached() {
            return keys;
        }
        let read_at = Instant::now();
        let keys = store.webhook_endpoints().public_keys().await.map_err(Problem::from);
        let cached = Cached { read_at, keys: keys.clone() };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        keys
    }
}
