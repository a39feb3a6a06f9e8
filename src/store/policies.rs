//! Policy texts by digest, which one is active where, and which one runs beside it.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::proposals::{Second, consents};
use super::statements::statements;
use super::transaction::{Done, Transaction};
use uuid::Uuid;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Use {
    /// It decides.
    Active,
    /// It decides beside, for comparison.
    Shadow,
}

impl Use {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
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

/// The result of [`Policies::use_policy`].
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

/// Policies, and which are in use.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a>(pub(super) &'a Store);

impl Store {
    /// Policies, and which are in use.
    pub fn policies(&self) -> Policies<'_> {
        Policies(self)
    }
}

impl Policies<'_> {
    /// Adds a policy and makes it active, if none is yet; a database that has one keeps its own.
    pub async fn seed_policy(
        self,
        digest: &str,
        name: &str,
        body: &str,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // `count_activations` makes the second of two replicas that start together see the first
        // one's activation.
        self.0
            .run(|| async {
                let mut transaction = self.0.pool.begin().await?;
                let is_empty = count_activations().fetch_one(&mut transaction).await? == 0;
                if is_empty {
                    add_text(digest, name, body, now).execute(&mut transaction).await?;
                    record_seed(now, digest).execute(&mut transaction).await?;
                    activate_seed(digest, now).execute(&mut transaction).await?;
                }
                transaction.commit().await?;
                Ok(is_empty)
            })
            .await
    }

    /// Adds a policy text that was checked; `false`: it was there already.
    pub async fn add_policy(
        self,
        digest: &str,
        name: &str,
        body: &str,
        doing: &AuditContext,
    ) -> Result<bool> {
        // A text is added once, and who added it is on record.
        self.0
            .run(|| {
                add(digest, name, body, doing.at, &doing.actor, doing.purpose.as_deref())
                    .fetch_one(&self.0.pool)
            })
            .await
    }

    /// Has a policy used from now on, or, for shadows and scenes, none.
    pub async fn use_policy(
        self,
        kind: Use,
        biz_type: &str,
        digest: Option<&str>,
        second: Option<&Second>,
        doing: &AuditContext,
    ) -> Result<Changed> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let change = Change { kind, biz_type, digest, second, doing };
                let changed = activate(&mut transaction, &change).await?;
                transaction.commit().await?;
                Ok(changed)
            })
            .await
    }

    /// Makes the shadow of a scene the active policy, and ends the shadow; the digest. `None`:
    /// there is no shadow, or not the one that two persons agreed on, or the second person's consent
    /// does not count any more.
    pub async fn promote_shadow(
        self,
        biz_type: &str,
        agreed: Option<Agreed<'_>>,
        doing: &AuditContext,
    ) -> Result<Option<String>> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let shadow = promote(&mut transaction, biz_type, agreed, doing).await?;
                transaction.commit().await?;
                Ok(shadow)
            })
            .await
    }

    /// Activates again what was active in a scene before the policy that is now; its digest, or
    /// none where the scene has no policy of its own again. `None`: there was nothing before.
    ///
    /// What was rolled back is gone: the next rollback goes back from what counts again, not to
    /// what did not prove good.
    pub async fn roll_back_policy(
        self,
        biz_type: &str,
        doing: &AuditContext,
    ) -> Result<Option<Option<String>>> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let target = find_rollback(biz_type).fetch_optional(&mut transaction).await?;
                if let Some((counts, digest)) = &target {
                    let (at, actor) = (doing.at, &doing.actor);
                    let (digest, purpose) = (digest.as_deref(), doing.purpose.as_deref());
                    record_rollback(at, actor, purpose, digest, biz_type)
                        .execute(&mut transaction)
                        .await?;
                    add_activation(digest, at, actor, "active", biz_type, purpose, Some(*counts))
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await?;
                Ok(target.map(|(_, digest)| digest))
            })
            .await
    }

    /// Has a scene decided about by the general policy again. `false`: it has none of its own, or not
    /// the one that two persons agreed on, or the second person's consent does not count any more.
    pub async fn deactivate_policy(
        self,
        biz_type: &str,
        agreed: Option<Agreed<'_>>,
        doing: &AuditContext,
    ) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let done = deactivate(&mut transaction, biz_type, agreed, doing).await?;
                transaction.commit().await?;
                Ok(done)
            })
            .await
    }

    /// The newest change of what is used; 0 if there was none.
    pub async fn newest_activation(self) -> Result<i64> {
        self.0.run(|| newest_activation().fetch_one(&self.0.pool)).await
    }

    /// Every policy in use.
    pub async fn policies_in_use(self) -> Result<Vec<InUse>> {
        self.0.run(|| find_in_use().fetch_all(&self.0.pool)).await
    }

    /// The policy that a rollback in a scene would activate; the inner `None`: the scene would
    /// follow the general policy. `None`: there is nothing to go back to.
    pub async fn rollback_target(self, biz_type: &str) -> Result<Option<Option<String>>> {
        let target = self.0.run(|| find_rollback(biz_type).fetch_optional(&self.0.pool)).await?;
        Ok(target.map(|(_, digest)| digest))
    }

    /// The policy used in a scene, or of all that have none of their own (the empty text).
    pub async fn policy_in_use(self, kind: Use, biz_type: &str) -> Result<Option<String>> {
        let newest: Option<Option<String>> = self
            .0
            .run(|| find_used_in(kind.as_str(), biz_type).fetch_optional(&self.0.pool))
            .await?;
        Ok(newest.flatten())
    }

    /// Policies that have only ever been used in other scenes than these.
    pub async fn policies_of_other_scenes(self, scenes: &[&str]) -> Result<Vec<String>> {
        self.0.run(|| used_elsewhere_only(scenes).fetch_all(&self.0.pool)).await
    }

    /// The text of one.
    pub async fn policy_text(self, digest: &str) -> Result<Option<PolicyText>> {
        self.0.run(|| find_text(digest).fetch_optional(&self.0.pool)).await
    }

    /// All policies, newest first.
    pub async fn list(self) -> Result<Vec<PolicyRow>> {
        self.0.run(|| list().fetch_all(&self.0.pool)).await
    }

    /// Which policy was used when, newest first.
    pub async fn activations(self) -> Result<Vec<Activation>> {
        self.0.run(|| list_activations().fetch_all(&self.0.pool)).await
    }

    /// How a policy's newest [`MOST_COMPARED`] shadow decisions compare with those that counted, in
    /// these scenes; `None`: in all.
    pub async fn shadow_counts(
        self,
        digest: &str,
        scenes: Option<&[&str]>,
    ) -> Result<Vec<ShadowCount>> {
        self.0.run(|| count_shadow(digest, MOST_COMPARED, scenes).fetch_all(&self.0.pool)).await
    }

    /// The active policy of scenes without their own policy.
    pub async fn active_policy(self) -> Result<Option<PolicyText>> {
        self.0.run(|| find_active().fetch_optional(&self.0.pool)).await
    }
}

