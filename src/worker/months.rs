//! The partitions of results and decisions: makes the months to come, and drops those whose time of
//! retention is over.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::store;
use crate::store::months::{DropOutcome, MonthlyTable, OldMonth};

/// Interval between two rounds.
const EVERY: Duration = Duration::from_hours(1);

/// The times of the previous rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MonthRounds {
    made: Option<Instant>,
    dropped: Option<Instant>,
}

impl Worker {
    pub(super) async fn make_months(&self, rounds: &mut MonthRounds) -> store::Result<()> {
        if rounds.made.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        let made = self.store.months().make_ahead().await?;
        rounds.made = Some(Instant::now());
        if made > 0 {
            tracing::info!(made, "partitions made for the months to come");
        }
        Ok(())
    }

    /// Decisions first: they refer to results.
    pub(super) async fn drop_old_months(&self, rounds: &mut MonthRounds) -> store::Result<()> {
        if rounds.dropped.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        // A round that fails is not repeated at once: while it waits for a lock, others wait, too.
        rounds.dropped = Some(Instant::now());
        let clocks = [
            (MonthlyTable::Decisions, self.settings.keep_decisions),
            (MonthlyTable::Results, self.settings.keep_results),
        ];
        let mut outcome = Ok(());
        for (table, keep) in clocks {
            let Some(keep) = keep else { continue };
            let days = i32::try_from(keep.as_secs() / 86_400).unwrap_or(i32::MAX);
            for month in self.store.months().older_than(table, days).await? {
                // One that fails does not hold up the next.
                outcome = outcome.and(self.drop_month(&month, days).await);
            }
        }
        outcome
    }

    async fn drop_month(&self, month: &OldMonth, days: i32) -> store::Result<()> {
        let partition = month.name.as_str();
        match self.store.months().drop_old(month, days).await? {
            DropOutcome::Dropped(deleted) => {
                tracing::info!(partition, deleted, "retention: month dropped");
            }
            DropOutcome::Needed => {
                tracing::info!(partition, "retention: month kept, because something needs it");
            }
            DropOutcome::Gone => {}
        }
        Ok(())
    }
}
