//! Follow-up work: leased and fenced like verifications, nearest deadline first.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::claims::trace_of;
use super::images::SettledImage;
use super::statements::statements;
use super::{Error, Result, Store};
use crate::domain::ids::{LeaseToken, ResultId, VerificationId};
use crate::domain::trace::TraceParent;

/// Due tasks among which the nearest deadlines are looked for.
const WINDOW: i64 = 512;

/// What there is to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Fetch and keep the images of one result.
    Archive {
        /// The result.
        result: ResultId,
        /// Sealed links.
        links: Vec<u8>,
        /// The data key that opens them (id of its wrapping key, bytes); `None`: destroyed.
        data_key: Option<(String, Vec<u8>)>,
        /// Blind index of the person.
        person: Option<Vec<u8>>,
        /// The links' time is over.
        expired: bool,
        /// How many times the provider was asked again on the way here.
        minted: i32,
        /// Kinds that are settled already.
        settled: Vec<String>,
        /// It was asked again for this very task.
        asked_again: bool,
    },
    /// Remove everything of the verification from the object store.
    DeleteImages,
    /// Remove the objects of one result that have no row any more.
    RetireImages(ResultId),
    /// Go on with a backtest.
    Backtest,
}

impl Work {
    /// Its kind, as in the table and in metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "archive",
            Self::DeleteImages => "delete-images",
            Self::RetireImages(_) => "retire-images",
            Self::Backtest => "backtest",
        }
    }
}

/// One leased task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub verification: VerificationId,
    /// The fencing token of this claim.
    pub lease_token: LeaseToken,
    /// Failed tries in a row before this one.
    pub failures: i32,
    /// How long ago the work arose.
    pub age: Duration,
    /// The request at the beginning of it, where requests are traced.
    pub trace: Option<TraceParent>,
    /// What to do.
    pub work: Work,
}

/// What one attempt to claim tasks brought.
#[derive(Debug, Default)]
pub struct TaskClaim {
    /// Leased tasks, nearest deadline first.
    pub tasks: Vec<Task>,
    /// When the next one falls due that is not due yet.
    pub next_due: Option<Duration>,
}

/// What follows for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is done.
    Done,
    /// Again after this.
    Again(Duration),
    /// The provider is asked again after this, for links that live.
    AskAgain(Duration),
}

