//! Per-source rate limit: GCRA in memory, one cell per source and process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets `per_second` requests through on average, and that many at once after a pause.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    burst: Duration,
    /// Up to when the limit is spent.
    spent_to: Mutex<Instant>,
}

impl RateLimit {
    /// `per_second` must be positive.
    pub fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: Duration::from_secs(1),
            spent_to: Mutex::new(Instant::now()),
        }
    }

    /// As spent as that one: a changed limit is no second burst.
    pub fn go_on_from(&self, before: &Self) {
        let spent_to = *before.spent_to.lock().unwrap_or_else(PoisonError::into_inner);
        *self.spent_to.lock().unwrap_or_else(PoisonError::into_inner) = spent_to;
    }

    /// Takes one, or tells how long to wait.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut spent_to = self.spent_to.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*spent_to).max(now) + self.interval;
        match next.checked_duration_since(now + self.burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *spent_to = next;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_limit_is_no_second_burst() {
        let (before, after) = (RateLimit::new(10), RateLimit::new(20));
        let start = Instant::now();
        while before.take(start).is_ok() {}
        after.go_on_from(&before);
        assert!((0..20).filter(|_| after.take(start).is_ok()).count() <= 2);
        let later = start + Duration::from_millis(500);
        assert!((0..20).filter(|_| after.take(later).is_ok()).count() >= 10);
    }

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let limit = RateLimit::new(10);
        let start = Instant::now();
        assert_eq!((0..50).filter(|_| limit.take(start).is_ok()).count(), 10);
        let wait = limit.take(start).unwrap_err();
        assert!(wait <= Duration::from_millis(100));
        assert!(limit.take(start + wait).is_ok());
        assert_eq!(
            (0..100u32)
                .filter(|n| limit.take(start + Duration::from_millis(100) * (n / 10 + 2)).is_ok())
                .count(),
            10
        );
    }
}
