//! Numbers committed events soon after each change, in the process that comes first.

use std::time::Duration;

use tokio::sync::watch;

use super::context::Worker;
use crate::periodic::{self, Periodic};
use crate::store;

/// Maximum number of events per statement.
const BATCH: i32 = 2_000;
/// Pause between two steps. The next step numbers everything that commits meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// Polling finds changes without a signal: the activation of a policy, or a change by a process
/// that cannot send one.
const POLL: Duration = Duration::from_millis(500);

/// Numbers events in rounds.
struct NumberEvents<'a> {
    worker: &'a Worker,
    settled: watch::Receiver<u64>,
}

impl Worker {
    /// Runs until dropped. Any number of workers may run it: the database admits one at a time.
    pub(super) async fn number_events(&self) {
        let settled = self.signals.settled();
        periodic::repeat(&self.ids, NumberEvents { worker: self, settled }).await;
    }

    async fn number_all(&self) -> store::Result<()> {
        loop {
            let given = self.store.events().number_step(BATCH).await?;
            if given > 0 {
                metrics::counter!("verdict_events_logged_total")
                    .increment(given.unsigned_abs().into());
                self.signals.events_logged();
            }
            if given < BATCH {
                return Ok(());
            }
        }
    }
}

impl Periodic for NumberEvents<'_> {
    async fn round(&mut self) -> Duration {
        self.settled.mark_unchanged();
        if let Err(error) = self.worker.number_all().await {
            tracing::warn!(%error, cause = error.cause().code(), "events not numbered yet");
        }
        tokio::time::sleep(PAUSE).await;
        POLL
    }

    async fn woken(&mut self) {
        if self.settled.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
