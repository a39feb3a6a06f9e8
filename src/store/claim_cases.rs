//! Claiming cases: which one a reviewer gets next.
//!
//! The oldest that nobody has, without those that the person has reviewed, skipped or escalated. Two
//! reviewers who ask at once get two cases: the unique index of assignments decides, and whoever was
//! slower looks again.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::assignments::{Assignments, count_if_ended};
use super::cases::Holder;
use super::error::{Error, Result};
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::callback::BizType;
use crate::domain::case::{Ended, Kind, Mix};
use crate::domain::ids::{AssignmentId, DecisionId, UserId, earliest};

/// The oldest cases that one claim tries: others may be claiming the first of them.
const CANDIDATES: i64 = 20;
/// How often a claim looks again when others were faster.
const MAX_CLAIMS: usize = 20;
/// Cases that were decided within this time are judged again.
const AGAIN_WITHIN: time::Duration = time::Duration::days(30);

/// The person who reviews.
#[derive(Clone, Debug)]
pub struct Reviewing<'a> {
    pub user: UserId,
    /// The user's name: the person of their API keys too.
    pub person: &'a str,
    /// The only scenes that the person reaches; `None`: every scene.
    pub scenes: Option<Vec<BizType>>,
}

/// The outcome of asking for the next case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Claimed(AssignmentId),
    /// The person has one already.
    Open(AssignmentId),
    /// There is none for this person.
    Empty {
        /// Cases that the person skipped a short while ago.
        skipped: i64,
    },
}

/// The outcome of claiming one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    Claimed(AssignmentId),
    /// The person has one already.
    Open(AssignmentId),
    Held(Holder),
    /// It was decided or erased, or is in a scene that the person does not reach.
    Closed,
    /// The person has reviewed it, and nobody has disagreed since.
    Reviewed,
}

impl Assignments<'_> {
    /// Gives the person the oldest case that they may get, or what the mix says in its place. The
    /// new assignment gets this id.
    pub async fn next(
        self,
        who: &Reviewing<'_>,
        mix: Mix,
        lease: Duration,
        id: AssignmentId,
        now: OffsetDateTime,
    ) -> Result<Next> {
        for _ in 0..MAX_CLAIMS {
            if let Some(open) = self.resume(who.user, lease).await? {
                return Ok(Next::Open(open));
            }
            let candidates = self.candidates(who).await?;
            if candidates.is_empty() {
                let skipped = self.0.run(|| count_skipped(who.user.0).fetch_one(&self.0.pool));
                return Ok(Next::Empty { skipped: skipped.await? });
            }
            // Not repeated by itself: the loop finds what the first try has done.
            let claimed = self.0.once(async {
                let mut transaction = self.0.pool.begin().await?;
                let claimed =
                    claim_first(&mut transaction, &candidates, who, (mix, now), lease, id);
                let claimed = claimed.await?;
                transaction.commit().await?;
                Ok(claimed)
            });
            if claimed.await? {
                return Ok(Next::Claimed(id));
            }
        }
        Err(Error::Busy("cases that others claim"))
    }

    /// Gives the person this case.
    pub async fn claim(
        self,
        who: &Reviewing<'_>,
        case: DecisionId,
        lease: Duration,
        id: AssignmentId,
    ) -> Result<Claimed> {
        for _ in 0..MAX_CLAIMS {
            if let Some(open) = self.resume(who.user, lease).await? {
                return Ok(Claimed::Open(open));
            }
            let (user, person) = (who.user.0, who.person);
            let scenes = scene_names(who);
            let found: Option<ClaimableRow> = self
                .0
                .run(|| {
                    find_claimable(case.0, user, person, scenes.as_deref())
                        .fetch_optional(&self.0.pool)
                })
                .await?;
            match found {
                None => return Ok(Claimed::Closed),
                Some(ClaimableRow {
                    holder: Some(user),
                    name: Some(name),
                    since: Some(since),
                    pending,
                    ..
                }) => {
                    let user = UserId(user);
                    return Ok(Claimed::Held(Holder { user, name, since, pending }));
                }
                Some(row) if row.reviewed => return Ok(Claimed::Reviewed),
                Some(_) => {}
            }
            let claimed = self.0.once(async {
                let mut transaction = self.0.pool.begin().await?;
                let candidates = [case.0];
                let claimed =
                    claim_case(&mut transaction, &candidates, who.user, lease, id).await?;
                transaction.commit().await?;
                Ok(claimed)
            });
            if claimed.await? {
                return Ok(Claimed::Claimed(id));
            }
        }
        Err(Error::Busy("cases that others claim"))
    }

    async fn candidates(self, who: &Reviewing<'_>) -> Result<Vec<Uuid>> {
        let scenes = scene_names(who);
        self.0
            .run(|| {
                find_candidates(scenes.as_deref(), who.user.0, who.person, CANDIDATES)
                    .fetch_all(&self.0.pool)
            })
            .await
    }

    /// The assignment that the person has and has not finished, with a fresh lease.
    async fn resume(self, user: UserId, lease: Duration) -> Result<Option<AssignmentId>> {
        let open: Option<Uuid> =
            self.0.run(|| resume(user.0, lease.as_secs_f64()).fetch_optional(&self.0.pool)).await?;
        Ok(open.map(AssignmentId))
    }
}

