//! Policy texts by digest, which one is active where, and which one runs beside it.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::audit::AuditContext;
use super::proposals::{Second, seconded};
use super::{Result, Store};

/// One policy text.
#[derive(Clone, Debug, FromRow)]
pub struct PolicyText {
    /// `sha256:…` of the text.
    pub digest: String,
    /// TOML.
    pub body: String,
}

/// One policy, without its text.
#[derive(Clone, Debug, FromRow)]
pub struct PolicyRow {
    /// `sha256:…` of the text.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// When it was added.
    pub added_at: OffsetDateTime,
}

/// What a policy is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// It decides.
    Active,
    /// It decides beside, for comparison.
    Shadow,
}

impl Use {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
        }
    }
}

/// One change of what is used.
#[derive(Clone, Debug, FromRow)]
pub struct Activation {
    /// Order of the changes.
    pub id: i64,
    /// The policy; `None`: none from here on.
    pub digest: Option<String>,
    /// When.
    pub activated_at: OffsetDateTime,
    /// By whom.
    pub activated_by: String,
    /// `active` or `shadow`.
    pub kind: String,
    /// For this scene; empty: for all that have none of their own.
    pub biz_type: String,
    /// The purpose given for the change.
    pub purpose: Option<String>,
}

/// One policy in use.
#[derive(Clone, Debug, FromRow)]
pub struct InUse {
    /// `active` or `shadow`.
    pub kind: String,
    /// For this scene; empty: for all that have none of their own.
    pub biz_type: String,
    /// `sha256:…` of the text.
    pub digest: String,
    /// TOML.
    pub body: String,
}

/// How often a shadow and the active policy came to which outcomes.
#[derive(Clone, Debug, FromRow)]
pub struct ShadowCount {
    /// What counted.
    pub active_outcome: String,
    /// What the shadow made of it.
    pub outcome: String,
    /// How often.
    pub count: i64,
}

/// The result of [`Store::use_policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is used from now on.
    Now,
    /// It was used already: nothing was changed or recorded.
    Before,
    /// There is no such policy, or the second person's consent does not count any more.
    Refused,
}

/// What two persons agreed on: the policy that both meant, and the second one's consent.
#[derive(Clone, Copy, Debug)]
pub struct Agreed<'a> {
    /// Its digest.
    pub policy: &'a str,
    /// To what another person had proposed.
    pub second: &'a Second,
}

/// Shadow decisions that a comparison looks at: more would say the same and take longer than a
/// statement may.
pub const MOST_COMPARED: i64 = 100_000;

