//! Retention of events: drops whole weeks of the event log, but never an event that is still to be
//! delivered to an endpoint.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::store;

/// Interval between two rounds.
const EVERY: Duration = Duration::from_hours(1);

impl Worker {
    /// `last` is the time of the previous round.
    pub(super) async fn drop_old_events(&self, last: &mut Option<Instant>) -> store::Result<()> {
        let Some(keep) = self.settings.keep_events else { return Ok(()) };
        if last.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        let days = i32::try_from(keep.as_secs() / 86_400).unwrap_or(i32::MAX);
        self.store.events().drop_weeks(days).await?;
        *last = Some(Instant::now());
        Ok(())
    }
}
