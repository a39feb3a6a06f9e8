//! Remembers for a moment which callbacks were refused because the verification belongs to another
//! source.
//!
//! Refusing one costs a lock on the other source's row until the batch is committed, and claims
//! pass over locked rows. So a source that posts about the same verification without a pause could
//! delay its decision. Remembered refusals are repeated without asking the database.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::callback::Callback;

/// Owners do not change, but another process may have a newer configuration of groups.
const REFUSAL_TTL: Duration = Duration::from_secs(1);
/// Beyond this the cache is emptied.
const MAX_ENTRIES: usize = 16_384;

/// What a refusal is remembered by.
pub(super) struct Keys {
    /// Source and pair: the verification of that name is another source's.
    pub(super) pair: u64,
    /// And the `certify_id`: the verification that has it is another source's. The pair is not.
    pub(super) whole: u64,
}

/// Hashes of [`Keys`], under keys of this process, and until when they are refused.
#[derive(Debug, Default)]
pub(super) struct OtherSourceCache {
    hasher: RandomState,
    until: Mutex<HashMap<u64, Instant>>,
}

impl OtherSourceCache {
    pub(super) fn contains(&self, key: u64, now: Instant) -> bool {
        self.until().get(&key).is_some_and(|until| now < *until)
    }

    pub(super) fn insert(&self, key: u64, now: Instant) {
        let mut until = self.until();
        if until.len() >= MAX_ENTRIES {
            until.clear();
        }
        until.insert(key, now + REFUSAL_TTL);
    }

    /// After a change of the sources: their groups may share verifications now.
    pub(super) fn clear(&self) {
        self.until().clear();
    }

    pub(super) fn keys(&self, source: &str, callback: &Callback) -> Keys {
        let pair = (source, &callback.biz_type, &callback.biz_id);
        // Not as in the statement, where the id may come from `biz_id`: then the pair says the same.
        let whole = (pair, callback.certify_id_if_new());
        Keys { pair: self.hasher.hash_one(pair), whole: self.hasher.hash_one(whole) }
    }

    fn until(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_cached_briefly_per_source_and_pair() {
        let refused = OtherSourceCache::default();
        let key = |source: &str, id: &str| {
            let body = format!(r#"{{"biz_type":"test","biz_id":"{id}"}}"#);
            let callback = Callback::parse(body.as_bytes(), policy::product::Product::default());
            refused.keys(source, &callback.unwrap()).pair
        };
        let now = Instant::now();
        refused.insert(key("shop", "a"), now);
        assert!(refused.contains(key("shop", "a"), now));
        assert!(!refused.contains(key("bank", "a"), now));
        assert!(!refused.contains(key("shop", "b"), now));
        assert!(!refused.contains(key("shop", "a"), now + REFUSAL_TTL));
        for n in 0..2 * MAX_ENTRIES {
            refused.insert(key("shop", &n.to_string()), now);
        }
        assert!(refused.until().len() <= MAX_ENTRIES);
        refused.clear();
        assert!(!refused.contains(key("shop", "1"), now));
    }
}
