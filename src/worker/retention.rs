//! Retention: deletes persons, images and callbacks that are older than configured, in batches.
//!
//! One process at a time works on each kind, under a lease. Every deletion checks the age once more
//! in its own statement, so two processes that overlap do no harm.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::context::Worker;
use super::leases::Leases;
use crate::domain::ids::earliest;
use crate::store;
use crate::store::audit::AuditContext;
use crate::store::retention::{self, OldPage, Pass, RetentionClock};

/// Verifications that one statement examines.
const EXAMINED: i64 = 5000;
/// Deletions between two writes of the progress.
const BATCH: i64 = 100;
/// Most batches of one round: upkeep must leave the database to others.
const BATCHES: usize = 100;
/// Requests to webhook endpoints that one statement deletes.
const ATTEMPTS: i64 = 1_000;
/// Between two passes over everything old enough. A pass spares verifications with a late callback.
const PASS_EVERY: Duration = Duration::from_hours(1);

impl Worker {
    /// One round for every kind of data with a configured age.
    pub(super) async fn retain(&self, leases: &Leases) -> store::Result<()> {
        let settings = &self.settings;
        let clocks = [
            (RetentionClock::Persons, settings.keep_persons),
            (RetentionClock::Callbacks, settings.keep_callbacks),
            (RetentionClock::Images, settings.keep_images),
        ];
        let mut outcome = Ok(());
        for (clock, keep) in clocks {
            let Some(cutoff) = before(self.clock.now(), keep) else { continue };
            // One that fails does not hold up the next.
            outcome = outcome.and(self.continue_pass(clock, cutoff, leases).await);
        }
        outcome
    }

    /// Requests to webhook endpoints. Several processes may do it at once.
    pub(super) async fn delete_old_attempts(&self) -> store::Result<()> {
        let Some(cutoff) = before(self.clock.now(), self.deliveries.keep) else { return Ok(()) };
        let mut deleted = 0;
        for _ in 0..BATCHES {
            let batch = self.store.webhook_deliveries().delete_attempts(cutoff, ATTEMPTS).await?;
            deleted += batch;
            if batch < ATTEMPTS.unsigned_abs() {
                break;
            }
        }
        if deleted > 0 {
            tracing::info!(deleted, "records of deliveries deleted");
        }
        Ok(())
    }

    async fn continue_pass(
        &self,
        clock: RetentionClock,
        cutoff: OffsetDateTime,
        leases: &Leases,
    ) -> store::Result<()> {
        let claimed_at = Instant::now();
        let token = self.ids.next(self.clock.now());
        let claim = self.store.retention().claim(clock, leases.length(), token).await?;
        let Some(mut pass) = claim else { return Ok(()) };
        let lease = leases.hold(&retention::LEASED, pass.lease(), claimed_at);
        let Some(round) = lease.while_held(self.round(&mut pass, cutoff)).await else {
            tracing::warn!(?clock, "retention lease lost: dropped");
            return Ok(());
        };
        if matches!(round, Ok(true)) {
            self.store.retention().finish(&pass, PASS_EVERY).await?;
        } else {
            self.store.retention().interrupt(&pass).await?;
        }
        round.map(drop)
    }

    /// `true`: the pass is complete.
    async fn round(&self, pass: &mut Pass, cutoff: OffsetDateTime) -> store::Result<bool> {
        let mut deleted = 0;
        let mut is_complete = false;
        for _ in 0..BATCHES {
            let (batch, next) = self.delete_batch(pass, cutoff).await?;
            deleted += batch;
            let Some(next) = next else {
                is_complete = true;
                break;
            };
            pass.after = next;
            if !self.store.retention().advance(pass).await? {
                break;
            }
        }
        if deleted > 0 {
            let clock = pass.clock;
            tracing::info!(deleted, ?clock, "retention: deleted");
        }
        Ok(is_complete)
    }

    /// How much was deleted, and where the next batch begins; `None` at the end.
    async fn delete_batch(
        &self,
        pass: &Pass,
        cutoff: OffsetDateTime,
    ) -> store::Result<(u64, Option<uuid::Uuid>)> {
        if pass.clock == RetentionClock::Images {
            let deleted = self.store.archiving().retire_images(cutoff, BATCH).await?;
            self.signals.task_is_due();
            // Deleted images leave the beginning to the next ones.
            return Ok((deleted, (deleted > 0).then_some(pass.after)));
        }
        let retention = self.store.retention();
        let page =
            retention.older_than(cutoff, earliest(cutoff), pass.after, EXAMINED, BATCH).await?;
        Ok((self.delete_old(pass.clock, &page, cutoff).await?, page.next))
    }

    async fn delete_old(
        &self,
        clock: RetentionClock,
        page: &OldPage,
        cutoff: OffsetDateTime,
    ) -> store::Result<u64> {
        if clock == RetentionClock::Callbacks {
            let deleted = self.store.delete_callbacks_of(&page.old, cutoff).await?;
            return Ok(u64::try_from(deleted).unwrap_or(u64::MAX));
        }
        let audit = AuditContext {
            actor: "service".to_owned(),
            purpose: Some("retention.person_days".to_owned()),
            at: self.clock.now(),
        };
        let mut erased = 0;
        for id in &page.old {
            erased += u64::from(self.store.erasures().erase_if_older(*id, cutoff, &audit).await?);
        }
        Ok(erased)
    }
}

/// The time before which data is too old; `None`: it is kept.
fn before(now: OffsetDateTime, keep: Option<Duration>) -> Option<OffsetDateTime> {
    now.checked_sub(keep?.try_into().ok()?)
}