/// A change of the policy in use, for one scene or for all scenes without their own policy.
struct Change<'a> {
    kind: Use,
    biz_type: &'a str,
    digest: Option<&'a str>,
    second: Option<&'a Second>,
    doing: &'a AuditContext,
}

impl Change<'_> {
    /// On record first: the database refuses an activation whose record is not the newest.
    async fn write(&self, transaction: &mut Transaction, action: &str) -> Done<()> {
        let (at, actor) = (self.doing.at, &self.doing.actor);
        let purpose = self.doing.purpose.as_deref();
        let proposal = self.second.map(|second| second.proposal);
        record_change(at, actor, action, purpose, self.digest, self.biz_type, proposal)
            .execute(&mut *transaction)
            .await?;
        self.add(transaction).await
    }

    async fn add(&self, transaction: &mut Transaction) -> Done<()> {
        let (at, actor) = (self.doing.at, &self.doing.actor);
        let (kind, purpose) = (self.kind.as_str(), self.doing.purpose.as_deref());
        add_activation(self.digest, at, actor, kind, self.biz_type, purpose, None)
            .execute(transaction)
            .await?;
        Ok(())
    }
}

async fn activate(transaction: &mut Transaction, change: &Change<'_>) -> Done<Changed> {
    if !consents(transaction, change.second).await? {
        return Ok(Changed::Refused);
    }
    let kind = change.kind.as_str();
    let before = find_newest(kind, change.biz_type).fetch_optional(&mut *transaction).await?;
    if let Some(digest) = change.digest
        && !is_known(digest).fetch_one(&mut *transaction).await?
    {
        return Ok(Changed::Refused);
    }
    // A policy that is already in use is neither activated nor recorded again.
    if before.flatten().as_deref() == change.digest {
        return Ok(Changed::Before);
    }
    change.write(transaction, &format!("policy.{kind}")).await?;
    Ok(Changed::Now)
}

