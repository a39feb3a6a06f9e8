//! Puts the rows of a dead worker before the backlog.
//!
//! A killed worker's rows keep their due time and their place among all due rows. Claims by age, or
//! in turn between sources, would reach them only after older rows that nobody has claimed yet. So
//! each worker scans the due rows for leases that are not renewed, remembers when they end, and
//! claims those rows first from then on.
//!
//! A live worker renews at a third of the lease. A lease with less than half of its time left is
//! therefore rare, and usually a dead worker's. Scans come often enough to see each such lease
//! before it ends.
//!
//! Without a backlog the due rows are those in flight, so a scan costs one short statement. With a
//! backlog it goes in small steps that take a bounded share of the time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::context::Worker;
use crate::periodic::{self, Periodic, Throttle};
use crate::store;
use crate::store::claims::DuePosition;
use crate::store::lease_scan::LeaseScan;

/// Rows that one step of a scan visits.
const STEP: usize = 2000;
/// Shortest pause between two steps.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Most leases remembered: far more than dead workers of one installation hold.
const MOST_REMEMBERED: usize = 10_000;

/// The expiring leases that this process knows. The scan fills it, the claim loop reads it.
#[derive(Debug, Default)]
pub struct ExpiringLeases(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When each lease ends, by our monotonic clock.
    ends: HashMap<Uuid, Instant>,
    /// No due row is older, as far as the claim loop knows.
    oldest_due: Option<OffsetDateTime>,
}

impl ExpiringLeases {
    /// Rows whose lease has ended, the earliest first.
    pub fn ended(&self, now: Instant, most: usize) -> Vec<Uuid> {
        let mut ended: Vec<(Instant, Uuid)> = {
            let known = self.lock();
            let ends = known.ends.iter().filter(|(_, at)| **at <= now);
            ends.map(|(id, at)| (*at, *id)).collect()
        };
        ended.sort_unstable();
        ended.truncate(most);
        ended.into_iter().map(|(_, id)| id).collect()
    }

    /// How long until the next lease ends.
    pub fn next_end_in(&self, now: Instant) -> Option<Duration> {
        let known = self.lock();
        known.ends.values().filter(|at| **at > now).min().map(|at| *at - now)
    }

    /// These rows are claimed. Rows that were not free any more stay until the next scan ends.
    pub fn claimed(&self, claimed: &[Uuid]) {
        let mut known = self.lock();
        for id in claimed {
            known.ends.remove(id);
        }
    }

    /// The next scan begins here.
    pub fn begin_at(&self, oldest_due: Option<OffsetDateTime>) {
        self.lock().oldest_due = oldest_due;
    }

    fn start(&self) -> DuePosition {
        let oldest_due = self.lock().oldest_due;
        DuePosition { due_at: oldest_due.unwrap_or(OffsetDateTime::UNIX_EPOCH), id: Uuid::nil() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One scan from the oldest due row to the newest, in steps.
#[derive(Debug, Default)]
struct Scan {
    /// Where the next step begins; `None`: at the oldest due row.
    position: Option<DuePosition>,
    seen: HashMap<Uuid, Instant>,
}

impl Scan {
    /// Takes what a step found. `true`: the scan is complete, and what it did not see is forgotten.
    fn advance(&mut self, step: LeaseScan, known: &ExpiringLeases, now: Instant) -> bool {
        let mut known = known.lock();
        for lease in step.expiring {
            if self.seen.len() < MOST_REMEMBERED {
                self.seen.insert(lease.id, now + lease.ends_in);
                known.ends.insert(lease.id, now + lease.ends_in);
            }
        }
        self.position = step.next;
        let is_complete = self.position.is_none();
        if is_complete {
            known.ends = std::mem::take(&mut self.seen);
        }
        is_complete
    }
}

/// Scans in steps, again and again.
struct Scanner<'a> {
    worker: &'a Worker,
    known: &'a ExpiringLeases,
    scan: Scan,
}

impl Worker {
    /// Runs until dropped.
    pub(super) async fn find_expiring_leases(&self, known: &ExpiringLeases) {
        let scanner = Scanner { worker: self, known, scan: Scan::default() };
        periodic::repeat(&self.ids, scanner).await;
    }
}

impl Periodic for Scanner<'_> {
    async fn round(&mut self) -> Duration {
        // Half of a lease passes between the first sight of an expiring lease and its end: time for
        // a pause and a scan.
        let every = self.worker.settings.lease / 4;
        let began = Instant::now();
        let is_complete = self.step().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot scan for expiring leases");
            self.scan = Scan::default();
            true
        });
        let shortest = if is_complete { every } else { SHORTEST_PAUSE };
        Throttle { shortest, longest: every }.pause(began.elapsed())
    }
}

impl Scanner<'_> {
    /// `true`: the scan is complete.
    async fn step(&mut self) -> store::Result<bool> {
        let from = self.scan.position.unwrap_or_else(|| self.known.start());
        let (store, within) = (&self.worker.store, self.worker.settings.lease / 2);
        let step = store.scan_expiring_leases(from, within, STEP).await?;
        Ok(self.scan.advance(step, self.known, Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lease_scan::ExpiringLease;

    fn step(expiring: &[(u128, u64)], next: Option<DuePosition>) -> LeaseScan {
        let expiring = expiring.iter().map(|(id, seconds)| ExpiringLease {
            id: Uuid::from_u128(*id),
            ends_in: Duration::from_secs(*seconds),
        });
        LeaseScan { expiring: expiring.collect(), next }
    }

    fn ids(ids: &[u128]) -> Vec<Uuid> {
        ids.iter().copied().map(Uuid::from_u128).collect()
    }

    const MORE: Option<DuePosition> =
        Some(DuePosition { due_at: OffsetDateTime::UNIX_EPOCH, id: Uuid::nil() });

    #[test]
    fn rows_whose_lease_ended_are_proposed_earliest_first() {
        let (known, now) = (ExpiringLeases::default(), Instant::now());
        let mut scan = Scan::default();
        assert!(scan.advance(step(&[(1, 2), (2, 0), (3, 1), (4, 9)], None), &known, now));
        assert_eq!(known.ended(now, 10), ids(&[2]));
        assert_eq!(known.next_end_in(now), Some(Duration::from_secs(1)));
        let later = now + Duration::from_secs(2);
        assert_eq!(known.ended(later, 10), ids(&[2, 3, 1]));
        assert_eq!(known.ended(later, 2), ids(&[2, 3]));
        known.claimed(&ids(&[2, 3]));
        assert_eq!(known.ended(later, 10), ids(&[1]));
    }

    #[test]
    fn complete_scan_forgets_leases_it_did_not_see_again() {
        let (known, now) = (ExpiringLeases::default(), Instant::now());
        let mut scan = Scan::default();
        assert!(!scan.advance(step(&[(1, 0)], MORE), &known, now));
        // Known at once, and not forgotten by the end of the same scan.
        assert_eq!(known.ended(now, 10), ids(&[1]));
        assert!(scan.advance(step(&[(2, 0)], None), &known, now));
        assert_eq!(known.ended(now, 10).len(), 2);
        assert!(scan.advance(step(&[(2, 1)], None), &known, now));
        // Renewed meanwhile: not ended yet.
        assert_eq!(known.ended(now, 10), ids(&[]));
        assert_eq!(known.ended(now + Duration::from_secs(1), 10), ids(&[2]));
    }
}
