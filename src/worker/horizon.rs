//! How far back a claim looks for due work.
//!
//! Postgres finds the oldest due row by walking the index of due rows from its beginning, and where
//! a transaction has been left open somewhere, everything that was ever due is still there: dead,
//! and kept for that transaction. So most claims begin where the one before ended, a little earlier
//! for the sake of rows that were being written at that moment.
//!
//! Rows further back are rare: what a killed worker held, what a commit delayed. Twice a second or
//! more the worker asks where the oldest row is that is due, leased or not, and claims from there.
//! That question begins where the last one found its row, because nothing older was left; so it is
//! cheap whatever lies dead before that. Every 1 to 10 seconds it begins at the very beginning, for
//! rows that a commit delayed by more than 10 seconds.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::periodic::Throttle;

/// What a near look goes back: longer than nearly every statement takes from its start, which gives
/// the due time, to its commit.
const NEAR: Duration = Duration::from_millis(100);
/// What a wide look goes back at least: a stalled disk.
const WIDE: Duration = Duration::from_secs(10);
/// Between two wide looks. The longest time keeps the promise about a killed worker's rows: claimed
/// again within a second of the end of their lease.
const WIDE_EVERY: Throttle = Throttle::millis(250, 500);
/// Between two looks at everything. In a healthy database they cost as much as a near one.
const WHOLE_EVERY: Throttle = Throttle::millis(1000, 10_000);

/// How far a claim looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At what fell due since then: shortly before the end of the last look.
    Near(OffsetDateTime),
    /// From the oldest due row. Nothing is older than this.
    Wide(OffsetDateTime),
    /// From the oldest due row, wherever it is.
    Whole,
}

/// What one process has seen, by the database's clock, and when it looks wider again.
#[derive(Debug)]
pub struct Horizon {
    /// Up to here everything due was leased.
    seen_to: Option<OffsetDateTime>,
    /// Where the oldest due row was, leased or not; `None`: there was none.
    oldest: Option<OffsetDateTime>,
    wide_at: Instant,
    whole_at: Instant,
}

impl Horizon {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Self {
        Self { seen_to: None, oldest: None, wide_at: now, whole_at: now }
    }

    /// How far the claim that begins now looks.
    pub fn look(&self, now: Instant) -> Look {
        match (self.seen_to, self.unclaimed_since()) {
            (Some(seen_to), Some(since)) if now < self.whole_at => {
                if now < self.wide_at {
                    Look::Near(before(seen_to, NEAR))
                } else {
                    Look::Wide(since)
                }
            }
            _ => Look::Whole,
        }
    }

    /// Due rows that nobody has claimed are not older than this, with rare exceptions; `None`: not
    /// known.
    pub fn unclaimed_since(&self) -> Option<OffsetDateTime> {
        let since = before(self.seen_to?, WIDE);
        Some(self.oldest.map_or(since, |oldest| oldest.min(since)))
    }

    /// The question where the oldest due row is has been answered. The claim looks since then;
    /// `None`: at everything.
    pub fn found(
        &mut self,
        look: Look,
        began: Instant,
        ended: Instant,
        oldest: Option<OffsetDateTime>,
    ) -> Option<OffsetDateTime> {
        self.oldest = oldest;
        let took = ended - began;
        self.wide_at = ended + WIDE_EVERY.pause(took);
        if look == Look::Whole {
            self.whole_at = ended + WHOLE_EVERY.pause(took);
        }
        let near = self.seen_to.map(|seen_to| before(seen_to, NEAR));
        oldest.map(|oldest| near.map_or(oldest, |near| near.min(oldest))).or(near)
    }

    /// A claim is over; `seen_to` as it answered.
    pub fn claimed(&mut self, seen_to: Option<OffsetDateTime>) {
        self.seen_to = seen_to.or(self.seen_to);
    }
}

fn before(time: OffsetDateTime, by: Duration) -> OffsetDateTime {
    by.try_into().ok().and_then(|by| time.checked_sub(by)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const SEEN: OffsetDateTime = datetime!(2026-11-24 12:00:00 UTC);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A first look at everything, which took so long and found this, and its claim.
    fn begun(start: Instant, took: Duration, oldest: Option<OffsetDateTime>) -> Horizon {
        let mut horizon = Horizon::new(start);
        assert_eq!(horizon.look(start), Look::Whole);
        assert_eq!(horizon.found(Look::Whole, start, start + took, oldest), oldest);
        horizon.claimed(Some(SEEN));
        horizon
    }

    #[test]
    fn the_first_look_is_at_everything_and_the_next_ones_are_near() {
        let start = Instant::now();
        let horizon = begun(start, millis(1), None);
        assert_eq!(horizon.look(start + millis(2)), Look::Near(SEEN - NEAR));
    }

    #[test]
    fn while_nobody_could_look_the_next_look_is_at_everything() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.claimed(None);
        assert_eq!(horizon.look(start), Look::Whole);
    }

    #[test]
    fn what_was_seen_stays_seen_when_the_next_claim_could_not_look() {
        let start = Instant::now();
        let mut horizon = begun(start, millis(1), None);
        horizon.claimed(None);
        assert_eq!(horizon.look(start + millis(2)), Look::Near(SEEN - NEAR));
    }

    #[test]
    fn cheap_looks_at_everything_come_every_second() {
        let start = Instant::now();
        let horizon = begun(start, millis(1), None);
        assert_eq!(horizon.look(start + millis(252)), Look::Wide(SEEN - WIDE));
        assert_eq!(horizon.look(start + millis(1_001)), Look::Whole);
    }

    #[test]
    fn a_wide_look_begins_at_the_oldest_row_somebody_held_and_the_claim_where_it_is_now() {
        let start = Instant::now();
        let held = SEEN - millis(30_000);
        let mut horizon = begun(start, millis(1), Some(held));
        let later = start + millis(300);
        assert_eq!(horizon.look(later), Look::Wide(held));
        let next = SEEN - millis(20_000);
        assert_eq!(horizon.found(Look::Wide(held), later, later, Some(next)), Some(next));
        // None is left: the claim looks near.
        assert_eq!(horizon.found(Look::Wide(next), later, later, None), Some(SEEN - NEAR));
        assert_eq!(horizon.look(later + millis(300)), Look::Wide(SEEN - WIDE));
    }

    #[test]
    fn a_look_that_a_silent_network_made_long_does_not_put_off_the_next_ones() {
        let start = Instant::now();
        let took = Duration::from_secs(4);
        let horizon = begun(start, took, None);
        let ended = start + took;
        assert_eq!(horizon.look(ended + WIDE_EVERY.longest), Look::Wide(SEEN - WIDE));
        assert_eq!(horizon.look(ended + WHOLE_EVERY.longest), Look::Whole);
    }

    #[test]
    fn looks_that_take_long_take_a_bounded_share_of_the_time() {
        let start = Instant::now();
        let horizon = begun(start, millis(200), Some(SEEN));
        let ended = start + millis(200);
        assert_eq!(horizon.look(ended + WIDE_EVERY.shortest), Look::Near(SEEN - NEAR));
        assert_eq!(horizon.look(ended + millis(200) * 25 - millis(1)), Look::Wide(SEEN - WIDE));
        assert_eq!(horizon.look(ended + millis(200) * 25), Look::Whole);
    }
}
