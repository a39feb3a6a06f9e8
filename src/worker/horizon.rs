//! How far back a claim searches for due work.
//!
//! Postgres finds the oldest due row along the index of due rows. While a transaction is left open
//! anywhere, the index still holds an entry for every row that was ever due, and Postgres reads them
//! all. So most claims begin where the last one ended, a little earlier for rows that were still
//! being written then.
//!
//! Older rows are rare: a killed worker held them, or a commit delayed them. Twice a second or more
//! the worker asks for the oldest due row, leased or not, and claims from there. This query begins at
//! the row that the last one found, because nothing older was left, so dead entries before it cost
//! nothing. Every 1 to 10 seconds it begins at the very beginning, for rows that a commit delayed by
//! more than 10 seconds.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::periodic::Throttle;

/// How far a search of recent rows goes back: longer than nearly every statement takes from its
/// start, which gives the due time, to its commit.
const RECENT: Duration = Duration::from_millis(100);
/// How far a search of the backlog goes back at least: a stalled disk.
const BACKLOG: Duration = Duration::from_secs(10);
/// Between two searches of the backlog. The longest time keeps a promise: a killed worker's rows are
/// claimed within a second of the end of their lease.
const BACKLOG_EVERY: Throttle = Throttle::millis(250, 500);
/// Between two searches of all rows. In a healthy database they cost as much as one of recent rows.
const ALL_EVERY: Throttle = Throttle::millis(1000, 10_000);

/// The rows that a claim searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Those that fell due since then: shortly before the end of the last search.
    Recent(OffsetDateTime),
    /// From the oldest due row. Nothing is older than this.
    Backlog(OffsetDateTime),
    /// From the oldest due row, wherever it is.
    All,
}

/// How far one process has claimed everything, by the database's clock, and when it searches further
/// back again.
#[derive(Debug)]
pub struct Horizon {
    /// Up to here everything due was leased.
    claimed_to: Option<OffsetDateTime>,
    /// The due time of the oldest due row, leased or not; `None`: there was none.
    oldest: Option<OffsetDateTime>,
    backlog_at: Instant,
    all_at: Instant,
}

impl Horizon {
    pub fn new(now: Instant) -> Self {
        Self { claimed_to: None, oldest: None, backlog_at: now, all_at: now }
    }

    /// The rows that a claim beginning now searches.
    pub fn search(&self, now: Instant) -> Search {
        match (self.claimed_to, self.unclaimed_since()) {
            (Some(claimed_to), Some(since)) if now < self.all_at => {
                if now < self.backlog_at {
                    Search::Recent(before(claimed_to, RECENT))
                } else {
                    Search::Backlog(since)
                }
            }
            _ => Search::All,
        }
    }

    /// Unclaimed due rows are not older than this, with rare exceptions; `None`: not known.
    pub fn unclaimed_since(&self) -> Option<OffsetDateTime> {
        let since = before(self.claimed_to?, BACKLOG);
        Some(self.oldest.map_or(since, |oldest| oldest.min(since)))
    }

    /// Takes the answer of the query for the oldest due row. The claim searches since the returned
    /// time; `None`: all rows.
    pub fn found_oldest(
        &mut self,
        search: Search,
        began: Instant,
        ended: Instant,
        oldest: Option<OffsetDateTime>,
    ) -> Option<OffsetDateTime> {
        self.oldest = oldest;
        let took = ended - began;
        self.backlog_at = ended + BACKLOG_EVERY.pause(took);
        if search == Search::All {
            self.all_at = ended + ALL_EVERY.pause(took);
        }
        let recent = self.claimed_to.map(|claimed_to| before(claimed_to, RECENT));
        oldest.map(|oldest| recent.map_or(oldest, |recent| recent.min(oldest))).or(recent)
    }

    /// A claim is over; `claimed_to` as it answered.
    pub fn claimed(&mut self, claimed_to: Option<OffsetDateTime>) {
        self.claimed_to = claimed_to.or(self.claimed_to);
    }
}