/// The scene's own policy of this kind, if two persons agreed on exactly this policy.
async fn own(
    transaction: &mut Transaction,
    kind: Use,
    biz_type: &str,
    agreed: Option<Agreed<'_>>,
) -> Done<Option<String>> {
    if !consents(transaction, agreed.map(|agreed| agreed.second)).await? {
        return Ok(None);
    }
    let newest = find_newest(kind.as_str(), biz_type).fetch_optional(transaction).await?;
    let meant = |digest: &String| agreed.is_none_or(|agreed| agreed.policy == digest);
    Ok(newest.flatten().filter(meant))
}

async fn promote(
    transaction: &mut Transaction,
    biz_type: &str,
    agreed: Option<Agreed<'_>>,
    doing: &AuditContext,
) -> Done<Option<String>> {
    let shadow = own(transaction, Use::Shadow, biz_type, agreed).await?;
    if let Some(digest) = shadow.as_deref() {
        let second = agreed.map(|agreed| agreed.second);
        let (kind, digest) = (Use::Active, Some(digest));
        let active = Change { kind, biz_type, digest, second, doing };
        active.write(transaction, "policy.promote").await?;
        Change { kind: Use::Shadow, digest: None, ..active }.add(transaction).await?;
    }
    Ok(shadow)
}

/// Never the general one, which would leave nothing to decide by.
async fn deactivate(
    transaction: &mut Transaction,
    biz_type: &str,
    agreed: Option<Agreed<'_>>,
    doing: &AuditContext,
) -> Done<bool> {
    let own = own(transaction, Use::Active, biz_type, agreed).await?;
    let Some(digest) = own.filter(|_| !biz_type.is_empty()) else { return Ok(false) };
    let (kind, second) = (Use::Active, agreed.map(|agreed| agreed.second));
    let (at, actor, purpose) = (doing.at, &doing.actor, doing.purpose.as_deref());
    let proposal = second.map(|second| second.proposal);
    record_change(at, actor, "policy.deactivate", purpose, Some(&digest), biz_type, proposal)
        .execute(&mut *transaction)
        .await?;
    Change { kind, biz_type, digest: None, second, doing }.add(transaction).await?;
    Ok(true)
}

