//! Runs all loops of the worker until it is stopped, then drains and releases its work.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claim_backtests::ClaimBacktests;
use super::claim_loop::claim_until_stopped;
use super::claim_tasks::ClaimTasks;
use super::claim_verifications::ClaimVerifications;
use super::context::Worker;
use super::dead_workers::ExpiringLeases;
use super::deliveries::ClaimEndpoints;
use super::leases::Leases;

impl Worker {
    /// Works until stopped. Then calls under way may finish, and remaining leases are released.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let leases = Leases::new(worker.store.clone(), worker.settings.lease);
        let expiring = ExpiringLeases::default();
        let tracker = TaskTracker::new();
        let fetches = ClaimVerifications::new(&worker, &leases, &expiring, &tracker);
        let tasks = ClaimTasks::new(&worker, &leases, &tracker);
        let backtests = ClaimBacktests::new(&worker, &leases, &tracker, &stop);
        let endpoints = ClaimEndpoints::new(&worker, &leases, &tracker, &stop);
        tokio::select! {
            // None of these ends before the first does, and a fixed order can be replayed.
            biased;
            () = async {
                tokio::join!(
                    claim_until_stopped(&worker, fetches, &stop),
                    claim_until_stopped(&worker, tasks, &stop),
                    claim_until_stopped(&worker, backtests, &stop),
                    claim_until_stopped(&worker, endpoints, &stop),
                );
            } => {}
            () = leases.keep_renewing(&worker.ids) => {}
            () = worker.find_expiring_leases(&expiring) => {}
            () = worker.keep_up(&leases) => {}
            () = worker.watch() => {}
            () = worker.number_events() => {}
            () = worker.delete_copies() => {}
            () = worker.commit_verdicts() => {}
            () = worker.send_heads() => {}
            () = worker.policies.follow(&worker.store, &worker.ids) => {}
        }
        tracker.close();
        tokio::select! {
            biased;
            () = tracker.wait() => {}
            () = leases.keep_renewing(&worker.ids) => {}
            () = tokio::time::sleep(worker.settings.drain) => {
                tracing::warn!(calls = tracker.len(), "calls cut after the drain time");
            }
        }
        leases.release_all().await;
    }
}
