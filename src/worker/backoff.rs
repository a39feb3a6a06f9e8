//! How long to wait before the next try: a delay that doubles with every failure in a row.

use std::time::Duration;

/// A first delay and a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Doubles from `first` up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// After so many failures before this one: doubled for each, at most the longest.
    pub fn ceiling(self, failures: i32) -> Duration {
        let doublings = failures.clamp(0, 20).unsigned_abs();
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// Full jitter: anywhere below the ceiling. Spreads a crowd evenly, and needs no memory of the
    /// last delay. `jitter` is in `[0, 1)`.
    pub fn full_jitter(self, failures: i32, jitter: f64) -> Duration {
        self.ceiling(failures).mul_f64(jitter)
    }

    /// Jitter over the second half: for a crowd whose rate must stay bounded.
    pub fn half_jitter(self, failures: i32, jitter: f64) -> Duration {
        self.ceiling(failures).mul_f64(f64::midpoint(1.0, jitter))
    }
}

/// Whole milliseconds, for the log.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn delay_doubles_up_to_the_longest_and_is_spread_below_it() {
        let backoff = Backoff::new(S, 60 * S);
        let ceilings: Vec<u64> = (0..8).map(|n| backoff.ceiling(n).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.ceiling(-1), S);
        assert_eq!(backoff.ceiling(i32::MAX), 60 * S);
        assert_eq!(backoff.full_jitter(3, 0.0), Duration::ZERO);
        assert_eq!(backoff.full_jitter(3, 0.5), 4 * S);
        assert_eq!(backoff.half_jitter(3, 0.0), 4 * S);
        assert_eq!(backoff.half_jitter(3, 1.0), 8 * S);
    }
}
