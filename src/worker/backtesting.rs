//! Backtests asked for by the API: leased work that goes on where it stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Worker;
use super::leases::Leases;
use crate::periodic::jittered;
use crate::policies::past::{Backtest, Pace, Range};
use crate::store::backtests::{Backtest as Row, NOTE_EVERY};
use crate::store::tasks::Task;
use policy::compare::Comparison;

/// One turn takes about this long; then it is noted how far it has come.
const TURN: Duration = NOTE_EVERY;
/// Between two polls for a backtest: one row by its key.
const POLL: Duration = Duration::from_secs(2);
/// A backtest that failed so often in a row is given up: as long as it is there no other begins.
const MOST_FAILURES: i32 = 20;

impl Worker {
    /// Runs backtests, one at a time in the whole installation and beside all other work: whatever
    /// they take, images and decisions do not wait for them. At a stop the backtest under way is
    /// given back, and goes on elsewhere from where it was last noted.
    pub(super) async fn backtest_until_stopped(&self, leases: &Leases, stop: &CancellationToken) {
        loop {
            let (asked_at, token) = (Instant::now(), self.ids.next(self.clock.now()));
            let claimed = self.store.backtests().claim_backtest(self.settings.lease, token).await;
            let claimed = claimed.unwrap_or_else(|error| {
                tracing::warn!(%error, cause = error.cause().code(), "cannot claim a backtest");
                None
            });
            let Some(task) = claimed else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(jittered(&self.ids, POLL)) => {}
                    () = self.signals.backtest() => {}
                }
                continue;
            };
            let lease = leases.hold(task.id, task.lease_token, asked_at);
            tokio::select! {
                () = self.work_on(&task, &lease.lost) => {}
                () = stop.cancelled() => {
                    let held = [(task.id, task.lease_token)];
                    if let Err(error) = self.store.tasks().release_tasks(&held).await {
                        tracing::debug!(%error, "backtest lease not released: it expires");
                    }
                    return;
                }
            }
        }
    }

    /// Gives up a backtest that fails again and again; `false`: it is tried once more.
    pub(super) async fn gave_up_backtest(&self, task: &Task) -> bool {
        if task.failures < MOST_FAILURES {
            return false;
        }
        tracing::error!(backtest = %task.id, "backtest failed: too many attempts");
        self.store.backtests().backtest_failed(task, self.clock.now()).await.is_ok_and(|held| held)
    }

    /// Goes on with a backtest until it is done.
    pub(super) async fn go_on_with_backtest(&self, task: &Task) -> anyhow::Result<()> {
        let Some(mut run) = self.store.backtests().backtest(task.id).await? else {
            anyhow::bail!("a backtest without its row");
        };
        let candidate = self.policies.cache().get(&self.store, &run.digest).await?;
        let Some(candidate) = candidate else {
            tracing::error!(backtest = %run.id, "the policy cannot be compiled by this version");
            self.store.backtests().backtest_failed(task, self.clock.now()).await?;
            return Ok(());
        };
        loop {
            let comparison: Comparison = serde_json::from_value(run.comparison.0.clone())?;
            let range = Range { since: run.since, until: None, biz_type: run.biz_type.clone() };
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
