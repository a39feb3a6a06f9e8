//! The partitions of results, decisions and the audit: makes those to come, and drops those whose time
//! of retention is over.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::audit_log::{self, Fault, Kept};
use crate::causes::Cause;
use crate::store;
use crate::store::months::{DropOutcome, MonthlyTable, OldMonth};

/// Interval between two rounds.
const EVERY: Duration = Duration::from_hours(1);

/// The times of the previous rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MonthRounds {
    made: Option<Instant>,
    dropped: Option<Instant>,
    turned: Option<Instant>,
    audit_dropped: Option<Instant>,
}

impl Worker {
    pub(super) async fn make_months(&self, rounds: &mut MonthRounds) -> store::Result<()> {
        if rounds.made.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        let outcome = self.store.months().make_ahead().await;
        // Without the right to it this fails until `config/roles.sql` is run: no need to tell more often.
        let error = outcome.as_ref().err();
        if error.is_none_or(|error| matches!(error.cause(), Cause::MissingRight)) {
            rounds.made = Some(Instant::now());
        }
        let made = outcome?;
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

    /// Closes the open segment of the audit once a month.
    pub(super) async fn turn_audit(&self, rounds: &mut MonthRounds) -> store::Result<()> {
        if rounds.turned.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        // A round that fails is not repeated at once: while it waits for a lock, others wait, too.
        rounds.turned = Some(Instant::now());
        if self.store.audit_cuts().turn().await? {
            tracing::info!("audit segment opened");
        }
        Ok(())
    }

    /// Drops the segments of the audit whose time of retention is over, the oldest first.
    pub(super) async fn drop_old_audit(&self, rounds: &mut MonthRounds) -> store::Result<()> {
        let Some(keep) = self.settings.keep_audit else { return Ok(()) };
        if rounds.audit_dropped.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        rounds.audit_dropped = Some(Instant::now());
        let days = i32::try_from(keep.as_secs() / 86_400).unwrap_or(i32::MAX);
        self.drop_segments(days).await?;
        match audit_log::drop_checkpoints(&self.store, &self.audit_seal).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "retention: audit checkpoints deleted"),
            Err(Fault::Store(error)) => return Err(error),
            Err(fault) => report_broken(&fault),
        }
        Ok(())
    }

    async fn drop_segments(&self, days: i32) -> store::Result<()> {
        loop {
            let now = self.clock.now();
            match audit_log::drop_oldest(&self.store, &self.audit_seal, days, now).await {
                Ok(Kept::Not { rows: deleted, last: position }) => {
                    tracing::info!(position, deleted, "retention: audit segment dropped");
                }
                Ok(Kept::Needed(position)) => {
                    tracing::info!(
                        position,
                        "retention: audit segment kept, because a person's data is kept"
                    );
                    return Ok(());
                }
                Ok(Kept::Young | Kept::Unsigned) => return Ok(()),
                Err(Fault::Store(error)) => return Err(error),
                Err(fault) => {
                    report_broken(&fault);
                    return Ok(());
                }
            }
        }
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

fn report_broken(fault: &Fault) {
    tracing::error!(
        error = %fault,
        "retention: nothing of the audit is dropped, because it is broken"
    );
}
