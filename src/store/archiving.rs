//! Progress of archiving images: settled images, requests for new links, images past their retention.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::images::SettledImage;
use super::pool::Store;
use super::statements::statements;
use super::tasks::Task;
use crate::domain::ids::ResultId;

/// The outcome of one try at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    Done,
    RetryAfter(Duration),
    /// The links have expired: the provider is asked for new ones after this delay.
    RefreshLinks(Duration),
}

/// From a request for new links to the first check whether they have arrived.
const FIRST_REFRESH_CHECK: Duration = Duration::from_secs(5);

/// The state of a request for new links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefresh {
    /// There are newer links, with a separate task.
    Arrived,
    Pending,
    /// The provider answered without links, or the fetch is a dead letter.
    Failed,
}

/// Stores the progress of archiving images.
#[derive(Clone, Copy, Debug)]
pub struct Archiving<'a>(&'a Store);

impl Store {
    pub fn archiving(&self) -> Archiving<'_> {
        Archiving(self)
    }
}

impl Archiving<'_> {
    /// Stores settled images and the outcome of their task. `false`: the lease was lost, and nothing
    /// was written.
    pub async fn settle_images(
        self,
        task: &Task,
        images: &[SettledImage],
        outcome: TaskOutcome,
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
        // A verification that is due earlier already stays due then, and an erased one is not fetched
        // again.
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let (id, token) = (task.id, task.lease_token.0);
                let held = lock_task(id, token).fetch_optional(&mut transaction).await?;
                if let Some(verification) = held {
                    if !images.is_empty() {
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
                    }
                    let next = match outcome {
                        TaskOutcome::Done => end(id),
                        TaskOutcome::RetryAfter(wait) => reschedule(id, wait.as_secs_f64()),
                        TaskOutcome::RefreshLinks(wait) => {
                            await_links(id, (wait + FIRST_REFRESH_CHECK).as_secs_f64())
                        }
                    };
                    next.execute(&mut transaction).await?;
                    if let TaskOutcome::RefreshLinks(wait) = outcome {
                        request_links(verification, wait.as_secs_f64())
                            .execute(&mut transaction)
                            .await?;
                    }
                }
                transaction.commit().await?;
                Ok(held.is_some())
            })
            .await
    }

    /// Reschedules a task that failed as a whole. `false`: the lease was lost.
    pub async fn reschedule(self, task: &Task, wait: Duration, at: OffsetDateTime) -> Result<bool> {
        self.settle_images(task, &[], TaskOutcome::RetryAfter(wait), at).await
    }

    /// Whether the requested links have arrived.
    pub async fn link_refresh(self, task: &Task) -> Result<LinkRefresh> {
        let (arrived, is_due): (bool, bool) = self
            .0
            .run(|| find_newer_links(task.verification.0, task.id).fetch_one(&self.0.pool))
            .await?;
        Ok(match (arrived, is_due) {
            (true, _) => LinkRefresh::Arrived,
            (false, true) => LinkRefresh::Pending,
            (false, false) => LinkRefresh::Failed,
        })
    }

    /// Deletes the rows of images that are older than that, of at most `limit` results, and adds tasks
    /// that delete their objects. Images of a result that is still being archived wait until it is.
    pub async fn retire_images(self, older_than: OffsetDateTime, limit: i64) -> Result<u64> {
        // A result whose task is done gets no more images, so its objects without a row are those
        // deleted here. Several processes that find the same result leave one task.
        self.0
            .run(|| retire_images(older_than, limit).fetch_one(&self.0.pool))
            .await
            .map(|deleted: i64| deleted.unsigned_abs())
    }

    /// The kinds of images of a result that are still stored.
    pub async fn kinds_of(self, result: ResultId) -> Result<Vec<String>> {
        self.0.run(|| find_kinds(result.0).fetch_all(&self.0.pool)).await
    }

    /// Records that objects past their retention were deleted, and ends the task. `false`: the lease
    /// was lost.
    pub async fn images_retired(self, task: &Task, at: OffsetDateTime) -> Result<bool> {
        let (id, token) = (task.id, task.lease_token.0);
        let held: i64 =
            self.0.run(|| images_retired(id, token, at).fetch_one(&self.0.pool)).await?;
        Ok(held > 0)
    }
}

statements! {
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

    execute await_links(id: Uuid, wait: f64) =
        "update tasks
         set lease_token = null, lease_until = null, failures = 0, asked_again_at = verdict_now(),
             deadline = 'infinity', due_at = verdict_now() + make_interval(secs => $2)
         where id = $1";

    execute request_links(verification: Uuid, wait: f64) =
        "update verifications
         set due_at = least(due_at, verdict_now() + make_interval(secs => $2)), failures = 0
         where id = $1 and state <> 'erased'";

    row find_newer_links(verification: Uuid, id: Uuid) -> (bool, bool) =
        "with newer as (
             select id from results
             where verification_id = $1 and error_class is null
                 and attempt > (select attempt from results where id = $2)
         )
         select exists (select from tasks where id = any (array(select id from newer)))
                 or exists (select from images where result_id = any (array(select id from newer))),
             coalesce((select due_at is not null from verifications where id = $1), false)";

    scalar retire_images(older_than: OffsetDateTime, limit: i64) -> i64 =
        include_str!("sql/archiving_retire_images.sql");

    scalar find_kinds(result: Uuid) -> String = "select kind from images where result_id = $1";

    scalar images_retired(id: Uuid, token: Uuid, at: OffsetDateTime) -> i64 =
        "with held as (
             delete from tasks where id = $1 and lease_token = $2
             returning id, verification_id, coalesce(cardinality(objects_found), 0) as objects
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $3, 'service', 'verification.images-deleted', verification_id,
                 'retention.images_days',
                 json_build_object('result', id, 'objects', objects)::text
             from held
         )
         select count(*) from held";

    scalar lock_task(id: Uuid, token: Uuid) -> Uuid =
        "select verification_id from tasks where id = $1 and lease_token = $2 for update";
}
