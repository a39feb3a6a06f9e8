//! How far back a claim looks for due work.
//!
//! Postgres finds the oldest due row by walking the index of due rows from its beginning, and where
//! a transaction has been left open somewhere, everything that was ever due is still there: dead,
//! and kept for that transaction. So most claims begin where the one before ended, a little earlier
//! for the sake of rows that were being written at that moment. Rows further back are rare (what a
//! killed worker held, what a commit delayed): wider looks find them, as often as they are cheap.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// What a near look goes back: longer than nearly every statement takes from its start, which gives
/// the due time, to its commit.
const NEAR: Duration = Duration::from_millis(100);
/// What a wide look goes back: a stalled disk, a lease of the default length.
const WIDE: Duration = Duration::from_secs(10);
/// Shortest distance of two wide looks.
const WIDE_EVERY: Duration = Duration::from_millis(250);
/// Shortest distance of two looks at everything: in a healthy database they cost as much as a near
/// one, and what a killed worker held waits for nothing but the end of its lease.
const WHOLE_EVERY: Duration = Duration::from_secs(1);
/// Wide looks, and looks at everything, may each take this share of the time: one part in so many.
const SHARE: u32 = 25;

/// How far a claim looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// From shortly before the end of the last one.
    Near,
    /// From some seconds before.
    Wide,
    /// At everything that is due.
    Whole,
}

/// What one process has seen, by the database's clock, and when it looks wider again.
#[derive(Debug)]
pub struct Horizon {
    seen_to: Option<OffsetDateTime>,
    wide_at: Instant,
    whole_at: Instant,
}

impl Horizon {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Self {
        Self { seen_to: None, wide_at: now, whole_at: now }
    }

    /// How far the claim that begins now looks, and since when by the database's clock.
    pub fn look(&self, now: Instant) -> (Look, Option<OffsetDateTime>) {
        let look = match self.seen_to {
            Some(_) if now < self.wide_at && now < self.whole_at => Look::Near,
            Some(_) if now < self.whole_at => Look::Wide,
            Some(_) | None => Look::Whole,
        };
        let back = match look {
            Look::Near => NEAR,
            Look::Wide => WIDE,
            Look::Whole => return (look, None),
        };
        (look, self.seen_to.and_then(|seen_to| seen_to.checked_sub(back.try_into().ok()?)))
    }

    /// Due rows that nobody has claimed are newer than this, with rare exceptions; `None`: not known.
    pub fn unclaimed_since(&self) -> Option<OffsetDateTime> {
        self.seen_to.and_then(|seen_to| seen_to.checked_sub(WIDE.try_into().ok()?))
    }

    /// The claim is over; `seen_to` as it answered.
    pub fn looked(
        &mut self,
        look: Look,
        began: Instant,
        ended: Instant,
        seen_to: Option<OffsetDateTime>,
    ) {
        self.seen_to = seen_to.or(self.seen_to);
        let again = |every: Duration| ended + every.max((ended - began) * SHARE);
        if look != Look::Near {
            self.wide_at = again(WIDE_EVERY);
        }
        if look == Look::Whole {
            self.whole_at = again(WHOLE_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const SEEN: OffsetDateTime = datetime!(2026-11-24 12:00:00 UTC);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_look_is_at_everything_and_the_next_ones_are_near() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        assert_eq!(horizon.look(start), (Look::Whole, None));
        horizon.looked(Look::Whole, start, start + millis(1), Some(SEEN));
        assert_eq!(horizon.look(start + millis(2)), (Look::Near, Some(SEEN - NEAR)));
    }

    #[test]
    fn while_nobody_could_look_the_next_look_is_at_everything() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.looked(Look::Whole, start, start, None);
        assert_eq!(horizon.look(start), (Look::Whole, None));
    }

    #[test]
    fn what_was_seen_stays_seen_when_the_next_claim_could_not_look() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.looked(Look::Whole, start, start, Some(SEEN));
        horizon.looked(Look::Near, start, start, None);
        assert_eq!(horizon.look(start), (Look::Near, Some(SEEN - NEAR)));
    }

    #[test]
    fn cheap_looks_at_everything_come_every_second() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.looked(Look::Whole, start, start + millis(1), Some(SEEN));
        assert_eq!(horizon.look(start + millis(252)).0, Look::Wide);
        assert_eq!(horizon.look(start + millis(252)).1, Some(SEEN - WIDE));
        assert_eq!(horizon.look(start + millis(1_001)), (Look::Whole, None));
    }

    #[test]
    fn looks_that_take_long_take_a_bounded_share_of_the_time() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.looked(Look::Whole, start, start + millis(400), Some(SEEN));
        let (wide, whole) = (millis(400) * SHARE, millis(400) * (SHARE + 1));
        assert_eq!(horizon.look(start + wide).0, Look::Near);
        assert_eq!(horizon.look(start + whole).0, Look::Whole);
    }
}
