//! The retention clocks: persons, images and callbacks go when their time is over, a few at a time.
//! One process at a time does it for all; what it does is judged again by the statement that does
//! it, so doing it twice is doing it once.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::context::Worker;
use crate::domain::ids::{LeaseToken, earliest};
use crate::store;
use crate::store::audit::AuditContext;
use crate::store::retention::{OldPage, RetentionClock};

/// Verifications looked at by one statement.
const LOOKED: i64 = 5000;
/// What goes between two renewals of the lease.
const BATCH: i64 = 100;
/// Most batches of one round: upkeep must not take a database for itself.
const BATCHES: usize = 100;
/// How long a pass is somebody's.
const LEASE: Duration = Duration::from_mins(1);
/// Distance of two passes over everything old enough: some were spared because of a late callback.
const PASS_EVERY: Duration = Duration::from_hours(1);

impl Worker {
    /// One round of every clock that is set; says what went.
    pub(super) async fn retain(&self) -> store::Result<()> {
        let settings = &self.settings;
        let clocks = [
            (RetentionClock::Persons, settings.keep_persons),
            (RetentionClock::Callbacks, settings.keep_callbacks),
            (RetentionClock::Images, settings.keep_images),
        ];
        let mut outcome = Ok(());
        for (clock, keep) in clocks {
            let Some(cutoff) = before(self.clock.now(), keep) else { continue };
            let token: LeaseToken = self.ids.next(self.clock.now());
            let Some(after) = self.store.retention().take_pass(clock, LEASE, token).await? else {
                continue;
            };
            let round = self.round(clock, cutoff, token, after).await;
            // One clock that stands still does not hold up the next.
            let rest = round.as_ref().is_ok_and(|whole| *whole).then_some(PASS_EVERY);
            let left = self.store.retention().leave_pass(clock, token, rest).await;
            outcome = outcome.and(round.map(drop)).and(left);
        }
        outcome
    }

    /// `true`: the pass has come to its end.
    async fn round(
        &self,
        clock: RetentionClock,
        cutoff: OffsetDateTime,
        token: LeaseToken,
        mut after: Uuid,
    ) -> store::Result<bool> {
        let mut gone = 0;
        let mut end = false;
        for _ in 0..BATCHES {
            let (went, next) = match clock {
                RetentionClock::Images => {
                    let went = self.store.archiving().retire_images(cutoff, BATCH).await?;
                    self.signals.task_is_due();
                    // What is left is always at the beginning.
                    (went, (went > 0).then_some(after))
                }
                RetentionClock::Persons | RetentionClock::Callbacks => {
                    let page = self
                        .store
                        .retention()
                        .older_than(cutoff, earliest(cutoff), after, LOOKED, BATCH)
                        .await?;
                    (self.go(clock, &page, cutoff).await?, page.next)
                }
            };
            gone += went;
            let Some(next) = next else {
                end = true;
                break;
            };
            after = next;
            if !self.store.retention().go_on_with_pass(clock, LEASE, token, after).await? {
                break;
            }
        }
        if gone > 0 {
            tracing::info!(deleted = gone, ?clock, "retention: deleted");
        }
        Ok(end)
    }

    async fn go(
        &self,
        clock: RetentionClock,
        page: &OldPage,
        cutoff: OffsetDateTime,
    ) -> store::Result<u64> {
        if clock == RetentionClock::Callbacks {
            let deleted = self.store.delete_callbacks_of(&page.old, cutoff).await?;
            return Ok(u64::try_from(deleted).unwrap_or(u64::MAX));
        }
        let doing = AuditContext {
            actor: "service".to_owned(),
            purpose: Some("retention.person_days".to_owned()),
            at: self.clock.now(),
        };
        let mut forgotten = 0;
        for id in &page.old {
            forgotten +=
                u64::from(self.store.erasures().erase_if_older(*id, cutoff, &doing).await?);
        }
        Ok(forgotten)
    }
}

/// The moment before which things are too old to be kept.
fn before(now: OffsetDateTime, keep: Option<Duration>) -> Option<OffsetDateTime> {
    now.checked_sub(keep?.try_into().ok()?)
}
