//! The loop of follow-up work: takes due tasks under leases, nearest deadline first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::archiving::Written;
use super::leases::Leases;
use super::{Mistakes, Worker, archiving, free_slots};
use crate::causes::Cause;
use crate::domain::ids::ResultId;
use crate::images::Archive;
use crate::images::archive::ArchiveError;
use crate::store::tasks::{Task, Work};
use crate::traces;

/// After a task failed as a whole: at most, and at first.
const BACKOFF: (Duration, Duration) = (Duration::from_mins(1), Duration::from_millis(250));

impl Worker {
    pub(super) async fn work_on_tasks_until_stopped(
        self: &Arc<Self>,
        leases: &Leases,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let hands = self.images.concurrency;
        let slots = Arc::new(Semaphore::new(hands));
        let mut mistakes = Mistakes::default();
        while let Some(mut permits) = free_slots(&slots, hands, stop).await {
            let asked_at = Instant::now();
            let token = self.ids.next(self.clock.now());
            let free = permits.num_permits();
            let (lease, takes) = (self.settings.lease, self.images.takes());
            let rest = match self.store.claim_tasks(free, lease, takes, token).await {
                Ok(claim) => {
                    mistakes = Mistakes::default();
                    let all = claim.tasks.len() >= free;
                    for task in claim.tasks {
                        let lease = leases.hold(task.id, task.lease_token, asked_at);
                        let (worker, permit) = (Arc::clone(self), permits.split(1));
                        tasks.spawn(async move {
                            worker.work_on(&task, &lease.lost).await;
                            drop((lease, permit));
                        });
                    }
                    let next = if all { Some(Duration::ZERO) } else { claim.next_due };
                    let poll = self.jittered_poll();
                    next.map_or(poll, |next| next.min(poll))
                }
                Err(error) => {
                    tracing::warn!(%error, cause = error.cause().code(), "cannot claim tasks");
                    mistakes.pause(&error, self.jittered_poll())
                }
            };
            drop(permits);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
                () = self.signals.task() => {}
            }
        }
    }

    /// Does it, unless its lease is lost on the way.
    pub(super) async fn work_on(&self, task: &Task, lost: &CancellationToken) {
        // Outlives the work that is dropped.
        let written = Written::default();
        let done = async {
            match &task.work {
                Work::Archive { .. } => {
                    let span = traces::images(task.trace, task.verification);
                    archiving::archive(self, task, &written).instrument(span).await
                }
                Work::DeleteImages => self.delete_images(task).await,
                Work::RetireImages(result) => self.retire_images(task, *result).await,
                Work::Backtest => self.go_on_with_backtest(task).await,
            }
        };
        let outcome = tokio::select! {
            biased;
            () = lost.cancelled() => {
                tracing::warn!(verification = %task.verification, "task lease lost: dropped");
                if let Err(error) = archiving::clean_up(self, task, &written).await {
                    tracing::warn!(%error, verification = %task.verification, "cleanup failed");
                }
                return;
            }
            outcome = done => outcome,
        };
        if let Err(error) = outcome {
            let wait = backoff(task.failures, self.ids.fraction());
            tracing::warn!(
                error = %error, cause = cause_of(&error), verification = %task.verification,
                again_in_ms = millis(wait),
                "task failed; rescheduled"
            );
            count_failure(&task.work);
            if matches!(task.work, Work::Backtest) && self.gave_up_backtest(task).await {
                return;
            }
            // Where even that fails the lease runs out, and it is tried again.
            if let Err(error) = self.store.put_task_off(task, wait, self.clock.now()).await {
                tracing::warn!(%error, cause = error.cause().code(), verification = %task.verification, "could not reschedule the task");
            }
        }
    }

    async fn delete_images(&self, task: &Task) -> anyhow::Result<()> {
        let objects = self.archive_of_deletions()?.delete_all(task.verification).await?;
        let (late, at) = (crate::images::archive::TIMEOUT, self.clock.now());
        let swept = self.store.images_deleted(task, objects, late, at).await?;
        tracing::info!(verification = %task.verification, objects, second_pass = ?swept, "images deleted");
        Ok(())
    }

    async fn retire_images(&self, task: &Task, result: ResultId) -> anyhow::Result<()> {
        let kept = self.store.kinds_of(result).await?;
        let archive = self.archive_of_deletions()?;
        let objects = archive.delete_but(task.verification, result, &kept).await?;
        if self.store.images_retired(task, objects, self.clock.now()).await? {
            tracing::info!(verification = %task.verification, objects, "retention: images deleted");
        }
        Ok(())
    }

    fn archive_of_deletions(&self) -> anyhow::Result<&Archive> {
        self.images.archive.as_ref().ok_or_else(|| {
            anyhow::anyhow!("images are to be deleted and no images.store is configured")
        })
    }
}

/// Why, where the database or the object store is the reason.
fn cause_of(error: &anyhow::Error) -> Option<&'static str> {
    let of_store = error.downcast_ref::<crate::store::Error>().map(crate::store::Error::cause);
    let of_archive = || error.downcast_ref::<ArchiveError>().map(ArchiveError::cause);
    of_store.or_else(of_archive).map(Cause::code)
}

/// A try that came to nothing for a reason of ours.
pub(super) fn count_failure(work: &Work) {
    metrics::counter!("verdict_task_failures_total", "kind" => work.kind()).increment(1);
}

/// Full jitter below a delay that doubles with every failure in a row.
pub(super) fn backoff(failures: i32, jitter: f64) -> Duration {
    let (most, first) = BACKOFF;
    let ceiling = (first * 2_u32.pow(failures.clamp(0, 16).unsigned_abs())).min(most);
    ceiling.mul_f64(jitter).max(first / 4)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