impl Store {
    /// Adds a policy and makes it active, if none is yet; a database that has one keeps its own.
    pub async fn seed_policy(
        &self,
        digest: &str,
        name: &str,
        body: &str,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // policies::seed: `verdict_activations` makes the second of two replicas that start together
        // see the first one's activation.
        self.run(|| async {
            sqlx::query_scalar(
                "with there as materialized (
                    select count(*) as activations from verdict_activations()
                 ), empty as (
                    select from there where activations = 0
                 ), added as (
                    insert into policies (digest, name, body, added_at)
                    select $1, $2, $3, $4 from empty on conflict (digest) do nothing
                 ), activated as (
                    insert into policy_activations (digest, activated_at, activated_by)
                    select $1, $4, 'seed' from empty returning 1
                 ), recorded as (
                    insert into audit (at, actor, action, details)
                    select $4, 'service', 'policy.seed', json_build_object('policy', $1::text)::text
                    from empty
                 )
                 select exists (select from activated)",
            )
            .bind(digest)
            .bind(name)
            .bind(body)
            .bind(now)
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Adds a policy text that was checked; `false`: it was there already.
    pub async fn add_policy(
        &self,
        digest: &str,
        name: &str,
        body: &str,
        doing: &AuditContext,
    ) -> Result<bool> {
        // policies::add: a text is added once, and who added it is on record.
        self.run(|| async {
            sqlx::query_scalar(
                "with added as (
                    insert into policies (digest, name, body, added_at) values ($1, $2, $3, $4)
                    on conflict (digest) do nothing returning 1
                 ), recorded as (
                    insert into audit (at, actor, action, purpose, details)
                    select $4, $5, 'policy.add', $6, json_build_object('policy', $1::text)::text
                    from added
                 )
                 select exists (select from added)",
            )
            .bind(digest)
            .bind(name)
            .bind(body)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Has a policy used from now on, or, for shadows and scenes, none.
    pub async fn use_policy(
        &self,
        kind: Use,
        biz_type: &str,
        digest: Option<&str>,
        second: Option<&Second>,
        doing: &AuditContext,
    ) -> Result<Changed> {
        // policies::use: what decides and the record of who wanted it change together. Here and
        // below, `verdict_activations` lets one change follow the other: a replica that has seen an
        // id misses none below it. What is used already is neither activated nor recorded again.
        let (known, changed): (bool, bool) = self
            .once(async {
                sqlx::query_as(concat!(
                    "with ",
                    seconded!("$7", "$8", "$9"),
                    ", there as materialized (
                    select (array_agg(digest order by id desc)
                            filter (where kind = $4 and biz_type = $5))[1] as digest
                    from verdict_activations()
                 ), known as (
                    select $1::text as digest, there.digest as before from there
                    where exists (select from consent)
                        and ($1::text is null or exists (select from policies where digest = $1))
                 ), activated as (
                    insert into policy_activations
                        (digest, activated_at, activated_by, kind, biz_type, purpose)
                    select digest, $2, $3, $4, $5, $6 from known
                    where digest is distinct from before returning 1
                 ), recorded as (
                    insert into audit (at, actor, action, purpose, details)
                    select $2, $3, 'policy.' || $4::text, $6,
                        json_build_object('policy', $1::text, 'biz_type', $5::text,
                            'proposal', $7::uuid)::text
                    from activated
                 )
                 select exists (select from known), exists (select from activated)"
                ))
                .bind(digest)
                .bind(doing.at)
                .bind(&doing.actor)
                .bind(kind.as_str())
                .bind(biz_type)
                .bind(&doing.purpose)
                .bind(second.map(|second| second.proposal))
                .bind(second.map(|second| second.key.0))
                .bind(second.map(|second| second.person.as_str()))
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(match (known, changed) {
            (_, true) => Changed::Now,
            (true, false) => Changed::Before,
            (false, false) => Changed::Refused,
        })
    }

    /// Makes the shadow of a scene the active policy, and ends the shadow; the digest. `None`:
    /// there is no shadow, or not the one that two persons agreed on, or the second person's consent
    /// does not count any more.
    pub async fn promote_shadow(
        &self,
        biz_type: &str,
        agreed: Option<Agreed<'_>>,
        doing: &AuditContext,
    ) -> Result<Option<String>> {
        // policies::promote: both changes and the record in one statement.
        self.once(async {
            sqlx::query_scalar(concat!(
                "with ",
                seconded!("$6", "$7", "$8"),
                ", shadow as materialized (
                    select digest from (
                        select digest from verdict_activations()
                        where kind = 'shadow' and biz_type = $1 order by id desc limit 1) newest
                    where digest is not null and ($5::text is null or digest = $5)
                        and exists (select from consent)
                 ), changed as (
                    insert into policy_activations
                        (digest, activated_at, activated_by, kind, biz_type, purpose)
                    select digest, $2, $3, 'active', $1, $4 from shadow
                    union all select null, $2, $3, 'shadow', $1, $4 from shadow
                 ), recorded as (
                    insert into audit (at, actor, action, purpose, details)
                    select $2, $3, 'policy.promote', $4,
                        json_build_object('policy', digest, 'biz_type', $1::text,
                            'proposal', $6::uuid)::text
                    from shadow
                 )
                 select digest from shadow"
            ))
            .bind(biz_type)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .bind(agreed.map(|agreed| agreed.policy))
            .bind(agreed.map(|agreed| agreed.second.proposal))
            .bind(agreed.map(|agreed| agreed.second.key.0))
            .bind(agreed.map(|agreed| agreed.second.person.as_str()))
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// Activates again what was active in a scene before the policy that is now; its digest, or
    /// none where the scene has no policy of its own again. `None`: there was nothing before.
    ///
    /// What was rolled back is gone: the next rollback goes back from what counts again, not to
    /// what did not prove good.
    pub async fn roll_back_policy(
        &self,
        biz_type: &str,
        doing: &AuditContext,
    ) -> Result<Option<Option<String>>> {
        // policies::roll_back: `past` goes from what counts now to what counted before it was
        // activated, and so on; activation 0 stands for none.
        self.once(async {
            sqlx::query_scalar(
                "with recursive there as materialized (
                    select id, digest, coalesce(back_to, id) as counts from verdict_activations()
                    where kind = 'active' and biz_type = $1
                 ), now_active as (
                    select counts, digest from there order by id desc limit 1
                 ), past (counts, digest) as (
                    select counts, digest from now_active
                    union all
                    select before.counts, before.digest from past cross join lateral (
                        select counts, digest from there
                        where id < past.counts order by id desc limit 1) before
                 ), candidates (counts, digest) as (
                    select counts, digest from past
                    union all select 0, null where $1 <> ''
                 ), target as (
                    select c.counts, c.digest from candidates c, now_active n
                    where c.digest is distinct from n.digest order by c.counts desc limit 1
                 ), changed as (
                    insert into policy_activations
                        (digest, activated_at, activated_by, kind, biz_type, back_to, purpose)
                    select digest, $2, $3, 'active', $1, counts, $4 from target
                 ), recorded as (
                    insert into audit (at, actor, action, purpose, details)
                    select $2, $3, 'policy.rollback', $4,
                        json_build_object('policy', digest, 'biz_type', $1::text)::text
                    from target
                 )
                 select digest from target",
            )
            .bind(biz_type)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// Has a scene decided about by the general policy again. `false`: it has none of its own, or not
    /// the one that two persons agreed on, or the second person's consent does not count any more.
    pub async fn deactivate_policy(
        &self,
        biz_type: &str,
        agreed: Option<Agreed<'_>>,
        doing: &AuditContext,
    ) -> Result<bool> {
        // policies::deactivate: never the general one, which would leave nothing to decide by.
        self.once(async {
            sqlx::query_scalar(concat!(
                "with ",
                seconded!("$6", "$7", "$8"),
                ", own as materialized (
                    select digest from (
                        select digest from verdict_activations()
                        where kind = 'active' and biz_type = $1 and $1 <> ''
                        order by id desc limit 1) newest
                    where digest is not null and ($5::text is null or digest = $5)
                        and exists (select from consent)
                 ), changed as (
                    insert into policy_activations
                        (digest, activated_at, activated_by, kind, biz_type, purpose)
                    select null, $2, $3, 'active', $1, $4 from own returning 1
                 ), recorded as (
                    insert into audit (at, actor, action, purpose, details)
                    select $2, $3, 'policy.deactivate', $4,
                        json_build_object('policy', digest, 'biz_type', $1::text,
                            'proposal', $6::uuid)::text
                    from own
                 )
                 select exists (select from changed)"
            ))
            .bind(biz_type)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .bind(agreed.map(|agreed| agreed.policy))
            .bind(agreed.map(|agreed| agreed.second.proposal))
            .bind(agreed.map(|agreed| agreed.second.key.0))
            .bind(agreed.map(|agreed| agreed.second.person.as_str()))
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// The newest change of what is used; 0 if there was none.
    pub async fn newest_activation(&self) -> Result<i64> {
        self.run(|| async {
            sqlx::query_scalar(
                "select coalesce((select id from policy_activations order by id desc limit 1), 0)",
            )
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Every policy in use.
    pub async fn policies_in_use(&self) -> Result<Vec<InUse>> {
        self.run(|| async {
            sqlx::query_as(
                "select a.kind, a.biz_type, p.digest, p.body from (
                    select distinct on (kind, biz_type) kind, biz_type, digest
                    from policy_activations order by kind, biz_type, id desc) a
                 join policies p on p.digest = a.digest",
            )
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// The policy used in a scene, or of all that have none of their own (the empty text).
    pub async fn policy_in_use(&self, kind: Use, biz_type: &str) -> Result<Option<String>> {
        let newest: Option<Option<String>> = self
            .run(|| async {
                sqlx::query_scalar(
                    "select digest from policy_activations
                     where kind = $1 and biz_type = $2 order by id desc limit 1",
                )
                .bind(kind.as_str())
                .bind(biz_type)
                .fetch_optional(&self.pool)
                .await
            })
            .await?;
        Ok(newest.flatten())
    }

    /// Policies that have only ever been used in other scenes than these.
    pub async fn policies_of_other_scenes(&self, scenes: &[&str]) -> Result<Vec<String>> {
        self.run(|| async {
            sqlx::query_scalar(
                "select digest from policy_activations where digest is not null
                 group by digest having bool_and(biz_type <> '' and biz_type <> all ($1))",
            )
            .bind(scenes)
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// The text of one.
    pub async fn policy_text(&self, digest: &str) -> Result<Option<PolicyText>> {
        self.run(|| async {
            sqlx::query_as("select digest, body from policies where digest = $1")
                .bind(digest)
                .fetch_optional(&self.pool)
                .await
        })
        .await
    }

    /// All policies, newest first.
    pub async fn policies(&self) -> Result<Vec<PolicyRow>> {
        self.run(|| async {
            sqlx::query_as(
                "select digest, name, added_at from policies order by added_at desc, digest",
            )
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// Which policy was used when, newest first.
    pub async fn activations(&self) -> Result<Vec<Activation>> {
        self.run(|| async {
            sqlx::query_as(
                "select id, digest, activated_at, activated_by, kind, biz_type, purpose
                 from policy_activations order by id desc limit 1000",
            )
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// How a policy's newest [`MOST_COMPARED`] shadow decisions compare with those that counted, in
    /// these scenes; `None`: in all.
    pub async fn shadow_counts(
        &self,
        digest: &str,
        scenes: Option<&[&str]>,
    ) -> Result<Vec<ShadowCount>> {
        self.run(|| async {
            sqlx::query_as(
                "select active_outcome, outcome, count(*) as count from (
                    select s.active_outcome, s.outcome from shadow_decisions s
                    where s.policy_digest = $1 and ($3::text[] is null or exists (
                        select from verifications v
                        where v.id = s.verification_id and v.biz_type = any ($3)))
                    order by s.decision_id desc limit $2) newest
                 group by 1, 2 order by 1, 2",
            )
            .bind(digest)
            .bind(MOST_COMPARED)
            .bind(scenes)
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// The active policy of scenes that have none of their own.
    pub async fn active_policy(&self) -> Result<Option<PolicyText>> {
        self.run(|| async {
            sqlx::query_as(
                "select p.digest, p.body from policy_activations a join policies p using (digest)
                 where a.kind = 'active' and a.biz_type = '' order by a.id desc limit 1",
            )
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }
}
