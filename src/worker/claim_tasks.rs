//! Claims due follow-up tasks, nearest deadline first.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::claim_loop::{ClaimWork, Rest};
use super::context::Worker;
use super::leases::Leases;
use crate::store::{self, tasks};

pub struct ClaimTasks<'a> {
    worker: &'a Arc<Worker>,
    leases: &'a Leases,
    tracker: &'a TaskTracker,
}

impl<'a> ClaimTasks<'a> {
    pub fn new(worker: &'a Arc<Worker>, leases: &'a Leases, tracker: &'a TaskTracker) -> Self {
        Self { worker, leases, tracker }
    }
}

impl ClaimWork for ClaimTasks<'_> {
    fn slots(&self) -> usize {
        self.worker.images.concurrency
    }

    async fn claim(&mut self, mut permits: OwnedSemaphorePermit) -> store::Result<Rest> {
        let worker = self.worker;
        let claimed_at = Instant::now();
        let token = worker.ids.next(worker.clock.now());
        let free = permits.num_permits();
        let (lease, takes) = (self.leases.length(), worker.images.takes());
        let claim = worker.store.tasks().claim_tasks(free, lease, takes, token).await?;
        let is_all_taken = claim.tasks.len() >= free;
        for task in claim.tasks {
            let lease = self.leases.hold(&tasks::LEASED, task.lease(), claimed_at);
            let (worker, permit) = (Arc::clone(worker), permits.split(1));
            self.tracker.spawn(async move {
                worker.work_on(&task, &lease).await;
                drop((lease, permit));
            });
        }
        let poll = worker.jittered_poll();
        Ok(if is_all_taken {
            Rest::None
        } else {
            Rest::UntilWoken(claim.next_due.map_or(poll, |next_due| next_due.min(poll)))
        })
    }

    fn log_failure(&self, error: &store::Error) {
        tracing::warn!(%error, cause = error.cause().code(), "cannot claim tasks");
    }

    async fn woken(&self) {
        self.worker.signals.task().await;
    }
}
