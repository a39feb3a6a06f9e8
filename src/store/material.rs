//! The person's data: reading it, recorded, and forgetting it.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::statements::statements;
use super::transaction::{Done, Transaction};
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
        self.once(
            read_newest(id.0, doing.at, &doing.actor, doing.purpose.as_deref())
                .fetch_optional(&self.pool),
        )
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
        self.run(|| {
            begin_erasure(id.0, doing.at, &doing.actor, doing.purpose.as_deref(), unless_since)
                .fetch_one(&self.pool)
        })
        .await
    }

    /// Destroys what was to be destroyed by erasures that were cut short; answers how many. Objects
    /// in the object store have tasks of their own.
    pub async fn finish_erasures(&self, now: OffsetDateTime) -> Result<usize> {
        let open: Vec<Uuid> = self.run(|| find_open_erasures().fetch_all(&self.pool)).await?;
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
            erase_old_digests().execute(&self.pool).await.map(|done| done.rows_affected())
        })
        .await
    }

    /// Coarsens the evidence of some erasures by earlier versions; answers how many.
    pub async fn coarsen_earlier_erasures(&self, now: OffsetDateTime) -> Result<u64> {
        // material::coarsen_earlier: several workers share the work, each takes what nobody has.
        self.run(|| async {
            coarsen_earlier(now, COARSENED_AT_ONCE)
                .execute(&self.pool)
                .await
                .map(|done| done.rows_affected())
        })
        .await
    }

    async fn finish_erasure(&self, id: Uuid, now: OffsetDateTime) -> Result<()> {
        self.run(|| async {
            let mut transaction = self.pool.begin().await?;
            // Once: the receipt tells what this transaction destroyed.
            if lock_open_erasure(id).fetch_optional(&mut transaction).await?.is_some() {
                destroy(&mut transaction, id, now).await?;
            }
            transaction.commit().await
        })
        .await
    }

    /// What was destroyed of a verification.
    pub async fn receipt(&self, id: VerificationId) -> Result<Option<Receipt>> {
        self.run(|| find_receipt(id.0).fetch_optional(&self.pool)).await
    }

    /// All verifications with material of the person with this blind index.
    pub async fn verifications_of_person(&self, person: &[u8; 32]) -> Result<Vec<VerificationId>> {
        let ids: Vec<Uuid> =
            self.run(|| find_verifications_of(&person[..]).fetch_all(&self.pool)).await?;
        Ok(ids.into_iter().map(VerificationId).collect())
    }
}

/// All or nothing.
async fn destroy(transaction: &mut Transaction, id: Uuid, now: OffsetDateTime) -> Done<()> {
    let data_keys = destroy_keys(id).execute(&mut *transaction).await?.rows_affected();
    let material = delete_material(id).execute(&mut *transaction).await?.rows_affected();
    let callbacks = redact_callbacks(id).execute(&mut *transaction).await?.rows_affected();
    // Whoever is archiving at this moment loses the lease and removes what it has put. The deadline
    // says until when it may go on, and so when to look again in case it was killed.
    let given_up = give_up_archiving(id).fetch_all(&mut *transaction).await?;
    let may_write_until = given_up.iter().flatten().max().copied();
    let follow_up = delete_images_later(id, may_write_until, !given_up.is_empty())
        .execute(&mut *transaction)
        .await?;
    // After archiving was given up: until then rows of images may be added.
    coarsen(id).fetch_one(&mut *transaction).await?;
    let completed_at = (follow_up.rows_affected() == 0).then_some(now);
    let [data_keys, material, callbacks] =
        [data_keys, material, callbacks].map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    let answers = note_destroyed(id, now, completed_at, data_keys, material, callbacks)
        .fetch_one(&mut *transaction)
        .await?;
    record_erased(id, now, data_keys, answers, material, callbacks)
        .execute(transaction)
        .await
        .map(drop)
}

statements! {
    row read_newest(
        id: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> SealedMaterial =
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
         select wanted.* from wanted, recorded";

    scalar begin_erasure(
        id: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        unless_since: Option<OffsetDateTime>,
    ) -> bool = include_str!("sql/material_begin_erasure.sql");

    scalar find_open_erasures() -> Uuid =
        "select verification_id from erasures
         where completed_at is null and unreadable_at is null
         order by requested_at limit 100";

    execute erase_old_digests() =
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
         where verification_id = any (array(select id from found))";

    execute coarsen_earlier(at: OffsetDateTime, most: i64) =
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
         where verification_id = any (array(select id from coarsened))";

    scalar lock_open_erasure(id: Uuid) -> Uuid =
        "select verification_id from erasures
         where verification_id = $1 and completed_at is null and unreadable_at is null
         for update";

    execute destroy_keys(verification: Uuid) =
        "delete from data_keys where verification_id = $1";

    execute delete_material(verification: Uuid) =
        "delete from material where verification_id = $1";

    execute redact_callbacks(verification: Uuid) =
        "update callbacks
         set occurred_at = null, hint_audit = null, hint_code = null, hint_platform = null,
             answer_reference = null, digest = null, salt = null,
             message_id = 'erased-' || gen_random_uuid()
         where verification_id = $1";

    /// Of each task, until when its worker may go on; null: none has begun.
    scalar give_up_archiving(verification: Uuid) -> Option<OffsetDateTime> =
        "delete from tasks where verification_id = $1 and kind = 'archive'
         returning case when attempts > 0
             then greatest(lease_until, verdict_now() + interval '1 microsecond') end";

    /// What is left in the object store is ciphertext that nothing opens any more.
    execute delete_images_later(
        verification: Uuid,
        may_write_until: Option<OffsetDateTime>,
        given_up: bool,
    ) =
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select $1, 'delete-images', $1, verdict_now(), coalesce($2, verdict_now()), verdict_now()
         where $3 or exists (select from tasks where verification_id = $1)
             or exists (select from images where verification_id = $1)
         on conflict (id) do update
         set due_at = verdict_now(), deadline = greatest(tasks.deadline, excluded.deadline)";

    scalar coarsen(verification: Uuid) -> Option<i32> = "select verdict_coarsen_erased($1)";

    scalar note_destroyed(
        verification: Uuid,
        at: OffsetDateTime,
        completed_at: Option<OffsetDateTime>,
        data_keys: i32,
        material: i32,
        callbacks: i32,
    ) -> i32 =
        "update erasures
         set unreadable_at = $2, digests_erased = true, coarsened_at = $2, completed_at = $3,
             data_keys = $4, material = $5, callbacks = $6,
             answers = (select count(*) from results where verification_id = $1)
         where verification_id = $1
         returning answers";

    execute record_erased(
        verification: Uuid,
        at: OffsetDateTime,
        data_keys: i32,
        answers: i32,
        material: i32,
        callbacks: i32,
    ) =
        "insert into audit (at, actor, action, subject, details)
         values ($2, 'service', 'verification.erased', $1,
             json_build_object('data_keys', $3::int, 'answers', $4::int, 'material', $5::int,
                 'callbacks', $6::int)::text)";

    row find_receipt(id: Uuid) -> Receipt =
        "select verification_id, requested_at, completed_at, data_keys, answers, material,
             callbacks, images, coarsened_at
         from erasures where verification_id = $1";

    scalar find_verifications_of(person: &[u8]) -> Uuid =
        "select distinct verification_id from material where person = $1 order by 1";
}
