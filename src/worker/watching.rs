//! Watching what must never be, and how much of the budget is spent, for the metrics.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use super::throttle::Throttle;
use crate::store;
use crate::store::accounts::Breaker;
use crate::store::looks::Invariant;

/// Between two rounds; the shortest time is up to doubled by jitter.
const EVERY: Throttle = Throttle { shortest: Duration::from_secs(10), longest: Duration::MAX };

/// What was seen in the round before.
type Seen = HashMap<&'static str, i64>;

impl Worker {
    /// For ever.
    pub(super) async fn watch(&self) {
        metrics::gauge!("verdict_budget_queries_per_second").set(self.settings.queries_per_second);
        let mut seen = Seen::new();
        loop {
            let began = Instant::now();
            for invariant in Invariant::ALL {
                if let Err(error) = self.watch_one(invariant, &mut seen).await {
                    let look = invariant.as_str();
                    metrics::counter!("verdict_metrics_queries_failed_total", "query" => look)
                        .increment(1);
                    tracing::warn!(%error, cause = error.cause().code(), query = look, "metrics query failed");
                }
            }
            let shortest = self.up_to_doubled(EVERY.shortest);
            tokio::time::sleep(Throttle { shortest, ..EVERY }.rest(began.elapsed())).await;
        }
    }

    async fn watch_one(&self, invariant: Invariant, seen: &mut Seen) -> store::Result<()> {
        let name = invariant.as_str();
        let may_wait = invariant == Invariant::DueWithoutOwner && self.calls_must_wait().await?;
        let count =
            if may_wait { 0 } else { self.store.metrics_queries().violations(invariant).await? };
        let before = seen.insert(name, count).unwrap_or(0);
        // A budget that is spent all the time has room for a moment now and then.
        let violated =
            if invariant == Invariant::DueWithoutOwner { count.min(before) } else { count };
        if violated > 0 && before == 0 || violated > before {
            tracing::error!(invariant = name, count = violated, "invariant violated");
        }
        metrics::gauge!("verdict_invariant_violations", "invariant" => name)
            .set(u32::try_from(violated).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Whether work that is due rightly waits: for budget, or for the breaker.
    async fn calls_must_wait(&self) -> store::Result<bool> {
        let ahead = self.store.metrics_queries().budget_ahead(&self.settings.account).await?;
        metrics::gauge!("verdict_budget_ahead_seconds").set(ahead);
        Ok(ahead > 0.0
            || self.store.accounts().breaker(&self.settings.account).await? != Breaker::Closed)
    }
}