fn before(time: OffsetDateTime, by: Duration) -> OffsetDateTime {
    by.try_into().ok().and_then(|by| time.checked_sub(by)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const CLAIMED: OffsetDateTime = datetime!(2026-11-24 12:00:00 UTC);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// After the first search, which took so long and found this row, and its claim.
    fn after_first(start: Instant, took: Duration, oldest: Option<OffsetDateTime>) -> Horizon {
        let mut horizon = Horizon::new(start);
        assert_eq!(horizon.search(start), Search::All);
        assert_eq!(horizon.found_oldest(Search::All, start, start + took, oldest), oldest);
        horizon.claimed(Some(CLAIMED));
        horizon
    }

    #[test]
    fn first_search_covers_all_rows_and_next_ones_recent_rows() {
        let start = Instant::now();
        let horizon = after_first(start, millis(1), None);
        assert_eq!(horizon.search(start + millis(2)), Search::Recent(CLAIMED - RECENT));
    }

    #[test]
    fn failed_first_claim_leaves_the_next_search_at_all_rows() {
        let start = Instant::now();
        let mut horizon = Horizon::new(start);
        horizon.claimed(None);
        assert_eq!(horizon.search(start), Search::All);
    }

    #[test]
    fn claim_without_a_position_keeps_the_one_before() {
        let start = Instant::now();
        let mut horizon = after_first(start, millis(1), None);
        horizon.claimed(None);
        assert_eq!(horizon.search(start + millis(2)), Search::Recent(CLAIMED - RECENT));
    }

    #[test]
    fn cheap_searches_of_all_rows_come_every_second() {
        let start = Instant::now();
        let horizon = after_first(start, millis(1), None);
        assert_eq!(horizon.search(start + millis(252)), Search::Backlog(CLAIMED - BACKLOG));
        assert_eq!(horizon.search(start + millis(1_001)), Search::All);
    }

    #[test]
    fn backlog_search_begins_at_the_oldest_leased_row() {
        let start = Instant::now();
        let leased = CLAIMED - millis(30_000);
        let mut horizon = after_first(start, millis(1), Some(leased));
        let later = start + millis(300);
        assert_eq!(horizon.search(later), Search::Backlog(leased));
        let next = CLAIMED - millis(20_000);
        assert_eq!(
            horizon.found_oldest(Search::Backlog(leased), later, later, Some(next)),
            Some(next)
        );
        // None is left: the claim searches recent rows.
        assert_eq!(
            horizon.found_oldest(Search::Backlog(next), later, later, None),
            Some(CLAIMED - RECENT)
        );
        assert_eq!(horizon.search(later + millis(300)), Search::Backlog(CLAIMED - BACKLOG));
    }

    #[test]
    fn search_slowed_by_a_silent_network_does_not_delay_the_next() {
        let start = Instant::now();
        let took = Duration::from_secs(4);
        let horizon = after_first(start, took, None);
        let ended = start + took;
        assert_eq!(
            horizon.search(ended + BACKLOG_EVERY.longest),
            Search::Backlog(CLAIMED - BACKLOG)
        );
        assert_eq!(horizon.search(ended + ALL_EVERY.longest), Search::All);
    }

    #[test]
    fn slow_searches_take_a_bounded_share_of_the_time() {
        let start = Instant::now();
        let horizon = after_first(start, millis(200), Some(CLAIMED));
        let ended = start + millis(200);
        assert_eq!(
            horizon.search(ended + BACKLOG_EVERY.shortest),
            Search::Recent(CLAIMED - RECENT)
        );
        assert_eq!(
            horizon.search(ended + millis(200) * 25 - millis(1)),
            Search::Backlog(CLAIMED - BACKLOG)
        );
        assert_eq!(horizon.search(ended + millis(200) * 25), Search::All);
    }
}
