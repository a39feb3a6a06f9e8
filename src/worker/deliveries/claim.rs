//! Claims webhook endpoints that have deliveries due.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deliver::deliver;
use crate::store::{self, webhook_deliveries};
use crate::worker::claim_loop::{ClaimWork, Rest};
use crate::worker::context::Worker;
use crate::worker::leases::Leases;

/// Maximum number of endpoints that one process delivers to at the same time.
const MOST_ENDPOINTS: usize = 64;

pub struct ClaimEndpoints<'a> {
    worker: &'a Arc<Worker>,
    leases: &'a Leases,
    tracker: &'a TaskTracker,
    stop: &'a CancellationToken,
    grew: Mutex<watch::Receiver<u64>>,
}

impl<'a> ClaimEndpoints<'a> {
    pub fn new(
        worker: &'a Arc<Worker>,
        leases: &'a Leases,
        tracker: &'a TaskTracker,
        stop: &'a CancellationToken,
    ) -> Self {
        let grew = Mutex::new(worker.signals.events());
        Self { worker, leases, tracker, stop, grew }
    }
}

impl ClaimWork for ClaimEndpoints<'_> {
    fn slots(&self) -> usize {
        MOST_ENDPOINTS
    }

    /// An endpoint that hangs occupies its slot for long, and other endpoints must not wait for it.
    fn least_free(&self) -> usize {
        1
    }

    async fn claim(&mut self, mut permits: OwnedSemaphorePermit) -> store::Result<Rest> {
        let worker = self.worker;
        self.grew.get_mut().mark_unchanged();
        let claimed_at = Instant::now();
        let token = worker.ids.next(worker.clock.now());
        let free = permits.num_permits();
        let length = self.leases.length();
        let claim = worker.store.webhook_deliveries().claim(free, length, token).await?;
        let is_all_taken = claim.endpoints.len() >= free;
        for endpoint in claim.endpoints {
            let lease = self.leases.hold(&webhook_deliveries::LEASED, endpoint.lease(), claimed_at);
            let (worker, permit) = (Arc::clone(worker), permits.split(1));
            let stop = self.stop.clone();
            self.tracker.spawn(async move {
                deliver(&worker, endpoint, &lease, &stop).await;
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
        tracing::warn!(%error, cause = error.cause().code(), "cannot claim webhook endpoints");
    }

    async fn woken(&self) {
        // An error means that the sender was dropped. Polling continues.
        if self.grew.lock().await.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
