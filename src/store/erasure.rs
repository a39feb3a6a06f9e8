//! Forgetting a person: the erasure, its receipt, and the objects that are deleted later.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use super::tasks::Task;
use super::transaction::{Done, Transaction};
use crate::domain::erasure::WITH_COPIES;
use crate::domain::ids::VerificationId;
use policy::product::Product;

/// Number of destroyed items, and the times of an erasure.
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
    /// The provider has a copy that it deletes.
    pub has_provider_copy: bool,
    /// When the provider had deleted its copy.
    pub provider_copy_deleted_at: Option<OffsetDateTime>,
    /// Objects in the customer's own bucket, which the provider does not delete.
    pub bucket_objects: Vec<String>,
}

/// What became of an erasure that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// Now or before; the receipt is the same.
    Done(Receipt),
    /// A legal hold forbids it: nothing was changed.
    OnHold,
    NotFound,
}

impl Erased {
    pub fn receipt(self) -> Option<Receipt> {
        match self {
            Self::Done(receipt) => Some(receipt),
            Self::OnHold | Self::NotFound => None,
        }
    }
}

/// State of an erasure after a verification's objects were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// All are deleted and none can be added.
    Complete,
    /// All are deleted. A second pass follows when the last write that may be under way has ended.
    OnceMore,
    /// Another worker has the task; nothing was written.
    LeaseLost,
}

/// Erasures whose evidence one statement coarsens.
const COARSENED_AT_ONCE: i64 = 100;

/// Erasing persons.
#[derive(Clone, Copy, Debug)]
pub struct Erasures<'a>(pub(super) &'a Store);

impl Store {
    /// Erasing persons.
    pub fn erasures(&self) -> Erasures<'_> {
        Erasures(self)
    }
}

