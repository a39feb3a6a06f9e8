//! Keeps background reads to a share of the time, however slow the database is.

use std::time::Duration;

/// Between its bounds, a throttled read may take this share of the time: one part in so many.
const SHARE: u32 = 25;

/// The time from the end of one read to the beginning of the next. The longest one matters where a
/// silent network makes a cheap read long: it must not delay the next one much.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    pub shortest: Duration,
    pub longest: Duration,
}

impl Throttle {
    pub const fn millis(shortest: u64, longest: u64) -> Self {
        Self { shortest: Duration::from_millis(shortest), longest: Duration::from_millis(longest) }
    }

    /// How long to rest after a read that took so long.
    pub fn rest(self, took: Duration) -> Duration {
        took.saturating_mul(SHARE).clamp(self.shortest, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_reads_come_less_often_within_bounds() {
        let throttle = Throttle::millis(40, 400);
        for (took, rest) in [(0, 40), (4, 100), (3000, 400)] {
            assert_eq!(throttle.rest(Duration::from_millis(took)), Duration::from_millis(rest));
        }
    }
}