impl Store {
    /// Claims due tasks, except backtests: see [`Store::claim_backtest`]. `token` must be fresh; `takes` is how long following links takes these
    /// days: links that will die sooner count as dead, unless newer ones would not live longer.
    pub async fn claim_tasks(
        &self,
        most: usize,
        lease: Duration,
        takes: Duration,
        token: LeaseToken,
    ) -> Result<TaskClaim> {
        // tasks::claim: at most one worker holds a task, judged by the database's clock; where
        // nothing is due nothing is written. Lost in a crash it never was, so it needs no fsync.
        let rows = self
            .once(
                claim(
                    i64::try_from(most).unwrap_or(i64::MAX),
                    lease.as_secs_f64(),
                    token.0,
                    WINDOW,
                    takes.as_secs_f64(),
                )
                .fetch_all(&self.pool),
            )
            .await?;
        let first = rows.first().ok_or(Error::Inconsistent("a claim answers with no row"))?;
        let next_due: Option<f64> = first.try_get("next_due")?;
        let tasks = rows.iter().map(|row| claimed(row, token)).filter_map(Result::transpose);
        let tasks = tasks.collect::<Result<_>>()?;
        let next_due = next_due.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.001, 60.0)));
        Ok(TaskClaim { tasks, next_due })
    }

    /// Lengthens the leases of these tasks; answers with those still held.
    pub async fn renew_tasks(
        &self,
        held: &[(Uuid, LeaseToken)],
        lease: Duration,
    ) -> Result<Vec<Uuid>> {
        let (ids, tokens): (Vec<Uuid>, Vec<Uuid>) =
            held.iter().map(|(id, token)| (*id, token.0)).unzip();
        // tasks::renew: as for verifications.
        self.run(|| renew(&ids, &tokens, lease.as_secs_f64()).fetch_all(&self.pool)).await
    }

    /// Gives tasks back, due as before: for a graceful stop.
    pub async fn release_tasks(&self, held: &[(Uuid, LeaseToken)]) -> Result<u64> {
        let (ids, tokens): (Vec<Uuid>, Vec<Uuid>) =
            held.iter().map(|(id, token)| (*id, token.0)).unzip();
        // tasks::release: fenced like every write of a worker.
        self.run(|| async {
            release(&ids, &tokens).execute(&self.pool).await.map(|done| done.rows_affected())
        })
        .await
    }

    /// Writes what became of images, and what follows for their task; `false`: the lease was lost,
    /// nothing was written.
    pub async fn settle_images(
        &self,
        task: &Task,
        images: &[SettledImage],
        then: Then,
        at: OffsetDateTime,
    ) -> Result<bool> {
        let kinds: Vec<String> = images.iter().map(|image| image.kind.to_string()).collect();
        let states: Vec<&str> = images.iter().map(|image| image.fate.state()).collect();
        let reasons: Vec<Option<&str>> = images.iter().map(|image| image.fate.reason()).collect();
        let types: Vec<Option<&str>> = images.iter().map(|image| image.content_type).collect();
        // A list of lists of different lengths is no array in SQL.
        let unusual: Vec<Option<String>> = images
            .iter()
            .map(|image| (!image.unusual.is_empty()).then(|| image.unusual.join(",")))
            .collect();
        let bytes: Vec<Option<i32>> = images.iter().map(|image| image.bytes).collect();
        let digests: Vec<Option<&[u8]>> =
            images.iter().map(|image| image.sha256.as_ref().map(|digest| &digest[..])).collect();
        let persons: Vec<Option<&[u8]>> =
            images.iter().map(|image| image.person.as_deref()).collect();
        // Fenced. A question that is due already stays due as it is; nobody who was erased is asked
        // about.
        self.once(async {
            let mut transaction = self.pool.begin().await?;
            let (id, token) = (task.id, task.lease_token.0);
            let held = lock_task(id, token).fetch_optional(&mut transaction).await?;
            if let Some(verification) = held {
                add_images((
                    id,
                    verification,
                    at,
                    &kinds,
                    &states,
                    &reasons,
                    &types,
                    &bytes,
                    &digests,
                    &persons,
                    &unusual,
                ))
                .execute(&mut transaction)
                .await?;
                let follows = match then {
                    Then::Done => end(id),
                    Then::Again(wait) => reschedule(id, wait.as_secs_f64()),
                    Then::AskAgain(wait) => wait_for_links(id, (wait + LOOK_AFTER).as_secs_f64()),
                };
                follows.execute(&mut transaction).await?;
                if let Then::AskAgain(wait) = then {
                    ask_for_links(verification, wait.as_secs_f64())
                        .execute(&mut transaction)
                        .await?;
                }
            }
            transaction.commit().await?;
            Ok(held.is_some())
        })
        .await
    }

    /// What came of asking again for links: see [`AskedAgain`].
    pub async fn asked_again(&self, task: &Task) -> Result<AskedAgain> {
        let (followed, asking): (bool, bool) = self
            .run(|| find_newer_links(task.verification.0, task.id).fetch_one(&self.pool))
            .await?;
        Ok(match (followed, asking) {
            (true, _) => AskedAgain::Followed,
            (false, true) => AskedAgain::Waiting,
            (false, false) => AskedAgain::InVain,
        })
    }

    /// All objects of a verification that there were are deleted: its images are forgotten, and its
    /// erasure is complete, unless somebody may still be writing. `late` is how long a write goes
    /// on after its writer has lost the lease: until then the task comes once more.
    pub async fn images_deleted(
        &self,
        task: &Task,
        objects: usize,
        late: Duration,
        at: OffsetDateTime,
    ) -> Result<Swept> {
        // Fenced. The record says what all sweeps found.
        self.once(async {
            let mut transaction = self.pool.begin().await?;
            let (id, token) = (task.id, task.lease_token.0);
            let held =
                lock_sweep(id, token, late.as_secs_f64()).fetch_optional(&mut transaction).await?;
            let swept = match held {
                None => Swept::LeaseLost,
                Some((verification, last_write)) => {
                    delete_images(verification).execute(&mut transaction).await?;
                    let objects = i32::try_from(objects).unwrap_or(i32::MAX);
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

    /// Puts a task off that failed as a whole; `false`: the lease was lost.
    pub async fn put_task_off(
        &self,
        task: &Task,
        wait: Duration,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.settle_images(task, &[], Then::Again(wait), at).await
    }

    /// Forgets images that are older than that, of at most so many answers, and has their objects
    /// deleted. Those of an answer that is still being archived wait until it is.
    pub async fn retire_images(&self, older_than: OffsetDateTime, limit: i64) -> Result<u64> {
        // tasks::retire: only what is named goes. A result whose task is done gets no image any
        // more, so its objects without a row are those that went here; however many find the same,
        // there is one task.
        self.run(|| retire_images(older_than, limit).fetch_one(&self.pool))
            .await
            .map(|gone: i64| gone.unsigned_abs())
    }

    /// The kinds of images of a result that are still kept.
    pub async fn kinds_of(&self, result: ResultId) -> Result<Vec<String>> {
        self.run(|| find_kinds(result.0).fetch_all(&self.pool)).await
    }

    /// Objects of a result whose time was over are deleted; `false`: the lease was lost.
    pub async fn images_retired(
        &self,
        task: &Task,
        objects: usize,
        at: OffsetDateTime,
    ) -> Result<bool> {
        // tasks::images_retired: fenced; the task's end and the record go together.
        let held: i64 = self
            .run(|| {
                images_retired(
                    task.id,
                    task.lease_token.0,
                    at,
                    i32::try_from(objects).unwrap_or(i32::MAX),
                )
                .fetch_one(&self.pool)
            })
            .await?;
        Ok(held > 0)
    }

    /// Whether the person of this verification was forgotten.
    pub async fn is_erased(&self, id: VerificationId) -> Result<bool> {
        self.run(|| is_erased(id.0).fetch_one(&self.pool)).await
    }
}

/// After the provider was asked again, the first look at what came of it.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// What came of asking the provider again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedAgain {
    /// There are newer links, with a task of their own.
    Followed,
    /// The question is still open.
    Waiting,
    /// It was answered without links, or given up.
    InVain,
}

/// What deleting a verification's objects led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// All are gone and none can come.
    Complete,
    /// All are gone; it is looked again when the last write that may be under way has ended.
    OnceMore,
    /// Somebody else does it; nothing was written.
    LeaseLost,
}

/// `None`: nothing was claimed, and the only row says when something falls due.
fn claimed(row: &PgRow, lease_token: LeaseToken) -> Result<Option<Task>> {
    let _: Option<f64> = row.try_get("next_due")?;
    let id: Option<Uuid> = row.try_get("id")?;
    id.map(|_| task(row, lease_token)).transpose()
}

pub(super) fn task(row: &PgRow, lease_token: LeaseToken) -> Result<Task> {
    let id: Uuid = row.try_get("id")?;
    let kind: &str = row.try_get("kind")?;
    let key_id: Option<String> = row.try_get("key_id")?;
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped")?;
    let work = match kind {
        "archive" => Work::Archive {
            result: ResultId(id),
            links: row.try_get::<Option<_>, _>("links")?.unwrap_or_default(),
            data_key: key_id.zip(wrapped),
            person: row.try_get("person")?,
            expired: row.try_get("expired")?,
            minted: row.try_get("minted")?,
            settled: row.try_get::<Option<_>, _>("settled")?.unwrap_or_default(),
            asked_again: row.try_get("asked_again")?,
        },
        "delete-images" => Work::DeleteImages,
        "retire-images" => Work::RetireImages(ResultId(id)),
        "backtest" => Work::Backtest,
        _ => return Err(Error::Inconsistent("tasks.kind")),
    };
    let age: f64 = row.try_get("age")?;
    Ok(Task {
        id,
        verification: VerificationId(row.try_get("verification_id")?),
        lease_token,
        failures: row.try_get("failures")?,
        age: Duration::from_secs_f64(age.max(0.0)),
        trace: trace_of(row)?,
        work,
    })
}

statements! {
    read(|row| claimed(row, LeaseToken(Uuid::nil()))) claim(most: i64, lease: f64, token: Uuid, window: i64, takes: f64) =
        include_str!("sql/tasks_claim.sql");

    scalar renew(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Uuid =
        "with durability as materialized (
             select set_config('synchronous_commit', 'off', true)
         ), held as (
             select t.id, h.token
             from unnest($1::uuid[], $2::uuid[]) as h (id, token), durability, tasks t
             where t.id = any ($1) and t.id = h.id order by t.id for update of t
         )
         update tasks t set lease_until = verdict_now() + make_interval(secs => $3)
         from held where t.id = any ($1) and t.id = held.id and t.lease_token = held.token
         returning t.id";

    execute release(ids: &[Uuid], tokens: &[Uuid]) =
        "update tasks t set lease_token = null, lease_until = null
         from unnest($1::uuid[], $2::uuid[]) as h (id, token)
         where t.id = any ($1) and t.id = h.id and t.lease_token = h.token";

    scalar lock_task(id: Uuid, token: Uuid) -> Uuid =
        "select verification_id from tasks where id = $1 and lease_token = $2 for update";

    execute add_images((
        result: Uuid,
        verification: Uuid,
        at: OffsetDateTime,
        kinds: &[String],
        states: &[&str],
        reasons: &[Option<&str>],
        types: &[Option<&str>],
        bytes: &[Option<i32>],
        digests: &[Option<&[u8]>],
        persons: &[Option<&[u8]>],
        unusual: &[Option<String>],
    )) =
        "insert into images (result_id, kind, verification_id, state, reason, settled_at,
             content_type, bytes, sha256, person, unusual)
         select $1, kind, $2, state, reason, $3, content_type, bytes, sha256, person,
             string_to_array(unusual, ',')
         from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::bytea[],
             $10::bytea[], $11::text[])
             as i (kind, state, reason, content_type, bytes, sha256, person, unusual)
         on conflict do nothing";

    execute end(id: Uuid) = "delete from tasks where id = $1";

    execute reschedule(id: Uuid, wait: f64) =
        "update tasks
         set lease_token = null, lease_until = null, failures = failures + 1,
             due_at = verdict_now() + make_interval(secs => $2)
         where id = $1";

    execute wait_for_links(id: Uuid, wait: f64) =
        "update tasks
         set lease_token = null, lease_until = null, failures = 0, asked_again_at = verdict_now(),
             deadline = 'infinity', due_at = verdict_now() + make_interval(secs => $2)
         where id = $1";

    execute ask_for_links(verification: Uuid, wait: f64) =
        "update verifications
         set due_at = least(due_at, verdict_now() + make_interval(secs => $2)), failures = 0
         where id = $1 and state <> 'erased'";

    row find_newer_links(verification: Uuid, id: Uuid) -> (bool, bool) =
        "with newer as (
             select id from results
             where verification_id = $1 and verify_status is not null
                 and attempt > (select attempt from results where id = $2)
         )
         select exists (select from tasks where id = any (array(select id from newer)))
                 or exists (select from images where result_id = any (array(select id from newer))),
             coalesce((select due_at is not null from verifications where id = $1), false)";

    /// The verification, and the end of the last write that may still be under way; null: none is.
    row lock_sweep(id: Uuid, token: Uuid, late: f64) -> (Uuid, Option<OffsetDateTime>) =
        "select verification_id, case
             when deadline > created_at and deadline + make_interval(secs => $3) > verdict_now()
             then deadline + make_interval(secs => $3) end
         from tasks where id = $1 and lease_token = $2 for update";

    execute delete_images(verification: Uuid) =
        "delete from images where verification_id = $1";

    execute sweep_again(id: Uuid, due_at: OffsetDateTime) =
        "update tasks set lease_token = null, lease_until = null, failures = 0, due_at = $2
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

    scalar retire_images(older_than: OffsetDateTime, limit: i64) -> i64 =
        include_str!("sql/tasks_retire_images.sql");

    scalar find_kinds(result: Uuid) -> String = "select kind from images where result_id = $1";

    scalar images_retired(id: Uuid, token: Uuid, at: OffsetDateTime, objects: i32) -> i64 =
        "with held as (
             delete from tasks where id = $1 and lease_token = $2
             returning id, verification_id
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $3, 'service', 'verification.images-deleted', verification_id,
                 'retention.images_days',
                 json_build_object('result', id, 'objects', $4)::text
             from held
         )
         select count(*) from held";

    scalar is_erased(id: Uuid) -> bool =
        "select coalesce((select state = 'erased' from verifications where id = $1), true)";
}
