//! Backtests that were started over the API: leased work that continues where it stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Worker;
use crate::policies::past::{Backtest, Pace, Range};
use crate::store::backtests::{Backtest as Row, NOTE_EVERY};
use crate::store::tasks::Task;
use policy::compare::Comparison;

/// After this time a run stores how far it has come.
const TURN: Duration = NOTE_EVERY;
/// Failures in a row after which a backtest fails for good: no other begins before it has ended.
const MOST_FAILURES: i32 = 20;

impl Worker {
    /// Ends a backtest that fails again and again; `false`: it is retried.
    pub(super) async fn ended_failing_backtest(&self, task: &Task) -> bool {
        if task.failures < MOST_FAILURES {
            return false;
        }
        tracing::error!(backtest = %task.id, "backtest failed: too many attempts");
        self.store.backtests().backtest_failed(task, self.clock.now()).await.is_ok_and(|held| held)
    }

    /// Continues a backtest until it is done.
    pub(super) async fn continue_backtest(&self, task: &Task) -> anyhow::Result<()> {
        let Some(mut run) = self.store.backtests().backtest(task.id).await? else {
            anyhow::bail!("a backtest without its row");
        };
        if is_cancelled(&run) {
            return Ok(());
        }
        let candidate = self.policies.cache().get(&self.store, &run.digest).await?;
        let Some(candidate) = candidate else {
            tracing::error!(backtest = %run.id, "the policy cannot be compiled by this version");
            self.store.backtests().backtest_failed(task, self.clock.now()).await?;
            return Ok(());
        };
        loop {
            let comparison: Comparison = serde_json::from_value(run.comparison.0.clone())?;
            let range = Range::of_backtest(&run);
            let started = Instant::now();
            let candidate = Arc::clone(&candidate);
            let mut backtest = Backtest::new(&self.store, candidate, range, Pace::Polite).resume(
                run.after,
                seen(&run),
                comparison,
            );
            let mut over = true;
            backtest
                .run(|_, _| {
                    over = started.elapsed() < TURN;
                    over
                })
                .await?;
            let state = if over { "done" } else { "running" };
            let comparison = serde_json::to_value(&backtest.comparison)?;
            let (at, now) = ((backtest.after, backtest.looked_at), self.clock.now());
            if !self.store.backtests().backtest_went_on(task, state, at, &comparison, now).await? {
                let now = self.store.backtests().backtest(task.id).await?;
                if now.is_some_and(|run| is_cancelled(&run)) {
                    tracing::info!(backtest = %run.id, "backtest cancelled");
                    return Ok(());
                }
                anyhow::bail!("the lease of a backtest was lost");
            }
            if over {
                let decisions = backtest.comparison.decisions;
                tracing::info!(backtest = %run.id, decisions, "backtest done");
                return Ok(());
            }
            (run.after, run.comparison.0) = (at.0, comparison);
            run.looked_at = i64::try_from(at.1)?;
        }
    }
}

fn is_cancelled(run: &Row) -> bool {
    run.state == "cancelled"
}

fn seen(run: &Row) -> u64 {
    u64::try_from(run.looked_at).unwrap_or(0)
}
