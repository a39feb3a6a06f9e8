//! The loop that claims leased work of one kind: waits for free slots, claims, pauses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::context::Worker;
use crate::store;

/// Leased work of one kind.
pub trait ClaimWork {
    /// How much of it this process does at once.
    fn slots(&self) -> usize;

    /// How many slots have to be free before more is claimed: a quarter, so that claims stay batches
    /// under load.
    fn least_free(&self) -> usize {
        self.slots().div_ceil(4)
    }

    /// Claims at most as much as there are permits, and starts it. Work holds a permit until it is
    /// done.
    async fn claim(&mut self, permits: OwnedSemaphorePermit) -> store::Result<Rest>;

    fn log_failure(&self, error: &store::Error);

    /// Returns when new work is reported as due.
    async fn woken(&self);
}

/// The pause between two claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// More is due than there were slots for.
    None,
    /// Claiming earlier is no use: budget or breaker are the limit.
    For(Duration),
    /// New work may fall due earlier.
    UntilWoken(Duration),
}

/// Runs until stopped.
pub async fn claim_until_stopped(
    worker: &Worker,
    mut work: impl ClaimWork,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(work.slots()));
    let mut mistakes = MistakesInARow::default();
    while let Some(permits) = free_slots(&slots, work.least_free(), stop).await {
        let rest = match work.claim(permits).await {
            Ok(rest) => {
                mistakes = MistakesInARow::default();
                rest
            }
            Err(error) => {
                work.log_failure(&error);
                Rest::For(mistakes.rest_after(&error, worker.jittered_poll()))
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = rest_or_wake(rest, &work) => {}
        }
    }
}

async fn rest_or_wake(rest: Rest, work: &impl ClaimWork) {
    match rest {
        Rest::None => {}
        Rest::For(time) => tokio::time::sleep(time).await,
        Rest::UntilWoken(at_most) => {
            let _ = tokio::time::timeout(at_most, work.woken()).await;
        }
    }
}

/// All free slots, once there are so many. `None` when stopped.
async fn free_slots(
    slots: &Arc<Semaphore>,
    least: usize,
    stop: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    let least = u32::try_from(least).unwrap_or(1);
    let mut permits = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        permits = Arc::clone(slots).acquire_many_owned(least) => permits.ok()?,
    };
    while let Ok(more) = Arc::clone(slots).try_acquire_owned() {
        permits.merge(more);
    }
    Some(permits)
}

/// How often in a row a claim failed by a mistake in its statement, which will fail again; not by an
/// outage.
#[derive(Debug, Default)]
struct MistakesInARow(i32);

/// Longest rest after a mistake.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Longest rest after an outage: once the database is back, the work of a killed worker waits for
/// this rest too.
const OUTAGE_REST: Duration = Duration::from_millis(250);

impl MistakesInARow {
    /// How long to rest after this error: at least the usual time if it will happen again.
    fn rest_after(&mut self, error: &store::Error, usual: Duration) -> Duration {
        if error.is_passing() {
            self.0 = 0;
            return usual.min(OUTAGE_REST);
        }
        self.0 = self.0.saturating_add(1);
        Backoff::new(usual, LONGEST_REST.max(usual)).ceiling(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_slow_a_loop_down_and_outages_do_not() {
        const USUAL: Duration = Duration::from_secs(1);
        let mistake = store::Error::Inconsistent("x");
        let outage = store::Error::Busy("x");
        let mut mistakes = MistakesInARow::default();
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            let rest = mistakes.rest_after(&mistake, USUAL);
            assert!(rest > last || rest == LONGEST_REST);
            last = rest;
        }
        assert_eq!(last, LONGEST_REST);
        assert_eq!(mistakes.rest_after(&outage, USUAL), OUTAGE_REST);
    }
}
