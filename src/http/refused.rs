//! Posts about another source's verifications, remembered for a moment.
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
const REMEMBERED: Duration = Duration::from_secs(1);
/// Most refusals that are remembered; beyond them all are forgotten.
const MOST: usize = 16_384;

/// Hashes of source and pair, under keys of this process, and until when they are refused.
#[derive(Debug, Default)]
pub(super) struct RefusedPairs {
    hasher: RandomState,
    until: Mutex<HashMap<u64, Instant>>,
}

impl RefusedPairs {
    /// Whether this was refused a moment ago.
    pub(super) fn contains(&self, pair: u64, now: Instant) -> bool {
        self.until().get(&pair).is_some_and(|until| now < *until)
    }

    /// Remembers a refusal.
    pub(super) fn insert(&self, pair: u64, now: Instant) {
        let mut until = self.until();
        if until.len() >= MOST {
            until.clear();
        }
        until.insert(pair, now + REMEMBERED);
    }

    /// Other groups may share.
    pub(super) fn clear(&self) {
        self.until().clear();
    }

    /// Names a source and a pair.
    pub(super) fn key(&self, source: &str, callback: &Callback) -> u64 {
        self.hasher.hash_one((source, &callback.biz_type, &callback.biz_id))
    }

    fn until(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_its_source_and_pair_and_a_moment() {
        let refused = RefusedPairs::default();
        let key = |source: &str, id: &str| {
            let body = format!(r#"{{"biz_type":"test","biz_id":"{id}"}}"#);
            refused.key(source, &Callback::parse(body.as_bytes()).unwrap())
        };
        let now = Instant::now();
        refused.insert(key("shop", "a"), now);
        assert!(refused.contains(key("shop", "a"), now));
        assert!(!refused.contains(key("bank", "a"), now));
        assert!(!refused.contains(key("shop", "b"), now));
        assert!(!refused.contains(key("shop", "a"), now + REMEMBERED));
        for n in 0..2 * MOST {
            refused.insert(key("shop", &n.to_string()), now);
        }
        assert!(refused.until().len() <= MOST);
        refused.clear();
        assert!(!refused.contains(key("shop", "1"), now));
    }
}
