//! Backtests asked for by the API: leased work that goes on where it stopped.

use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::history::{Backtest, Pace, Range};
use crate::policy::Policy;
use crate::policy::compare::Comparison;
use crate::store::history::{Backtest as Row, NOTE_EVERY};
use crate::store::tasks::Task;

/// One turn takes about this long; then it is noted how far it has come, and the next turn is
/// taken: other work gets its hands in between.
const TURN: Duration = NOTE_EVERY;

impl Worker {
    /// Goes on with a backtest until it is done.
    pub(super) async fn go_on_with_backtest(&self, task: &Task) -> anyhow::Result<()> {
        let Some(mut run) = self.store.backtest(task.id).await? else {
            anyhow::bail!("a backtest without its row");
        };
        let text = self.store.policy_text(&run.digest).await?;
        let Some(candidate) = text.and_then(|text| Policy::load_stored(&text.body)) else {
            tracing::error!(backtest = %run.id, "the policy cannot be compiled by this version");
            let (at, so_far) = ((run.after, seen(&run)), run.comparison.0);
            let now = self.clock.now();
            self.store.backtest_went_on(task, "failed", at, &so_far, now).await?;
            return Ok(());
        };
        loop {
            let comparison: Comparison = serde_json::from_value(run.comparison.0.clone())?;
            let range = Range { since: run.since, until: None, biz_type: run.biz_type.clone() };
            let started = Instant::now();
            let mut backtest = Backtest::new(&self.store, &candidate, range, Pace::Polite).resume(
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
            if !self.store.backtest_went_on(task, state, at, &comparison, now).await? {
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

fn seen(run: &Row) -> u64 {
    u64::try_from(run.looked_at).unwrap_or(0)
}