impl Erasures<'_> {
    /// Forgets the person of one verification, unless a legal hold forbids it. A start and the
    /// verification that answers for it are one session: the other one is erased, too, unless it is
    /// held.
    ///
    /// In two statements, because what a completion commits while the first waits for it is seen
    /// by the second only. After the first nothing can be added any more; if the second does not
    /// come, [`Self::finish_erasures`] does it.
    pub async fn erase(self, id: VerificationId, doing: &AuditContext) -> Result<Erased> {
        match self.begin_erasure(id, None, doing).await? {
            None => return Ok(Erased::NotFound),
            Some(false) => return Ok(Erased::OnHold),
            Some(true) => {}
        }
        self.finish_erasure(id.0, doing.at).await?;
        let others = self.0.run(|| find_of_same_session(id.0).fetch_all(&self.0.pool)).await?;
        for other in others {
            if self.begin_erasure(VerificationId(other), None, doing).await? == Some(true) {
                self.finish_erasure(other, doing.at).await?;
            }
        }
        Ok(self.receipt(id).await?.map_or(Erased::NotFound, Erased::Done))
    }

    /// Erases the person of one verification, unless it was updated since `than` or is under a legal
    /// hold; `false`: not erased.
    pub async fn erase_if_older(
        self,
        id: VerificationId,
        than: OffsetDateTime,
        doing: &AuditContext,
    ) -> Result<bool> {
        if self.begin_erasure(id, Some(than), doing).await? != Some(true) {
            return Ok(false);
        }
        self.finish_erasure(id.0, doing.at).await?;
        Ok(true)
    }

    /// Marks the verification as erased, unless it was updated since `unless_since` or is under a
    /// legal hold (the trigger `verifications_held` leaves the row as it is). Answers whether it is
    /// erased, now or from before; `None` if there is no such verification.
    async fn begin_erasure(
        self,
        id: VerificationId,
        unless_since: Option<OffsetDateTime>,
        doing: &AuditContext,
    ) -> Result<Option<bool>> {
        // Revokes the lease of a running fetch, so that no key, answer or
        // material can be added. The statement itself checks the age: a callback may have arrived
        // since the caller read it.
        let began = self
            .0
            .run(|| {
                begin_erasure(
                    id.0,
                    doing.at,
                    &doing.actor,
                    doing.purpose.as_deref(),
                    unless_since,
                    &WITH_COPIES.map(Product::as_str),
                )
                .fetch_one(&self.0.pool)
            })
            .await?;
        if began {
            return Ok(Some(true));
        }
        // With a new statement: an erasure at the same moment may have been first.
        self.0.run(|| find_erased(id.0).fetch_optional(&self.0.pool)).await
    }

    /// Completes interrupted erasures; answers how many. Separate tasks delete the objects in the
    /// object store.
    pub async fn finish_erasures(self, now: OffsetDateTime) -> Result<usize> {
        let open: Vec<Uuid> = self.0.run(|| find_open_erasures().fetch_all(&self.0.pool)).await?;
        for id in &open {
            self.finish_erasure(*id, now).await?;
        }
        Ok(open.len())
    }

    /// Deletes digests and message ids of callbacks of persons who were erased by binaries that left them; answers
    /// of how many erasures, at most 1,000.
    pub async fn erase_old_digests(self) -> Result<u64> {
        // An erasure that is not finished deletes its own.
        self.0
            .run(|| async {
                erase_old_digests().execute(&self.0.pool).await.map(|done| done.rows_affected())
            })
            .await
    }

    /// Coarsens the evidence of some erasures by earlier versions; answers how many.
    pub async fn coarsen_earlier_erasures(self, now: OffsetDateTime) -> Result<u64> {
        // Several workers share the work, each takes what nobody has.
        self.0
            .run(|| async {
                coarsen_earlier(now, COARSENED_AT_ONCE)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected())
            })
            .await
    }

    async fn finish_erasure(self, id: Uuid, now: OffsetDateTime) -> Result<()> {
        self.0
            .run(|| async {
                let mut transaction = self.0.pool.begin().await?;
                // Once: the receipt tells what this transaction destroyed.
                if lock_open_erasure(id).fetch_optional(&mut transaction).await?.is_some() {
                    destroy(&mut transaction, id, now).await?;
                }
                transaction.commit().await
            })
            .await
    }

    pub async fn receipt(self, id: VerificationId) -> Result<Option<Receipt>> {
        self.0.run(|| find_receipt(id.0).fetch_optional(&self.0.pool)).await
    }

    /// Records that all existing objects of a verification were deleted: deletes the rows of its
    /// images and completes its erasure, unless a write may still be under way. In that case the
    /// task runs once more. `late` is how long a write continues after its worker lost the lease.
    pub async fn images_deleted(
        self,
        task: &Task,
        late: Duration,
        at: OffsetDateTime,
    ) -> Result<Swept> {
        // Fenced. The receipt counts what the task has noted, in all its passes.
        self.0
            .run(|| async {
                let mut transaction = self.0.pool.begin().await?;
                let (id, token) = (task.id, task.lease_token.0);
                let held = lock_sweep(id, token, late.as_secs_f64())
                    .fetch_optional(&mut transaction)
                    .await?;
                let swept = match held {
                    None => Swept::LeaseLost,
                    Some((verification, last_write, objects)) => {
                        delete_images(verification).execute(&mut transaction).await?;
                        let completed_at = last_write.is_none().then_some(at);
                        let all = note_objects(verification, completed_at, objects)
                            .fetch_optional(&mut transaction)
                            .await?;
                        if let Some(last_write) = last_write {
                            sweep_again(id, last_write).execute(&mut transaction).await?;
                            Swept::OnceMore
                        } else {
                            end(id).execute(&mut transaction).await?;
                            record_deleted(at, verification, all.unwrap_or(objects))
                                .execute(&mut transaction)
                                .await?;
                            Swept::Complete
                        }
                    }
                };
                transaction.commit().await?;
                Ok(swept)
            })
            .await
    }

    /// Whether the person of this verification was forgotten.
    pub async fn is_erased(self, id: VerificationId) -> Result<bool> {
        self.0.run(|| is_erased(id.0).fetch_one(&self.0.pool)).await
    }
}

