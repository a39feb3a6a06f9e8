//! Numbers the events of what was committed: soon after each change, in whatever process is first.

use std::time::Duration;

use tokio::sync::watch;

use super::context::Worker;
use crate::periodic::{self, Periodic};
use crate::store;

/// Events of one statement.
const BATCH: i32 = 2_000;
/// Between two steps: what commits meanwhile shares one of them.
const PAUSE: Duration = Duration::from_millis(20);
/// For changes that send no signal (a policy was activated), or of a process that cannot.
const POLL: Duration = Duration::from_millis(500);

/// Numbers events in rounds.
struct NumberEvents<'a> {
    worker: &'a Worker,
    settled: watch::Receiver<u64>,
}

impl Worker {
    /// Runs until dropped. Any number of workers may do it at once: the database lets one of them.
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
