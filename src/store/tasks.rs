//! Follow-up work: leased and fenced like verifications, nearest deadline first.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::claims::trace_of;
use super::images::SettledImage;
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
            .once(async {
                sqlx::query(
                    "with durability as materialized (
                        select set_config('synchronous_commit', 'off', true)
                     ), due as materialized (
                        -- Two windows: however many wait for an answer of the provider, they do
                        -- not hide links that live.
                        (select id, deadline from tasks, durability
                         where asked_again_at is null and kind <> 'backtest' and due_at <= verdict_now()
                            and (lease_until is null or lease_until <= verdict_now())
                         order by due_at limit $4)
                        union all
                        (select id, deadline from tasks
                         where asked_again_at is not null and due_at <= verdict_now()
                            and (lease_until is null or lease_until <= verdict_now())
                         order by due_at limit $4)
                     ), next as (
                        select t.id from tasks t
                        where t.id = any (array(select id from due order by deadline, id limit $1))
                            and t.due_at <= verdict_now()
                            and (t.lease_until is null or t.lease_until <= verdict_now())
                        order by t.id for update of t skip locked
                     ), claimed as (
                        update tasks t
                        set lease_token = $3, attempts = t.attempts + 1,
                            lease_until = verdict_now() + make_interval(secs => $2)
                        where t.id = any (array(select id from next))
                        returning t.*
                     )
                     select c.id, c.kind, c.verification_id, c.links, c.person, c.minted,
                        c.failures, c.asked_again_at is not null as asked_again,
                        c.deadline <= verdict_now()
                            or c.deadline <= verdict_now() + make_interval(secs => $5)
                            and c.created_at < verdict_now() - make_interval(secs => $5)
                            as expired,
                        extract(epoch from verdict_now() - c.created_at)::float8 as age,
                        k.key_id, k.wrapped, v.trace_parent,
                        array(select kind from images where result_id = c.id) as settled,
                        (select extract(epoch from due_at - verdict_now())::float8 from tasks
                         where due_at > verdict_now() order by due_at limit 1) as next_due
                     from (select 1) as one left join claimed c on true
                     left join lateral (
                        select key_id, wrapped from data_keys
                        where verification_id = c.verification_id limit 1) k on true
                     left join lateral (
                        select trace_parent from verifications
                        where id = c.verification_id limit 1) v on true
                     order by c.deadline, c.id",
                )
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .bind(lease.as_secs_f64())
                .bind(token.0)
                .bind(WINDOW)
                .bind(takes.as_secs_f64())
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        let first = rows.first().ok_or(Error::Inconsistent("a claim answers with no row"))?;
        let next_due: Option<f64> = first.try_get("next_due")?;
        let tasks = rows
            .iter()
            .filter(|row| !matches!(row.try_get::<Option<Uuid>, _>("id"), Ok(None)))
            .map(|row| task(row, token))
            .collect::<Result<_>>()?;
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
        self.run(|| async {
            sqlx::query_scalar(
                "with durability as materialized (
                    select set_config('synchronous_commit', 'off', true)
                 ), held as (
                    select t.id, h.token
                    from unnest($1::uuid[], $2::uuid[]) as h (id, token), durability, tasks t
                    where t.id = any ($1) and t.id = h.id order by t.id for update of t
                 )
                 update tasks t set lease_until = verdict_now() + make_interval(secs => $3)
                 from held where t.id = any ($1) and t.id = held.id and t.lease_token = held.token
                 returning t.id",
            )
            .bind(&ids)
            .bind(&tokens)
            .bind(lease.as_secs_f64())
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// Gives tasks back, due as before: for a graceful stop.
    pub async fn release_tasks(&self, held: &[(Uuid, LeaseToken)]) -> Result<u64> {
        let (ids, tokens): (Vec<Uuid>, Vec<Uuid>) =
            held.iter().map(|(id, token)| (*id, token.0)).unzip();
        // tasks::release: fenced like every write of a worker.
        self.run(|| async {
            sqlx::query(
                "update tasks t set lease_token = null, lease_until = null
                 from unnest($1::uuid[], $2::uuid[]) as h (id, token)
                 where t.id = any ($1) and t.id = h.id and t.lease_token = h.token",
            )
            .bind(&ids)
            .bind(&tokens)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
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
        let (done, again_in, ask_in) = match then {
            Then::Done => (true, None, None),
            Then::Again(wait) => (false, Some(wait), None),
            Then::AskAgain(wait) => (false, Some(wait + LOOK_AFTER), Some(wait)),
        };
        // tasks::settle: fenced; what became of the images, the task's end and the question that
        // brings new links commit together. A question already due stays due as it is; nobody who
        // was erased is asked about.
        let held: i64 = self
            .once(async {
                sqlx::query_scalar(
                    "with held as (
                        select id, verification_id from tasks
                        where id = $1 and lease_token = $2 for update
                     ), kept as (
                        insert into images (result_id, kind, verification_id, state, reason,
                            settled_at, content_type, bytes, sha256, person, unusual)
                        select h.id, i.kind, h.verification_id, i.state, i.reason, $3,
                            i.content_type, i.bytes, i.sha256, i.person,
                            string_to_array(i.unusual, ',')
                        from held h, unnest($4::text[], $5::text[], $6::text[], $7::text[],
                            $8::int[], $9::bytea[], $10::bytea[], $14::text[])
                            as i (kind, state, reason, content_type, bytes, sha256, person, unusual)
                        on conflict do nothing
                     ), ended as (
                        delete from tasks where id = (select id from held) and $11
                     ), put_off as (
                        update tasks
                        set lease_token = null, lease_until = null,
                            due_at = verdict_now() + make_interval(secs => $12),
                            failures = case when $13::float8 is null then failures + 1 else 0 end,
                            asked_again_at = case when $13::float8 is null then asked_again_at
                                                  else verdict_now() end,
                            deadline = case when $13::float8 is null then deadline
                                            else 'infinity' end
                        where id = (select id from held) and not $11
                     ), asked as (
                        update verifications
                        set due_at = least(due_at, verdict_now() + make_interval(secs => $13)),
                            failures = 0
                        where id = (select verification_id from held) and $13::float8 is not null
                            and state <> 'erased'
                     )
                     select count(*) from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(at)
                .bind(&kinds)
                .bind(&states)
                .bind(&reasons)
                .bind(&types)
                .bind(&bytes)
                .bind(&digests)
                .bind(&persons)
                .bind(done)
                .bind(again_in.map(|wait| wait.as_secs_f64()))
                .bind(ask_in.map(|wait| wait.as_secs_f64()))
                .bind(&unusual)
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(held > 0)
    }

    /// What came of asking again for links: see [`AskedAgain`].
    pub async fn asked_again(&self, task: &Task) -> Result<AskedAgain> {
        let (followed, asking): (bool, bool) = self
            .run(|| async {
                sqlx::query_as(
                    "with newer as (
                        select id from results
                        where verification_id = $1 and verify_status is not null
                            and attempt > (select attempt from results where id = $2)
                     )
                     select exists (select from tasks where id = any (array(select id from newer)))
                            or exists (select from images where result_id = any (array(select id from newer))),
                        coalesce((select due_at is not null from verifications where id = $1), false)",
                )
                .bind(task.verification.0)
                .bind(task.id)
                .fetch_one(&self.pool)
                .await
            })
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
        // tasks::images_deleted: fenced; rows, receipt and record go together, and the record says
        // what all sweeps found.
        let complete: Option<bool> = self
            .run(|| async {
                sqlx::query_scalar(
                    "with held as (
                        select id, verification_id,
                            deadline + make_interval(secs => $5) as last_write,
                            deadline > created_at
                                and deadline + make_interval(secs => $5) > verdict_now() as more
                        from tasks where id = $1 and lease_token = $2 for update
                     ), rows as (
                        delete from images where verification_id = (select verification_id from held)
                     ), ended as (
                        delete from tasks where id = (select id from held where not more)
                     ), once_more as (
                        update tasks t
                        set lease_token = null, lease_until = null, failures = 0, due_at = h.last_write
                        from held h where t.id = h.id and h.more
                     ), receipt as (
                        update erasures
                        set completed_at = case when (select more from held) then null else $3 end,
                            images = images + $4
                        where verification_id = (select verification_id from held)
                            and completed_at is null and unreadable_at is not null
                        returning images
                     ), recorded as (
                        insert into audit (at, actor, action, subject, details)
                        select $3, 'service', 'verification.images-deleted', verification_id,
                            json_build_object('objects',
                                coalesce((select images from receipt), $4))::text
                        from held where not more
                     )
                     select not more from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(at)
                .bind(i32::try_from(objects).unwrap_or(i32::MAX))
                .bind(late.as_secs_f64())
                .fetch_optional(&self.pool)
                .await
            })
            .await?;
        Ok(match complete {
            None => Swept::LeaseLost,
            Some(true) => Swept::Complete,
            Some(false) => Swept::OnceMore,
        })
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
        self.run(|| async {
            sqlx::query_scalar(
                "with old as (
                    select result_id from images i
                    where settled_at < $1 and not exists (select from tasks where id = i.result_id)
                    order by settled_at limit $2
                 ), gone as (
                    delete from images
                    where result_id = any (array(select result_id from old)) and settled_at < $1
                    returning result_id, verification_id, state
                 ), tasked as (
                    insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
                    select distinct result_id, 'retire-images', verification_id, verdict_now(),
                        verdict_now(), verdict_now()
                    from gone where state = 'archived'
                    on conflict (id) do nothing
                 )
                 select count(*) from gone",
            )
            .bind(older_than)
            .bind(limit)
            .fetch_one(&self.pool)
            .await
        })
        .await
        .map(|gone: i64| gone.unsigned_abs())
    }

    /// The kinds of images of a result that are still kept.
    pub async fn kinds_of(&self, result: ResultId) -> Result<Vec<String>> {
        self.run(|| async {
            sqlx::query_scalar("select kind from images where result_id = $1")
                .bind(result.0)
                .fetch_all(&self.pool)
                .await
        })
        .await
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
            .run(|| async {
                sqlx::query_scalar(
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
                     select count(*) from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(at)
                .bind(i32::try_from(objects).unwrap_or(i32::MAX))
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(held > 0)
    }

    /// Whether the person of this verification was forgotten.
    pub async fn is_erased(&self, id: VerificationId) -> Result<bool> {
        self.run(|| async {
            sqlx::query_scalar(
                "select coalesce((select state = 'erased' from verifications where id = $1), true)",
            )
            .bind(id.0)
            .fetch_one(&self.pool)
            .await
        })
        .await
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
