//! Retention: a pass over the verifications for each clock. One process at a time continues a pass,
//! under a lease, from where the last one stopped.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::lease;
use super::lease::{LeaseKey, Leased};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::{LeaseToken, VerificationId};

/// The data that a pass deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionClock {
    /// Everything about a person.
    Persons,
    Callbacks,
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

/// Leases on passes. There are three rows, whose key is a text, so a lease goes by its token.
pub const LEASED: Leased = Leased { kind: "retention", renew, release };

/// A pass that this process continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    pub clock: RetentionClock,
    pub token: LeaseToken,
    /// The last verification that was examined.
    pub after: Uuid,
}

impl Pass {
    pub fn lease(&self) -> LeaseKey {
        LeaseKey { id: self.token.0, token: self.token }
    }
}

/// Old verifications among those that one statement examined.
#[derive(Clone, Debug)]
pub struct OldPage {
    /// Unchanged since the cutoff.
    pub old: Vec<VerificationId>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Uuid>,
}

/// The passes of retention.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPasses<'a>(&'a Store);

impl Store {
    pub fn retention(&self) -> RetentionPasses<'_> {
        RetentionPasses(self)
    }
}

impl RetentionPasses<'_> {
    /// Claims a pass, unless another process holds it or it rests. The token must be fresh.
    pub async fn claim(
        self,
        clock: RetentionClock,
        lease: Duration,
        token: LeaseToken,
    ) -> Result<Option<Pass>> {
        let claim = claim(token.0, lease.as_secs_f64(), clock.as_str());
        let after = self.0.once(claim.fetch_optional(&self.0.pool)).await?;
        Ok(after.map(|after| Pass { clock, token, after }))
    }

    /// Stores how far a pass has come. `false`: the lease was lost.
    pub async fn advance(self, pass: &Pass) -> Result<bool> {
        self.0.write_fenced(|| advance(pass.clock.as_str(), pass.token.0, pass.after)).await
    }

    /// Ends the lease on an unfinished pass; another round continues it. `false`: the lease was
    /// lost.
    pub async fn interrupt(self, pass: &Pass) -> Result<bool> {
        Ok(self.0.leases().release(&LEASED, &[pass.lease()]).await? == 1)
    }

    /// Ends a pass. The next one begins from the start after this rest. `false`: the lease was lost.
    pub async fn finish(self, pass: &Pass, rest: Duration) -> Result<bool> {
        let (clock, token) = (pass.clock.as_str(), pass.token.0);
        self.0.write_fenced(|| finish(clock, token, rest.as_secs_f64())).await
    }

    /// Verifications that are unchanged since a cutoff, not erased and not under a legal hold: at most `limit`, among the
    /// next `examined` after `after` and before `end`, in the order of their ids.
    pub async fn older_than(
        self,
        cutoff: OffsetDateTime,
        end: Uuid,
        after: Uuid,
        examined: i64,
        limit: i64,
    ) -> Result<OldPage> {
        let (old, last): (Vec<Uuid>, Option<Uuid>) = self
            .0
            .run(|| find_old(cutoff, end, after, examined, limit).fetch_one(&self.0.pool))
            .await?;
        let full = i64::try_from(old.len()).is_ok_and(|found| found >= limit);
        let next = if full { old.last().copied() } else { last };
        Ok(OldPage { old: old.into_iter().map(VerificationId).collect(), next })
    }
}

statements! {
    scalar claim(token: Uuid, lease: f64, clock: &str) -> Uuid = lease::claim_one!(
        "retention_passes" where "clock = $3 and rests_until <= verdict_now()" returning "after"
    );

    scalar renew(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Uuid =
        lease::renew!("retention_passes", "lease_token");

    execute release(ids: &[Uuid], tokens: &[Uuid]) =
        lease::release!("retention_passes", "lease_token");

    execute advance(clock: &str, token: Uuid, after: Uuid) =
        "update retention_passes set after = $3 where clock = $1 and lease_token = $2";

    execute finish(clock: &str, token: Uuid, rest: f64) =
        "update retention_passes
         set lease_token = null, lease_until = null,
             after = '00000000-0000-0000-0000-000000000000',
             rests_until = verdict_now() + make_interval(secs => $3)
         where clock = $1 and lease_token = $2";

    row find_old(
        cutoff: OffsetDateTime,
        end: Uuid,
        after: Uuid,
        examined: i64,
        limit: i64,
    ) -> (Vec<Uuid>, Option<Uuid>) =
        "with page as materialized (
             select id, state <> 'erased' and updated_at < $1 and not exists (
                     select from legal_holds
                     where verification_id = verifications.id and lifted_at is null) as old
             from verifications where id > $3 and id < $2 order by id limit $4
         )
         select array(select id from page where old order by id limit $5),
             (select id from page order by id desc limit 1)";
}
