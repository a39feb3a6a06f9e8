//! Claims backtests: one at a time in the whole installation, apart from other tasks, so that images
//! never wait for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claim_loop::{ClaimWork, Rest};
use super::context::Worker;
use super::leases::Leases;
use crate::periodic::jittered;
use crate::store::{self, tasks};

/// Between two polls for a backtest: one row by its key.
const POLL: Duration = Duration::from_secs(2);

pub struct ClaimBacktests<'a> {
    worker: &'a Arc<Worker>,
    leases: &'a Leases,
    tracker: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl<'a> ClaimBacktests<'a> {
    pub fn new(
        worker: &'a Arc<Worker>,
        leases: &'a Leases,
        tracker: &'a TaskTracker,
        stop: &'a CancellationToken,
    ) -> Self {
        Self { worker, leases, tracker, stop }
    }
}

impl ClaimWork for ClaimBacktests<'_> {
    fn slots(&self) -> usize {
        1
    }

    async fn claim(&mut self, permits: OwnedSemaphorePermit) -> store::Result<Rest> {
        let worker = self.worker;
        let claimed_at = Instant::now();
        let token = worker.ids.next(worker.clock.now());
        let claimed = worker.store.backtests().claim_backtest(self.leases.length(), token).await?;
        let Some(task) = claimed else {
            return Ok(Rest::UntilWoken(jittered(&worker.ids, POLL)));
        };
        let lease = self.leases.hold(&tasks::LEASED, task.lease(), claimed_at);
        let (worker, stop) = (Arc::clone(worker), self.stop.clone());
        self.tracker.spawn(async move {
            tokio::select! {
                () = worker.work_on(&task, &lease) => drop(lease),
                // It takes longer than a stop may: it continues elsewhere from where it was last
                // noted.
                () = stop.cancelled() => lease.give_back().await,
            }
            drop(permits);
        });
        Ok(Rest::None)
    }

    fn log_failure(&self, error: &store::Error) {
        tracing::warn!(%error, cause = error.cause().code(), "cannot claim a backtest");
    }

    async fn woken(&self) {
        self.worker.signals.backtest().await;
    }
}
