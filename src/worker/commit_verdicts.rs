//! Commits the verdicts of reviewers when they can no longer be undone, in whichever process is
//! first, and counts the assignments that triggers have ended.
//!
//! Nobody is told of a new verdict: its commit time is some seconds away, and a poll finds it before.

use std::time::Duration;

use super::context::Worker;
use crate::domain::case::Ended;
use crate::domain::ids::AssignmentId;
use crate::periodic::{self, Periodic};
use crate::store;
use crate::store::verdicts::{Commit, Committed};

/// Between two looks for new verdicts.
const POLL: Duration = Duration::from_secs(1);
/// While a verdict waits for its time, or could not be committed.
const SOON: Duration = Duration::from_millis(250);
/// After the database has refused one for its data.
const REFUSED: Duration = Duration::from_secs(10);

struct CommitVerdicts<'a>(&'a Worker);

impl Worker {
    /// Runs until dropped. Any number of workers may run it: each verdict is committed once.
    pub(super) async fn commit_verdicts(&self) {
        periodic::repeat(&self.ids, CommitVerdicts(self)).await;
    }

    /// Commits everything that is due. One that the database refuses does not stop the others.
    /// Answers whether all were taken.
    async fn commit_due(&self) -> store::Result<bool> {
        let mut refused: Vec<AssignmentId> = Vec::new();
        loop {
            let now = self.clock.now();
            let assignments = self.store.assignments();
            let four_eyes = self.settings.four_eyes;
            let commit =
                assignments.commit_verdict(four_eyes, self.ids.next(now), now, &refused).await;
            match commit {
                Ok(Commit::Done(committed)) => self.report_verdict(&committed),
                Ok(Commit::Gone) => {}
                Ok(Commit::Nothing) => return Ok(refused.is_empty()),
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => {
                    let Some(due) = assignments.first_due(&refused).await? else {
                        return Err(error);
                    };
                    tracing::error!(%error, cause = error.cause().code(), assignment = %due,
                        "verdict could not be committed; retried");
                    refused.push(due);
                }
            }
        }
    }

    fn report_verdict(&self, committed: &Committed) {
        let Committed { verification, user, outcome, ended, .. } = committed;
        if *ended == Ended::Decided {
            self.signals.something_settled();
            metrics::counter!("verdict_decisions_total", "outcome" => outcome.as_str())
                .increment(1);
        }
        tracing::info!(%verification, %user, outcome = outcome.as_str(), ended = ended.as_str(),
            "verdict committed");
    }
}

impl Periodic for CommitVerdicts<'_> {
    async fn round(&mut self) -> Duration {
        let worker = self.0;
        match worker.commit_due().await {
            Ok(true) => {}
            Ok(false) => return REFUSED,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().code(), "verdicts not committed yet");
                return SOON;
            }
        }
        if let Err(error) = worker.store.assignments().count_ended_by_triggers().await {
            tracing::warn!(%error, cause = error.cause().code(), "ended assignments not counted yet");
        }
        match worker.store.assignments().next_commit().await {
            Ok(Some(left)) => left.clamp(Duration::from_millis(10), SOON),
            Ok(None) => POLL,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().code(), "verdicts not committed yet");
                POLL
            }
        }
    }
}
