//! The person's data: reading it, recorded, and forgetting it.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::{Result, Store};
use crate::domain::ids::VerificationId;

/// What an answer said of the person, sealed, with the wrapped key that opens it.
#[derive(Clone, Debug, FromRow)]
pub struct SealedMaterial {
    /// The answer it came with.
    pub result_id: Uuid,
    /// When that answer had come.
    pub fetched_at: OffsetDateTime,
    /// Ciphertext.
    pub sealed: Vec<u8>,
    /// Which key wraps the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped: Vec<u8>,
}

/// What was destroyed, and when.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Receipt {
    /// Whose.
    pub verification_id: Uuid,
    /// From then on nothing was written about the person.
    pub requested_at: OffsetDateTime,
    /// `None`: a worker still has to.
    pub completed_at: Option<OffsetDateTime>,
    /// Wrapped data keys destroyed.
    pub data_keys: i32,
    /// Sealed answers made unreadable by that.
    pub answers: i32,
    /// Rows of material deleted.
    pub material: i32,
    /// Callbacks redacted.
    pub callbacks: i32,
    /// Objects deleted from the object store.
    pub images: i32,
    /// When the stored evidence was coarsened; `None`: a worker still has to.
    pub coarsened_at: Option<OffsetDateTime>,
}

/// Erasures whose evidence one statement coarsens.
const COARSENED_AT_ONCE: i64 = 100;

