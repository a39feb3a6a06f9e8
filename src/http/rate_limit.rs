//! Rate limit of one source in one process: GCRA in memory.
//!
//! The limit counts new messages. Repeats have a second limit of the same size: a sender that
//! retries, and an attacker who replays captured messages, cannot keep new messages out, and cannot
//! cause more than that many lookups either. Only the database knows for certain which messages
//! are new. So the ids of recent messages are remembered here, accepted or not, to choose the
//! limit; if the database then disagrees, the charge is moved.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Message ids are remembered at least this long, if there is space: a captured message can be
/// replayed for twice the tolerance of its timestamp.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Fewest and most message ids that are remembered before the older half is dropped.
const REMEMBERED_IDS: std::ops::RangeInclusive<usize> = 1_024..=131_072;

/// Allows `per_second` new messages on average, a burst of as many after a pause, and as many
/// repeats.
#[derive(Debug)]
pub struct RateLimit {
    new: Bucket,
    repeats: Bucket,
    recent: Mutex<RecentIds>,
}

impl RateLimit {
    /// `per_second` must be positive.
    pub fn new(per_second: u32) -> Self {
        Self {
            new: Bucket::new(per_second),
            repeats: Bucket::new(per_second),
            recent: Mutex::new(RecentIds::new(per_second)),
        }
    }

    /// Takes over the other limit's state: changing a limit must not allow a second burst.
    pub fn continue_from(&self, before: &Self) {
        self.new.continue_from(&before.new);
        self.repeats.continue_from(&before.repeats);
        let known = std::mem::take(&mut *before.recent());
        let capacity = self.recent().capacity;
        *self.recent() = RecentIds { capacity, ..known };
    }

    /// Charges a message, or answers how long to wait.
    pub fn take(&self, message_id: &str, now: Instant) -> Result<Charge<'_>, Duration> {
        let mut recent = self.recent();
        let id = recent.hasher.hash_one(message_id);
        let as_repeat = recent.contains(id);
        let bucket = if as_repeat { &self.repeats } else { &self.new };
        bucket.take(now)?;
        if !as_repeat {
            recent.insert(id, now);
        }
        Ok(Charge { limit: self, as_repeat })
    }

    fn recent(&self) -> MutexGuard<'_, RecentIds> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The charge for one message.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    limit: &'a RateLimit,
    as_repeat: bool,
}

impl Charge<'_> {
    /// The message was new: one that was refused before, and so taken for a repeat, counts now.
    pub fn was_new(self) {
        if self.as_repeat {
            self.limit.new.charge();
        }
    }

    /// The message id was known: it counts no longer as a new one.
    pub fn was_known(self) {
        if !self.as_repeat {
            self.limit.new.give_back();
        }
    }
}

/// GCRA: one timestamp.
#[derive(Debug)]
pub struct Bucket {
    interval: Duration,
    spent_to: Mutex<Instant>,
}

impl Bucket {
    const BURST: Duration = Duration::from_secs(1);

    /// `per_second` must be positive.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, spent_to: Mutex::new(Instant::now()) }
    }

    fn continue_from(&self, before: &Self) {
        let spent_to = *before.spent_to();
        *self.spent_to() = spent_to;
    }

    /// Takes one, or answers how long to wait.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut spent_to = self.spent_to();
        let next = (*spent_to).max(now) + self.interval;
        match next.checked_duration_since(now + Self::BURST) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *spent_to = next;
                Ok(())
            }
        }
    }

    fn charge(&self) {
        let mut spent_to = self.spent_to();
        *spent_to = (*spent_to).max(Instant::now()) + self.interval;
    }

    fn give_back(&self) {
        let mut spent_to = self.spent_to();
        *spent_to = spent_to.checked_sub(self.interval).unwrap_or(*spent_to);
    }

    fn spent_to(&self) -> MutexGuard<'_, Instant> {
        self.spent_to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes of recent message ids, under keys of this process. Two halves: when the newer one is full