statements! {
    /// Here and below, `verdict_activations` lets one change follow the other, to the end of its
    /// transaction: a replica that has seen an id misses none below it.
    scalar count_activations() -> i64 = "select count(*) from verdict_activations()";

    scalar find_newest(kind: &str, biz_type: &str) -> Option<String> =
        "select digest from verdict_activations()
         where kind = $1 and biz_type = $2 order by id desc limit 1";

    /// Goes from what counts now to what counted before it was activated, and so on; activation 0
    /// stands for none.
    row find_rollback(biz_type: &str) -> (i64, Option<String>) =
        include_str!("sql/policies_find_rollback.sql");

    scalar is_known(digest: &str) -> bool =
        "select exists (select from policies where digest = $1)";

    execute add_text(digest: &str, name: &str, body: &str, at: OffsetDateTime) =
        "insert into policies (digest, name, body, added_at) values ($1, $2, $3, $4)
         on conflict (digest) do nothing";

    execute record_seed(at: OffsetDateTime, digest: &str) =
        "insert into audit (at, actor, action, details)
         values ($1, 'service', 'policy.seed', json_build_object('policy', $2::text)::text)";

    /// Names no scene: the roles that seed may not.
    execute activate_seed(digest: &str, at: OffsetDateTime) =
        "insert into policy_activations (digest, activated_at, activated_by)
         values ($1, $2, 'seed')";

    execute add_activation(
        digest: Option<&str>,
        at: OffsetDateTime,
        actor: &str,
        kind: &str,
        biz_type: &str,
        purpose: Option<&str>,
        back_to: Option<i64>,
    ) =
        "insert into policy_activations
             (digest, activated_at, activated_by, kind, biz_type, purpose, back_to)
         values ($1, $2, $3, $4, $5, $6, $7)";

    execute record_change(
        at: OffsetDateTime,
        actor: &str,
        action: &str,
        purpose: Option<&str>,
        digest: Option<&str>,
        biz_type: &str,
        proposal: Option<Uuid>,
    ) =
        "insert into audit (at, actor, action, purpose, details)
         values ($1, $2, $3, $4, json_build_object('policy', $5::text, 'biz_type', $6::text,
             'proposal', $7::uuid)::text)";

    execute record_rollback(
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        digest: Option<&str>,
        biz_type: &str,
    ) =
        "insert into audit (at, actor, action, purpose, details)
         values ($1, $2, 'policy.rollback', $3,
             json_build_object('policy', $4::text, 'biz_type', $5::text)::text)";

    scalar add(
        digest: &str,
        name: &str,
        body: &str,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> bool =
        "with added as (
             insert into policies (digest, name, body, added_at) values ($1, $2, $3, $4)
             on conflict (digest) do nothing returning 1
         ), recorded as (
             insert into audit (at, actor, action, purpose, details)
             select $4, $5, 'policy.add', $6, json_build_object('policy', $1::text)::text
             from added
         )
         select exists (select from added)";

    scalar newest_activation() -> i64 =
        "select coalesce((select id from policy_activations order by id desc limit 1), 0)";

    row find_in_use() -> InUse =
        "select a.kind, a.biz_type, p.digest, p.body from (
             select distinct on (kind, biz_type) kind, biz_type, digest
             from policy_activations order by kind, biz_type, id desc) a
         join policies p on p.digest = a.digest";

    scalar find_used_in(kind: &str, biz_type: &str) -> Option<String> =
        "select digest from policy_activations
         where kind = $1 and biz_type = $2 order by id desc limit 1";

    scalar used_elsewhere_only(scenes: &[&str]) -> String =
        "select digest from policy_activations where digest is not null
         group by digest having bool_and(biz_type <> '' and biz_type <> all ($1))";

    row find_text(digest: &str) -> PolicyText =
        "select digest, body from policies where digest = $1";

    row list() -> PolicyRow =
        "select digest, name, added_at from policies order by added_at desc, digest";

    row list_activations() -> Activation =
        "select id, digest, activated_at, activated_by, kind, biz_type, purpose
         from policy_activations order by id desc limit 1000";

    row count_shadow(digest: &str, most: i64, scenes: Option<&[&str]>) -> ShadowCount =
        "select active_outcome, outcome, count(*) as count from (
             select s.active_outcome, s.outcome from shadow_decisions s
             where s.policy_digest = $1 and ($3::text[] is null or (
                 select true from verifications v
                 where v.id = s.verification_id and v.biz_type = any ($3) limit 1))
             order by s.decision_id desc limit $2) newest
         group by 1, 2 order by 1, 2";

    row find_active() -> PolicyText =
        "select p.digest, p.body from policy_activations a join policies p using (digest)
         where a.kind = 'active' and a.biz_type = '' order by a.id desc limit 1";
}