/// Claims the first candidate that nobody is claiming, or what the mix says in its place.
async fn claim_first(
    transaction: &mut Transaction,
    candidates: &[Uuid],
    who: &Reviewing<'_>,
    (mix, now): (Mix, OffsetDateTime),
    lease: Duration,
    id: AssignmentId,
) -> Done<bool> {
    let (user, lease_seconds) = (who.user.0, lease.as_secs_f64());
    if mix.kind == Kind::Golden {
        let place = mix.place.to_string();
        if let Some(pair) = choose_golden(user, &place).fetch_optional(&mut *transaction).await? {
            let added = add_golden(id.0, user, pair, lease_seconds);
            return Ok(added.execute(transaction).await?.rows_affected() > 0);
        }
    }
    if mix.kind == Kind::Again {
        let from = earliest(now - AGAIN_WITHIN * (1.0 - mix.place));
        let since = earliest(now - AGAIN_WITHIN);
        let scenes = scene_names(who);
        let chosen = choose_again(from, since, user, who.person, scenes.as_deref());
        if let Some((decision, verification)) = chosen.fetch_optional(&mut *transaction).await? {
            let added = add_again(id.0, user, decision, verification, lease_seconds);
            return Ok(added.execute(transaction).await?.rows_affected() > 0);
        }
    }
    claim_case(transaction, candidates, who.user, lease, id).await
}

async fn claim_case(
    transaction: &mut Transaction,
    candidates: &[Uuid],
    user: UserId,
    lease: Duration,
    id: AssignmentId,
) -> Done<bool> {
    let locked = lock_first(candidates).fetch_optional(&mut *transaction).await?;
    let Some((decision, verification)) = locked else { return Ok(false) };
    if let Some(kind) = lapse(decision).fetch_optional(&mut *transaction).await? {
        count_if_ended(Some(kind), Ended::Lapsed);
    }
    // Not added where the person has one by now, or somebody else has the case.
    let added = add_review(id.0, user.0, decision, verification, lease.as_secs_f64());
    Ok(added.execute(transaction).await?.rows_affected() > 0)
}

fn scene_names<'a>(who: &'a Reviewing<'_>) -> Option<Vec<&'a str>> {
    who.scenes.as_ref().map(|scenes| scenes.iter().map(BizType::as_str).collect())
}

#[derive(FromRow)]
struct ClaimableRow {
    /// The person has reviewed it, and nobody else after them.
    reviewed: bool,
    holder: Option<Uuid>,
    name: Option<String>,
    since: Option<OffsetDateTime>,
    pending: bool,
}

