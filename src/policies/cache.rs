//! Compiled policies by digest, shared by all who need one in a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::Policy;

use crate::lanes::off_runtime;
use crate::store::{self, Store};

/// Policies beyond which those are dropped that nobody holds.
const MOST: usize = 64;

/// A policy never changes, so each is compiled once.
#[derive(Debug, Default)]
pub struct PolicyCache(Mutex<HashMap<String, Option<Arc<Policy>>>>);

impl PolicyCache {
    /// The policy with that digest. `None` where the database has none, where its text is not the
    /// one that the digest names, or where this version cannot compile it.
    pub async fn get(&self, store: &Store, digest: &str) -> store::Result<Option<Arc<Policy>>> {
        if let Some(known) = self.lock().get(digest) {
            return Ok(known.clone());
        }
        match store.policies().policy_text(digest).await? {
            Some(text) => Ok(self.compile(digest, text.body).await),
            // It may be added a moment later, so this is not remembered.
            None => Ok(None),
        }
    }

    /// The same for a text that was read already.
    pub async fn compile(&self, digest: &str, text: String) -> Option<Arc<Policy>> {
        if let Some(known) = self.lock().get(digest) {
            return known.clone();
        }
        let policy = off_runtime(move || Policy::load_stored(&text)).await;
        let policy = policy.filter(|policy| policy.digest() == digest).map(Arc::new);
        let mut all = self.lock();
        if all.len() >= MOST {
            let is_held = |policy: &Arc<Policy>| Arc::strong_count(policy) > 1;
            all.retain(|_, policy| policy.as_ref().is_some_and(is_held));
        }
        all.insert(digest.to_owned(), policy.clone());
        policy
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<Policy>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../config/policy.toml");

    fn numbered(n: usize) -> (String, String) {
        let text = format!("{DEFAULT}\n# {n}\n");
        (Policy::load_stored(&text).unwrap().digest().to_owned(), text)
    }

    #[tokio::test]
    async fn a_policy_is_compiled_once() {
        let (cache, (digest, text)) = (PolicyCache::default(), numbered(1));
        let first = cache.compile(&digest, text.clone()).await.unwrap();
        let second = cache.compile(&digest, text).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[tokio::test]
    async fn a_text_that_is_not_the_one_of_its_digest_is_no_policy() {
        let (cache, (digest, text)) = (PolicyCache::default(), numbered(1));
        assert!(cache.compile(&digest, format!("{text}# more")).await.is_none());
        assert!(cache.compile("sha256:00", "no TOML at all".to_owned()).await.is_none());
    }

    #[tokio::test]
    async fn a_full_cache_keeps_the_policies_that_somebody_holds() {
        let cache = PolicyCache::default();
        let (digest, text) = numbered(0);
        let held = cache.compile(&digest, text.clone()).await.unwrap();
        for n in 1..=2 * MOST {
            let (digest, text) = numbered(n);
            cache.compile(&digest, text).await.unwrap();
        }
        assert!(cache.lock().len() <= MOST);
        let again = cache.compile(&digest, text).await.unwrap();
        assert!(Arc::ptr_eq(&held, &again));
    }
}
