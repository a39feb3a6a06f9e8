//! The retention clocks: persons, images and callbacks go when their time is over, a few at a time.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::Worker;
use crate::domain::ids::{VerificationId, earliest};
use crate::store;
use crate::store::audit::Doing;

/// Rows looked at by one statement.
const BATCH: i64 = 500;
/// Most batches of one round: upkeep must not take a database for itself.
const BATCHES: usize = 20;
/// Distance of two passes over everything old enough: some were spared because of a late callback.
const PASS_EVERY: Duration = Duration::from_hours(1);

/// How far this process has come in its passes. Several processes may pass over the same: doing
/// it twice is doing it once.
#[derive(Debug, Default)]
pub struct Retention {
    persons: Pass,
    callbacks: Pass,
    images: Pass,
}

/// One pass over the verifications, in the order of their ids, which begin with the time of the
/// first callback.
#[derive(Debug, Default)]
struct Pass {
    after: Uuid,
    rests_until: Option<Instant>,
}

impl Pass {
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    fn over() -> Self {
        Self { after: Uuid::nil(), rests_until: Some(Instant::now() + PASS_EVERY) }
    }
}

impl Worker {
    /// One round of every clock that is set; says what went.
    pub(super) async fn retain(&self, retention: &mut Retention) -> store::Result<()> {
        let now = self.clock.now();
        let settings = &self.settings;
        if let Some(cutoff) = before(now, settings.keep_persons) {
            let doing = Doing {
                actor: "service".to_owned(),
                purpose: Some("retention.person_days".to_owned()),
                at: now,
            };
            let mut forgotten = 0;
            for _ in 0..BATCHES {
                for id in self.next_old(&mut retention.persons, cutoff).await? {
                    self.store.erase(id, &doing).await?;
                    forgotten += 1;
                }
            }
            if forgotten > 0 {
                tracing::info!(forgotten, "persons forgotten: their time is over");
            }
        }
        if let Some(cutoff) = before(now, settings.keep_callbacks) {
            let mut deleted = 0;
            for _ in 0..BATCHES {
                let old = self.next_old(&mut retention.callbacks, cutoff).await?;
                deleted += self.store.delete_callbacks_of(&old).await?;
            }
            if deleted > 0 {
                tracing::info!(deleted, "callbacks deleted: their time is over");
            }
        }
        if let Some(cutoff) = before(now, settings.keep_images)
            && !retention.images.rests()
        {
            let retired = self.store.retire_images(cutoff, BATCH).await?;
            if retired > 0 {
                tracing::info!(retired, "images on their way out: their time is over");
                self.signals.task_is_due();
            } else {
                retention.images = Pass::over();
            }
        }
        Ok(())
    }

    /// The next ones of a pass that are too old; none while it rests.
    async fn next_old(
        &self,
        pass: &mut Pass,
        cutoff: OffsetDateTime,
    ) -> store::Result<Vec<VerificationId>> {
        if pass.rests() {
            return Ok(Vec::new());
        }
        let (old, last) =
            self.store.older_than(cutoff, earliest(cutoff), pass.after, BATCH).await?;
        match last {
            Some(last) => pass.after = last,
            None => *pass = Pass::over(),
        }
        Ok(old)
    }
}

/// The moment before which things are too old to be kept.
fn before(now: OffsetDateTime, keep: Option<Duration>) -> Option<OffsetDateTime> {
    now.checked_sub(keep?.try_into().ok()?)
}