/// or old, it replaces the older one.
#[derive(Debug, Default)]
struct RecentIds {
    hasher: RandomState,
    newer: HashSet<u64>,
    older: HashSet<u64>,
    since: Option<Instant>,
    capacity: usize,
}

impl RecentIds {
    fn new(per_second: u32) -> Self {
        let wanted = usize::try_from(u64::from(per_second) * REMEMBERED.as_secs());
        let capacity =
            wanted.unwrap_or(usize::MAX).clamp(*REMEMBERED_IDS.start(), *REMEMBERED_IDS.end());
        Self { capacity, ..Self::default() }
    }

    fn contains(&self, id: u64) -> bool {
        self.newer.contains(&id) || self.older.contains(&id)
    }

    fn insert(&mut self, id: u64, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if self.newer.len() >= self.capacity || now.duration_since(since) > REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
            self.since = Some(now);
        }
        self.newer.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_ones(limit: &RateLimit, ids: std::ops::Range<u32>, now: Instant) -> usize {
        let take = |n: &u32| limit.take(&format!("msg_{n}"), now).map(Charge::was_new).is_ok();
        ids.filter(take).count()
    }

    fn copies(limit: &RateLimit, id: &str, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| limit.take(id, now).map(Charge::was_known).is_ok()).count()
    }

    #[test]
    fn a_changed_limit_is_no_second_burst() {
        let (before, after) = (RateLimit::new(10), RateLimit::new(20));
        let start = Instant::now();
        new_ones(&before, 0..50, start);
        after.continue_from(&before);
        assert!(new_ones(&after, 50..70, start) <= 2);
        let later = start + Duration::from_millis(500);
        assert!(new_ones(&after, 70..90, later) >= 10);
        // Known ids are kept across the change.
        assert!(copies(&after, "msg_0", 5, later) == 5);
        assert!(new_ones(&after, 90..110, later) <= 2);
    }

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let limit = RateLimit::new(10);
        let start = Instant::now();
        assert_eq!(new_ones(&limit, 0..50, start), 10);
        let wait = limit.take("msg_50", start).unwrap_err();
        assert!(wait <= Duration::from_millis(100));
        assert_eq!(new_ones(&limit, 50..51, start + wait), 1);
        let later = |n: u32| start + Duration::from_millis(100) * (n / 10 + 2);
        let through = (0..100).filter(|n| new_ones(&limit, 100 + n..101 + n, later(*n)) == 1);
        assert_eq!(through.count(), 10);
    }

    #[test]
    fn repeats_use_up_their_own_limit_and_no_other() {
        let limit = RateLimit::new(10);
        let now = Instant::now();
        assert_eq!(new_ones(&limit, 0..1, now), 1);
        assert_eq!(copies(&limit, "msg_0", 1_000, now), 10);
        assert_eq!(new_ones(&limit, 1..50, now), 9);
    }

    #[test]
    fn a_repeat_of_another_processes_message_gets_its_charge_back() {
        let limit = RateLimit::new(10);
        let now = Instant::now();
        for n in 0..9 {
            limit.take(&format!("elsewhere_{n}"), now).unwrap().was_known();
        }
        assert_eq!(new_ones(&limit, 0..50, now), 10);
    }

    #[test]
    fn a_message_that_was_refused_and_is_then_new_counts_once() {
        let limit = RateLimit::new(10);
        let now = Instant::now();
        for _ in 0..5 {
            limit.take("refused", now).unwrap();
        }
        limit.take("refused", now).unwrap().was_new();
        assert_eq!(new_ones(&limit, 0..50, now), 8);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let limit = RateLimit::new(1);
        let now = Instant::now();
        for n in 0..10_000_u64 {
            limit.recent().insert(n, now);
        }
        let recent = limit.recent();
        assert!(recent.newer.len() + recent.older.len() <= 2 * REMEMBERED_IDS.start());
        assert!(recent.contains(9_999) && !recent.contains(0));
    }
}
