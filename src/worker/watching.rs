//! Checks the invariants and the use of the budget, for the metrics.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::periodic::{self, Periodic, Throttle};
use crate::store;
use crate::store::account_breaker::Breaker;
use crate::store::metrics_queries::Invariant;

/// Between two rounds.
const EVERY: Throttle = Throttle::unlimited(Duration::from_secs(15));

/// Checks the invariants in rounds.
struct Watch<'a> {
    worker: &'a Worker,
    /// Violations in the round before, by invariant.
    before: HashMap<&'static str, i64>,
}

impl Worker {
    /// Runs until dropped.
    pub(super) async fn watch(&self) {
        metrics::gauge!("verdict_budget_queries_per_second").set(self.settings.queries_per_second);
        periodic::repeat(&self.ids, Watch { worker: self, before: HashMap::new() }).await;
    }

    /// Whether due work waits for good reason: for budget, or for the breaker.
    async fn calls_must_wait(&self) -> store::Result<bool> {
        let ahead = self.store.metrics_queries().budget_ahead(&self.settings.account).await?;
        metrics::gauge!("verdict_budget_ahead_seconds").set(ahead);
        Ok(ahead > 0.0
            || self.store.accounts().breaker(&self.settings.account).await? != Breaker::Closed)
    }
}

impl Periodic for Watch<'_> {
    async fn round(&mut self) -> Duration {
        let began = Instant::now();
        for invariant in Invariant::ALL {
            if let Err(error) = self.check(invariant).await {
                let query = invariant.as_str();
                metrics::counter!("verdict_metrics_queries_failed_total", "query" => query)
                    .increment(1);
                tracing::warn!(%error, cause = error.cause().code(), query, "metrics query failed");
            }
        }
        EVERY.pause(began.elapsed())
    }
}

impl Watch<'_> {
    async fn check(&mut self, invariant: Invariant) -> store::Result<()> {
        let (worker, name) = (self.worker, invariant.as_str());
        let may_wait = invariant == Invariant::DueWithoutOwner && worker.calls_must_wait().await?;
        let count =
            if may_wait { 0 } else { worker.store.metrics_queries().violations(invariant).await? };
        let before = self.before.insert(name, count).unwrap_or(0);
        // A budget that is spent all the time still allows a call now and then.
        let violated =
            if invariant == Invariant::DueWithoutOwner { count.min(before) } else { count };
        if violated > 0 && before == 0 || violated > before {
            tracing::error!(invariant = name, count = violated, "invariant violated");
        }
        metrics::gauge!("verdict_invariant_violations", "invariant" => name)
            .set(u32::try_from(violated).unwrap_or(u32::MAX));
        Ok(())
    }
}