impl Store {
    /// The newest material of a verification; that it was read is recorded by the same statement.
    pub async fn read_material(
        &self,
        id: VerificationId,
        doing: &AuditContext,
    ) -> Result<Option<SealedMaterial>> {
        // material::read: no row leaves the database unless its reading is on record.
        self.once(async {
            sqlx::query_as(
                "with wanted as (
                    select m.result_id, r.fetched_at, m.sealed, k.key_id, k.wrapped
                    from (select * from material where verification_id = $1
                          order by verification_id desc, result_id desc limit 1) m
                    join results r on r.id = m.result_id
                    join data_keys k on k.verification_id = $1
                 ), recorded as (
                    insert into audit (at, actor, action, subject, purpose, details)
                    select $2, $3, 'material.read', $1, $4,
                        json_build_object('result', result_id)::text
                    from wanted returning 1
                 )
                 select wanted.* from wanted, recorded",
            )
            .bind(id.0)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// Forgets the person of one verification: the receipt, the same one if it was done before;
    /// `None` if there is no such verification.
    ///
    /// In two statements, because what a completion commits while the first waits for it is seen
    /// by the second only. After the first nothing can be added any more; if the second does not
    /// come, [`Store::finish_erasures`] does it.
    pub async fn erase(&self, id: VerificationId, doing: &AuditContext) -> Result<Option<Receipt>> {
        if !self.begin_erasure(id, None, doing).await? {
            return Ok(None);
        }
        self.finish_erasure(id.0, doing.at).await?;
        self.receipt(id).await
    }

    /// Forgets the person of one verification if nothing was said about it since; `false`: spared.
    pub async fn erase_if_older(
        &self,
        id: VerificationId,
        than: OffsetDateTime,
        doing: &AuditContext,
    ) -> Result<bool> {
        if !self.begin_erasure(id, Some(than), doing).await? {
            return Ok(false);
        }
        self.finish_erasure(id.0, doing.at).await?;
        Ok(true)
    }

    /// Says that it is erased, unless something was said about it since that moment; whether it
    /// is, now or from before.
    async fn begin_erasure(
        &self,
        id: VerificationId,
        unless_since: Option<OffsetDateTime>,
        doing: &AuditContext,
    ) -> Result<bool> {
        // material::begin_erasure: takes the lease away from whoever is asking about it, so that
        // no key, answer or material can be added. How old it is, is judged here: a callback may
        // have come since somebody looked.
        self.run(|| async {
            sqlx::query_scalar(
                "with erased as (
                    update verifications
                    set state = 'erased', closed = true, due_at = null, lease_token = null,
                        lease_until = null, reference = null, trace_parent = null, updated_at = greatest(updated_at, $2)
                    where id = $1 and state <> 'erased'
                        and ($5::timestamptz is null or updated_at < $5)
                    returning id
                 ), intent as (
                    insert into erasures (verification_id, requested_at, requested_by, purpose)
                    select id, $2, $3, coalesce($4, '') from erased
                 ), recorded as (
                    insert into audit (at, actor, action, subject, purpose)
                    select $2, $3, 'verification.erase', id, $4 from erased
                 )
                 select exists (select from erased) or exists (
                    select from verifications
                    where id = $1 and ($5::timestamptz is null or state = 'erased'))",
            )
            .bind(id.0)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .bind(unless_since)
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Destroys what was to be destroyed by erasures that were cut short; answers how many. Objects
    /// in the object store have tasks of their own.
    pub async fn finish_erasures(&self, now: OffsetDateTime) -> Result<usize> {
        let open: Vec<Uuid> = self
            .run(|| async {
                sqlx::query_scalar(
                    "select verification_id from erasures
                     where completed_at is null and unreadable_at is null
                     order by requested_at limit 100",
                )
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        for id in &open {
            self.finish_erasure(*id, now).await?;
        }
        Ok(open.len())
    }

    /// Deletes digests and message ids of callbacks of persons who were erased by binaries that left them; answers
    /// of how many erasures, at most 1,000.
    pub async fn erase_old_digests(&self) -> Result<u64> {
        // material::erase_old_digests: an erasure that is not finished deletes its own.
        self.run(|| async {
            sqlx::query(
                "with found as (
                    select verification_id as id from erasures
                    where not digests_erased and unreadable_at is not null
                    order by verification_id limit 1000
                    for update skip locked
                 ), deleted as (
                    update callbacks set digest = null, salt = null,
                        message_id = 'erased-' || gen_random_uuid()
                    where verification_id = any (array(select id from found))
                        and digest is not null
                 )
                 update erasures set digests_erased = true
                 where verification_id = any (array(select id from found))",
            )
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }

    /// Coarsens the evidence of some erasures by earlier versions; answers how many.
    pub async fn coarsen_earlier_erasures(&self, now: OffsetDateTime) -> Result<u64> {
        // material::coarsen_earlier: several workers share the work, each takes what nobody has.
        self.run(|| async {
            sqlx::query(
                "with batch as materialized (
                    select e.verification_id as id from erasures e
                    where e.coarsened_at is null and e.unreadable_at is not null
                        and exists (
                            select from verifications
                            where id = e.verification_id and state = 'erased')
                    order by e.verification_id limit $2 for update of e skip locked
                 ), coarsened as materialized (
                    select id, verdict_coarsen_erased(id) from batch
                 )
                 update erasures set coarsened_at = $1
                 where verification_id = any (array(select id from coarsened))",
            )
            .bind(now)
            .bind(COARSENED_AT_ONCE)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }

    async fn finish_erasure(&self, id: Uuid, now: OffsetDateTime) -> Result<()> {
        // material::finish_erasure: all or nothing, and once: the receipt tells what this
        // statement destroyed.
        self.run(|| async {
            sqlx::query(
                "with open as (
                    select verification_id as id from erasures
                    where verification_id = $1 and completed_at is null and unreadable_at is null
                    for update
                 ), keys as (
                    delete from data_keys where verification_id = (select id from open) returning 1
                 ), persons as (
                    delete from material where verification_id = (select id from open) returning 1
                 ), redacted as (
                    update callbacks
                    set occurred_at = null, hint_audit = null, hint_code = null,
                        hint_platform = null, answer_reference = null, digest = null, salt = null,
                        message_id = 'erased-' || gen_random_uuid()
                    where verification_id = (select id from open) returning 1
                 ), given_up as (
                    delete from tasks
                    where verification_id = (select id from open) and kind = 'archive'
                    returning attempts, lease_until
                 ), follow_up as (
                    -- Ciphertext that nothing opens any more. Whoever was archiving at this moment
                    -- loses the lease and removes what it has put; the deadline says until when it
                    -- may have gone on, and so when to look again in case it was killed.
                    insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
                    select id, 'delete-images', id, verdict_now(),
                        coalesce((select max(greatest(lease_until, verdict_now() + interval '1 microsecond'))
                                  from given_up where attempts > 0), verdict_now()),
                        verdict_now()
                    from open
                    -- A task that is seen and not given up has ended while this waited for it, and
                    -- its images are not seen.
                    where exists (select from tasks where verification_id = open.id)
                        or exists (select from images where verification_id = open.id)
                    on conflict (id) do update
                    set due_at = verdict_now(), deadline = greatest(tasks.deadline, excluded.deadline)
                    returning 1
                 ), coarsened as materialized (
                    -- After archiving was given up: until then rows of images may be added.
                    select verdict_coarsen_erased(id) as answers from open
                    where (select count(*) from given_up) >= 0
                 ), receipt as (
                    update erasures
                    set unreadable_at = $2, digests_erased = true,
                        coarsened_at = case when (select answers from coarsened) >= 0 then $2 end,
                        completed_at = case when exists (select from follow_up) then null else $2 end,
                        data_keys = (select count(*) from keys),
                        material = (select count(*) from persons),
                        callbacks = (select count(*) from redacted),
                        answers = (select count(*) from results where verification_id = $1)
                    where verification_id = (select id from open)
                    returning verification_id, data_keys, answers, material, callbacks
                 )
                 insert into audit (at, actor, action, subject, details)
                 select $2, 'service', 'verification.erased', verification_id,
                    json_build_object('data_keys', data_keys, 'answers', answers,
                        'material', material, 'callbacks', callbacks)::text
                 from receipt",
            )
            .bind(id)
            .bind(now)
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// What was destroyed of a verification.
    pub async fn receipt(&self, id: VerificationId) -> Result<Option<Receipt>> {
        self.run(|| async {
            sqlx::query_as(
                "select verification_id, requested_at, completed_at, data_keys, answers, material,
                    callbacks, images, coarsened_at
                 from erasures where verification_id = $1",
            )
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// All verifications with material of the person with this blind index.
    pub async fn verifications_of_person(&self, person: &[u8; 32]) -> Result<Vec<VerificationId>> {
        let ids: Vec<Uuid> = self
            .run(|| async {
                sqlx::query_scalar(
                    "select distinct verification_id from material where person = $1 order by 1",
                )
                .bind(&person[..])
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        Ok(ids.into_iter().map(VerificationId).collect())
    }
}