/// All or nothing.
async fn destroy(transaction: &mut Transaction, id: Uuid, now: OffsetDateTime) -> Done<()> {
    let data_keys = destroy_keys(id).execute(&mut *transaction).await?.rows_affected();
    let material = delete_material(id).execute(&mut *transaction).await?.rows_affected();
    let callbacks = redact_callbacks(id).execute(&mut *transaction).await?.rows_affected();
    // A worker that is archiving these images loses the lease and removes the objects it has put.
    // The deadline is the time until which it may continue, and the time of the second pass in case
    // it was killed.
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
    scalar begin_erasure(
        id: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        unless_since: Option<OffsetDateTime>,
        with_copies: &[&str],
    ) -> bool = include_str!("sql/erasure_begin_erasure.sql");

    scalar find_of_same_session(verification: Uuid) -> Uuid =
        "select id from verifications where answered_by = $1
         union select answered_by from verifications where id = $1 and answered_by is not null";

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
         returning case when attempts > 0 then greatest(lease_until, verdict_now()) end";

    /// Remaining objects in the object store are ciphertext that no key can open. Where a worker may
    /// still write, the deadline is later than the creation, although `verdict_now()` has moved on
    /// since the lease was read: [`lock_sweep`] tells the two cases apart by that.
    execute delete_images_later(
        verification: Uuid,
        may_write_until: Option<OffsetDateTime>,
        given_up: bool,
    ) =
        "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select $1, 'delete-images', $1, verdict_now(),
             case when $2::timestamptz is null then verdict_now()
                 else greatest($2, verdict_now() + interval '1 microsecond') end,
             verdict_now()
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
        "select e.verification_id, e.requested_at, e.completed_at, e.data_keys, e.answers,
             e.material, e.callbacks, e.images, e.coarsened_at,
             p.verification_id is not null as has_provider_copy,
             p.deleted_at as provider_copy_deleted_at,
             coalesce(p.bucket_objects, '{}') as bucket_objects
         from erasures e left join provider_deletions p using (verification_id)
         where e.verification_id = $1";

    /// The verification; the end of the last write that may still be under way, null: none is; how
    /// many objects were found that the receipt does not count yet.
    row lock_sweep(id: Uuid, token: Uuid, late: f64) -> (Uuid, Option<OffsetDateTime>, i32) =
        "select verification_id, case
             when deadline > created_at and deadline + make_interval(secs => $3) > verdict_now()
             then deadline + make_interval(secs => $3) end,
             coalesce(cardinality(objects_found), 0) - objects_counted
         from tasks where id = $1 and lease_token = $2 for update";

    execute delete_images(verification: Uuid) =
        "delete from images where verification_id = $1";

    execute sweep_again(id: Uuid, due_at: OffsetDateTime) =
        "update tasks set lease_token = null, lease_until = null, failures = 0, due_at = $2,
             objects_counted = coalesce(cardinality(objects_found), 0)
         where id = $1";

    scalar note_objects(
        verification: Uuid,
        completed_at: Option<OffsetDateTime>,
        objects: i32,
    ) -> i32 =
        "update erasures set completed_at = $2, images = images + $3
         where verification_id = $1 and completed_at is null and unreadable_at is not null
         returning images";

    execute record_deleted(at: OffsetDateTime, verification: Uuid, objects: i32) =
        "insert into audit (at, actor, action, subject, details)
         values ($1, 'service', 'verification.images-deleted', $2,
             json_build_object('objects', $3::int)::text)";

    scalar find_erased(id: Uuid) -> bool =
        "select state = 'erased' from verifications where id = $1";

    scalar is_erased(id: Uuid) -> bool =
        "select coalesce((select state = 'erased' from verifications where id = $1), true)";

    /// Ends the task that deleted the objects.
    execute end(id: Uuid) = "delete from tasks where id = $1";
}
