//! The retention clock: persons are forgotten when their time is over, a few at a time.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Worker;
use crate::domain::ids::earliest;
use crate::store;
use crate::store::audit::Doing;

/// Verifications looked at by one statement.
const BATCH: i64 = 500;
/// Most batches of one round: upkeep must not take a database for itself.
const BATCHES: usize = 20;
/// Distance of two passes over everything old enough: some were spared because of a late callback.
const PASS_EVERY: Duration = Duration::from_hours(1);

/// How far this process has come in its pass. Several processes may pass over the same: erasing
/// twice is erasing once.
#[derive(Debug, Default)]
pub struct Retention {
    after: Uuid,
    rests_until: Option<Instant>,
}

impl Worker {
    /// One round; answers how many were forgotten.
    pub(super) async fn retain(&self, retention: &mut Retention) -> store::Result<usize> {
        let Some(keep) = self.settings.keep_persons else { return Ok(0) };
        if retention.rests_until.is_some_and(|until| Instant::now() < until) {
            return Ok(0);
        }
        let now = self.clock.now();
        let Some(cutoff) = keep.try_into().ok().and_then(|keep| now.checked_sub(keep)) else {
            return Ok(0);
        };
        let doing = Doing {
            actor: "service".to_owned(),
            purpose: Some("retention.person_days".to_owned()),
            at: now,
        };
        let mut forgotten = 0;
        for _ in 0..BATCHES {
            // Ids begin with the time of the first callback.
            let (old, last) =
                self.store.older_than(cutoff, earliest(cutoff), retention.after, BATCH).await?;
            for id in old {
                self.store.erase(id, &doing).await?;
                forgotten += 1;
            }
            let Some(last) = last else {
                let rests_until = Some(Instant::now() + PASS_EVERY);
                *retention = Retention { after: Uuid::nil(), rests_until };
                break;
            };
            retention.after = last;
        }
        Ok(forgotten)
    }
}
