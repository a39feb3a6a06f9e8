//! Runs all loops of the worker until it is stopped, then lets go of its work gracefully.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claim_loop::claim_until_stopped;
use super::claim_tasks::ClaimTasks;
use super::claim_verifications::ClaimVerifications;
use super::context::Worker;
use super::expiring_leases::ExpiringLeases;
use super::leases::{Held, Leases};

impl Worker {
    /// Works until stopped. Then calls under way may finish, and what is still leased is released.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let new_leases = |on| Leases::new(worker.store.clone(), on, worker.settings.lease);
        let (leases, on_tasks) = (new_leases(Held::Verifications), new_leases(Held::Tasks));
        let expiring = ExpiringLeases::default();
        let tracker = TaskTracker::new();
        let fetches = ClaimVerifications::new(&worker, &leases, &expiring, &tracker);
        let tasks = ClaimTasks::new(&worker, &on_tasks, &tracker);
        tokio::select! {
            () = async {
                tokio::join!(
                    claim_until_stopped(&worker, fetches, &stop),
                    claim_until_stopped(&worker, tasks, &stop),
                    worker.backtest_until_stopped(&on_tasks, &stop),
                );
            } => {}
            () = leases.keep_renewing() => {}
            () = on_tasks.keep_renewing() => {}
            () = worker.find_expiring_leases(&expiring) => {}
            () = worker.keep_up() => {}
            () = worker.watch() => {}
            () = worker.policies.follow(&worker.store, &worker.ids) => {}
        }
        tracker.close();
        tokio::select! {
            () = tracker.wait() => {}
            () = leases.keep_renewing() => {}
            () = on_tasks.keep_renewing() => {}
            () = tokio::time::sleep(worker.settings.drain) => {
                tracing::warn!(calls = tracker.len(), "calls cut after the drain time");
            }
        }
        leases.release_all().await;
        on_tasks.release_all().await;
    }
}
