//! A signature nonce counts once: those seen in the last half hour.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use time::OffsetDateTime;

/// How long a nonce may not come again: as long as its time stamp may be good, both ways.
const NONCE_LIFE: time::Duration = time::Duration::minutes(31);
/// Nonces that are kept: at 500 calls a second all of them, beyond it the newest.
const MAX_NONCES: usize = 1_000_000;

/// Nonces seen, as hashes: two of a million are the same once in 37 million runs.
#[derive(Default)]
pub struct Nonces {
    hasher: RandomState,
    seen: HashSet<u64>,
    order: VecDeque<(OffsetDateTime, u64)>,
}

impl Nonces {
    /// Whether it is new; from now on it is not.
    pub fn take(&mut self, nonce: &str, now: OffsetDateTime) -> bool {
        while let Some(&(at, hash)) = self.order.front() {
            if self.order.len() < MAX_NONCES && now - at <= NONCE_LIFE {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&hash);
        }
        let hash = self.hasher.hash_one(nonce);
        let is_new = self.seen.insert(hash);
        if is_new {
            self.order.push_back((now, hash));
        }
        is_new
    }
}
