//! The passes of the retention clocks: one process at a time goes on with each, from where the
//! last one stopped.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::statements::statements;
use super::{Result, Store};
use crate::domain::ids::{LeaseToken, VerificationId};

/// One clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionClock {
    /// Persons are forgotten.
    Persons,
    /// Callbacks are deleted.
    Callbacks,
    /// Images are deleted.
    Images,
}

impl RetentionClock {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Persons => "persons",
            Self::Callbacks => "callbacks",
            Self::Images => "images",
        }
    }
}

/// What is too old, of some of those that were looked at.
#[derive(Clone, Debug)]
pub struct OldPage {
    /// Verifications about which nothing was said since.
    pub old: Vec<VerificationId>,
    /// Where to go on; `None` at the end.
    pub next: Option<Uuid>,
}

/// The passes of the retention clocks.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPasses<'a>(&'a Store);

impl Store {
    /// The passes of the retention clocks.
    pub fn retention(&self) -> RetentionPasses<'_> {
        RetentionPasses(self)
    }
}

impl RetentionPasses<'_> {
    /// Goes on with a pass, where nobody is at it and it does not rest; where it had come to. The
    /// token must be fresh.
    pub async fn take_pass(
        self,
        clock: RetentionClock,
        lease: Duration,
        token: LeaseToken,
    ) -> Result<Option<Uuid>> {
        // One at a time, judged by the database's clock.
        self.0
            .once(take(clock.as_str(), token.0, lease.as_secs_f64()).fetch_optional(&self.0.pool))
            .await
    }

    /// Notes how far a pass has come, and keeps it; `false`: it is somebody else's now.
    pub async fn go_on_with_pass(
        self,
        clock: RetentionClock,
        lease: Duration,
        token: LeaseToken,
        after: Uuid,
    ) -> Result<bool> {
        // Fenced.
        self.0
            .run(|| async {
                go_on(clock.as_str(), token.0, lease.as_secs_f64(), after)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    /// Lets a pass go, for the next round or, with `rest`, until the next pass from the beginning.
    pub async fn leave_pass(
        self,
        clock: RetentionClock,
        token: LeaseToken,
        rest: Option<Duration>,
    ) -> Result<()> {
        // Fenced.
        self.0
            .run(|| async {
                leave(clock.as_str(), token.0, rest.map(|rest| rest.as_secs_f64()))
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// Verifications from before a moment about which nothing was said since, and which are not
    /// erased: at most `limit`, among the next `looked` after `after`, up to `end`, in the order of
    /// their ids.
    pub async fn older_than(
        self,
        moment: OffsetDateTime,
        end: Uuid,
        after: Uuid,
        looked: i64,
        limit: i64,
    ) -> Result<OldPage> {
        let (old, last): (Vec<Uuid>, Option<Uuid>) = self
            .0
            .run(|| find_old(moment, end, after, looked, limit).fetch_one(&self.0.pool))
            .await?;
        let full = i64::try_from(old.len()).is_ok_and(|found| found >= limit);
        let next = if full { old.last().copied() } else { last };
        Ok(OldPage { old: old.into_iter().map(VerificationId).collect(), next })
    }
}

statements! {
    scalar take(clock: &str, token: Uuid, lease: f64) -> Uuid =
        "update retention_passes
         set lease_token = $2, lease_until = verdict_now() + make_interval(secs => $3)
         where clock = $1 and rests_until <= verdict_now()
             and (lease_until is null or lease_until <= verdict_now())
         returning after";

    execute go_on(clock: &str, token: Uuid, lease: f64, after: Uuid) =
        "update retention_passes
         set after = $4, lease_until = verdict_now() + make_interval(secs => $3)
         where clock = $1 and lease_token = $2";

    execute leave(clock: &str, token: Uuid, rest: Option<f64>) =
        "update retention_passes
         set lease_token = null, lease_until = null,
             after = case when $3::float8 is null then after
                         else '00000000-0000-0000-0000-000000000000' end,
             rests_until = case when $3::float8 is null then rests_until
                               else verdict_now() + make_interval(secs => $3) end
         where clock = $1 and lease_token = $2";

    row find_old(
        moment: OffsetDateTime,
        end: Uuid,
        after: Uuid,
        looked: i64,
        limit: i64,
    ) -> (Vec<Uuid>, Option<Uuid>) =
        "with page as materialized (
             select id, state <> 'erased' and updated_at < $1 as old from verifications
             where id > $3 and id < $2 order by id limit $4
         )
         select array(select id from page where old order by id limit $5),
             (select id from page order by id desc limit 1)";
}
