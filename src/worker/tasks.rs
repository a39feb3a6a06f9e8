//! Follow-up tasks: archiving and deleting images, backtests.

use tracing::Instrument;

use super::archive_images::{self, StartedWrites};
use super::backoff::millis;
use super::context::Worker;
use super::leases::Lease;
use super::task_retry::{count_failure, retry_delay};
use crate::causes::Cause;
use crate::domain::ids::ResultId;
use crate::images::Archive;
use crate::images::archive::{ArchiveError, Which};
use crate::store::tasks::{Task, Work};
use crate::traces;

impl Worker {
    /// Does one task, unless its lease is lost first.
    pub(super) async fn work_on(&self, task: &Task, lease: &Lease) {
        // Outlives the work, which is dropped when the lease is lost.
        let started = StartedWrites::default();
        let done = async {
            match &task.work {
                Work::Archive { .. } => {
                    let span = traces::images(task.trace, task.verification);
                    archive_images::archive(self, task, &started).instrument(span).await
                }
                Work::DeleteImages => self.delete_images(task).await,
                Work::RetireImages(result) => self.retire_images(task, *result).await,
                Work::Backtest => self.continue_backtest(task).await,
            }
        };
        let Some(outcome) = lease.while_held(done).await else {
            tracing::warn!(verification = %task.verification, "task lease lost: dropped");
            if let Err(error) = archive_images::clean_up(self, task, &started).await {
                tracing::warn!(%error, verification = %task.verification, "cleanup failed");
            }
            return;
        };
        if let Err(error) = outcome {
            let wait = retry_delay(task.failures, self.ids.fraction());
            tracing::warn!(
                error = %error, cause = cause_of(&error), verification = %task.verification,
                again_in_ms = millis(wait),
                "task failed; rescheduled"
            );
            count_failure(&task.work);
            if matches!(task.work, Work::Backtest) && self.ended_failing_backtest(task).await {
                return;
            }
            // If even this fails, the lease ends and another claim tries again.
            if let Err(error) =
                self.store.archiving().reschedule(task, wait, self.clock.now()).await
            {
                tracing::warn!(%error, cause = error.cause().code(), verification = %task.verification, "could not reschedule the task");
            }
        }
    }

    async fn delete_images(&self, task: &Task) -> anyhow::Result<()> {
        let archive = self.archive_of_deletions()?;
        let which = Which::All(task.verification);
        let Some(objects) = self.delete_counted(archive, task, &which).await? else {
            return Ok(());
        };
        archive.remove_folder(task.verification).await?;
        let (late, at) = (crate::images::archive::TIMEOUT, self.clock.now());
        let purged = self.store.erasures().images_deleted(task, late, at).await?;
        tracing::info!(verification = %task.verification, objects, second_pass = ?purged, "images deleted");
        Ok(())
    }

    async fn retire_images(&self, task: &Task, result: ResultId) -> anyhow::Result<()> {
        let kept = self.store.archiving().kinds_of(result).await?;
        let archive = self.archive_of_deletions()?;
        let which = Which::AllBut { verification: task.verification, result, kept: &kept };
        let Some(objects) = self.delete_counted(archive, task, &which).await? else {
            return Ok(());
        };
        if self.store.archiving().images_retired(task, self.clock.now()).await? {
            tracing::info!(verification = %task.verification, objects, "retention: images deleted");
        }
        Ok(())
    }

    /// Deletes objects, each noted in the task before: a pass that is interrupted has deleted some,
    /// and the next one does not find them. Answers how many it found; `None`: the lease was lost.
    async fn delete_counted(
        &self,
        archive: &Archive,
        task: &Task,
        which: &Which<'_>,
    ) -> anyhow::Result<Option<usize>> {
        let mut objects = 0;
        loop {
            let found = archive.find(which).await?;
            if !found.is_empty() && !self.store.tasks().note_objects(task, &found.digests()).await?
            {
                tracing::warn!(verification = %task.verification, "task lease lost: dropped");
                return Ok(None);
            }
            archive.delete_found(&found).await?;
            objects += found.len();
            if found.is_last() {
                return Ok(Some(objects));
            }
        }
    }

    fn archive_of_deletions(&self) -> anyhow::Result<&Archive> {
        self.images.archive.as_ref().ok_or_else(|| {
            anyhow::anyhow!("images are to be deleted and no images.store is configured")
        })
    }
}

/// The cause, where the database or the object store failed.
fn cause_of(error: &anyhow::Error) -> Option<&'static str> {
    let of_store = error.downcast_ref::<crate::store::Error>().map(crate::store::Error::cause);
    let of_archive = || error.downcast_ref::<ArchiveError>().map(ArchiveError::cause);
    of_store.or_else(of_archive).map(Cause::code)
}