statements! {
    scalar resume(user: Uuid, lease: f64) -> Uuid =
        "update assignments
         set lease_until = greatest(lease_until, verdict_now() + make_interval(secs => $2))
         where user_id = $1 and ended_at is null and outcome is null
         returning id";

    scalar find_candidates(
        scenes: Option<&[&str]>,
        user: Uuid,
        person: &str,
        most: i64,
    ) -> Uuid = include_str!("sql/claim_cases_find_candidates.sql");

    scalar count_skipped(user: Uuid) -> i64 =
        "select count(*) from case_skips s
         where s.user_id = $1 and s.until > verdict_now()
             and exists (select from cases
                 where decision_id = s.decision_id and closed_at is null)";

    row find_claimable(
        case: Uuid,
        user: Uuid,
        person: &str,
        scenes: Option<&[&str]>,
    ) -> ClaimableRow =
        "select h.user_id as holder, h.name, h.claimed_at as since,
             coalesce(h.pending, false) as pending,
             coalesce((select person = $3 from reviews
                 where verification_id = c.verification_id and about = c.decision_id
                 order by id desc limit 1), false) as reviewed
         from cases c
         left join lateral (
             select a.user_id, u.name, a.claimed_at, a.outcome is not null as pending
             from assignments a join users u on u.id = a.user_id
             where a.decision_id = c.decision_id and a.kind = 'review' and a.ended_at is null
                 and (a.user_id <> $2 or a.outcome is not null)
                 and (a.outcome is not null or a.lease_until > verdict_now())
             limit 1) h on true
         where c.decision_id = $1 and c.closed_at is null
             and ($4::text[] is null or c.biz_type = any ($4))";

    /// The oldest of these that is still open and that no other transaction has.
    row lock_first(candidates: &[Uuid]) -> (Uuid, Uuid) =
        "select decision_id, verification_id from cases
         where decision_id = any ($1) and closed_at is null
         order by opened_at, decision_id limit 1
         for no key update skip locked";

    /// Ends an assignment of this case whose lease is over.
    scalar lapse(case: Uuid) -> String =
        "update assignments set ended_at = verdict_now(), ended_as = 'lapsed'
         where decision_id = $1 and kind = 'review' and ended_at is null and outcome is null
             and lease_until <= verdict_now()
         returning kind";

    execute add_review(id: Uuid, user: Uuid, decision: Uuid, verification: Uuid, lease: f64) =
        "insert into assignments (id, kind, user_id, decision_id, verification_id, claimed_at,
             lease_until)
         values ($1, 'review', $2, $3, $4, verdict_now(),
             verdict_now() + make_interval(secs => $5))
         on conflict do nothing";

    execute add_again(id: Uuid, user: Uuid, decision: Uuid, verification: Uuid, lease: f64) =
        "insert into assignments (id, kind, user_id, decision_id, verification_id, claimed_at,
             lease_until)
         values ($1, 'again', $2, $3, $4, verdict_now(),
             verdict_now() + make_interval(secs => $5))
         on conflict do nothing";

    execute add_golden(id: Uuid, user: Uuid, golden: Uuid, lease: f64) =
        "insert into assignments (id, kind, user_id, golden_id, claimed_at, lease_until)
         values ($1, 'golden', $2, $3, verdict_now(), verdict_now() + make_interval(secs => $4))
         on conflict do nothing";

    /// One that the person has not had for a week: they would remember it. Those that they never had
    /// come first, in an order that `place` shuffles.
    scalar choose_golden(user: Uuid, place: &str) -> Uuid =
        "select g.id
         from golden_pairs g
         left join lateral (
             select max(claimed_at) as at from assignments
             where user_id = $1 and golden_id = g.id) last on true
         where g.retired_at is null
             and coalesce(last.at < verdict_now() - interval '7 days', true)
         order by last.at nulls first, md5(g.id::text || $2) limit 1";

    /// The first that was decided at the drawn time or later and that the person does not know, among
    /// a limited number; from the beginning if there is none.
    row choose_again(
        from: Uuid,
        since: Uuid,
        user: Uuid,
        person: &str,
        scenes: Option<&[&str]>,
    ) -> (Uuid, Uuid) =
        "select r.about, r.verification_id
         from (
             (select 1 as part, id, about, verification_id from reviews
              where id >= $1 and decision_id is not null order by id limit 200)
             union all
             (select 2, id, about, verification_id from reviews
              where id >= $2 and decision_id is not null order by id limit 200)
         ) r
         cross join lateral (
             select biz_type from verifications
             where id = r.verification_id and state <> 'erased' limit 1) v
         where ($5::text[] is null or v.biz_type = any ($5))
             and exists (select from cases where decision_id = r.about)
             and exists (select from images
                 where verification_id = r.verification_id and kind = 'face'
                     and state = 'archived')
             and not exists (select from reviews
                 where verification_id = r.verification_id and person = $4)
             and not exists (select from assignments
                 where decision_id = r.about and user_id = $3)
         order by r.part, r.id limit 1";
}
