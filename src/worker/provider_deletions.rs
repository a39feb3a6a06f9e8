//! Has the provider delete its own copy of erased persons, ten a second.

use std::time::Duration;

use futures_util::future::join_all;

use super::backoff::Backoff;
use super::context::Worker;
use crate::periodic::{self, Periodic};
use crate::provider::{Deletion, Key};
use crate::store;
use crate::store::provider_deletions::{ClaimedCopy, PER_SECOND};

/// Between two looks at what is due.
const POLL: Duration = Duration::from_secs(5);
/// After a full batch.
const NEXT_BATCH: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_hours(1));

struct DeleteCopies<'a>(&'a Worker);

impl Worker {
    /// Runs until dropped. Any number of workers may run it: the database keeps the pace.
    pub(super) async fn delete_copies(&self) {
        periodic::repeat(&self.ids, DeleteCopies(self)).await;
    }

    async fn delete_due_copies(&self) -> store::Result<usize> {
        let claimed = self.store.provider_deletions().claim().await?;
        let done = join_all(claimed.iter().map(|copy| self.delete_copy(copy))).await;
        done.into_iter().collect::<store::Result<Vec<()>>>()?;
        Ok(claimed.len())
    }

    async fn delete_copy(&self, copy: &ClaimedCopy) -> store::Result<()> {
        let key = Key {
            biz_type: &copy.biz_type,
            biz_id: &copy.biz_id,
            certify_id: copy.certify_id.as_deref(),
        };
        let outcome = self.provider.delete(copy.product, key).await;
        let class = match &outcome {
            Ok(Deletion::Deleted) => "deleted",
            Ok(Deletion::Refused) => "refused",
            Err(error) => error.class(),
        };
        metrics::counter!("verdict_provider_deletions_total", "class" => class).increment(1);
        let deletions = self.store.provider_deletions();
        if let Ok(Deletion::Deleted) = outcome {
            tracing::info!(verification = %copy.verification, "provider's copy deleted");
            return deletions.deleted(copy.verification, self.clock.now()).await;
        }
        let failures = copy.attempt.saturating_sub(1);
        let wait = BACKOFF.full_jitter(failures, self.ids.fraction()).max(Duration::from_secs(1));
        tracing::warn!(
            verification = %copy.verification,
            class,
            again_in_ms = super::backoff::millis(wait),
            "provider's copy not deleted yet"
        );
        deletions.retry(copy.verification, wait).await
    }
}

impl Periodic for DeleteCopies<'_> {
    async fn round(&mut self) -> Duration {
        match self.0.delete_due_copies().await {
            Ok(claimed) if i64::try_from(claimed).unwrap_or(i64::MAX) >= PER_SECOND => NEXT_BATCH,
            Ok(_) => POLL,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().code(), "provider's copies not deleted yet");
                POLL
            }
        }
    }
}
