//! What the page of operators reads beside the metrics.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;
use crate::domain::verification::State;

/// Dead letters of one code.
#[derive(Clone, Debug, FromRow)]
pub struct DeadLetters {
    /// Of the newest answer; `None`: there is no answer, or one without a code.
    pub code: Option<String>,
    /// Among the 10,000 oldest.
    pub count: i64,
    pub oldest: OffsetDateTime,
}

/// One dead letter.
#[derive(Clone, Debug, FromRow)]
pub struct DeadLetter {
    pub id: Uuid,
    pub code: Option<String>,
    pub updated_at: OffsetDateTime,
}

/// Images lost for one reason.
#[derive(Clone, Debug, FromRow)]
pub struct LostImages {
    pub reason: String,
    pub count: i64,
}

/// How far one clock of retention has come.
#[derive(Clone, Debug, FromRow)]
pub struct RetentionPass {
    pub clock: String,
    pub is_running: bool,
    /// `None`: it waits for a worker.
    pub rests_until: Option<OffsetDateTime>,
}

/// What is still to be done about erased persons.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct OpenErasures {
    pub erasures: i64,
    /// At the provider.
    pub copies: i64,
}

/// What operators look at.
#[derive(Clone, Copy, Debug)]
pub struct Operations<'a>(&'a Store);

impl Store {
    pub fn operations(&self) -> Operations<'_> {
        Operations(self)
    }
}

impl Operations<'_> {
    /// Dead letters by code, the most frequent first; of these scenes, or of all.
    pub async fn dead_letters_by_code(self, scenes: Option<&[String]>) -> Result<Vec<DeadLetters>> {
        self.0.run(|| count_dead_letters(scenes).fetch_all(&self.0.pool)).await
    }

    /// Dead letters after this id, oldest first; of this code, if one is named.
    pub async fn dead_letters(
        self,
        state: State,
        code: Option<&str>,
        scenes: Option<&[String]>,
        after: Option<VerificationId>,
        limit: i64,
    ) -> Result<Vec<DeadLetter>> {
        let after = after.map_or(Uuid::nil(), |id| id.0);
        self.0
            .run(|| {
                list_dead_letters(state.as_str(), code, scenes, after, limit)
                    .fetch_all(&self.0.pool)
            })
            .await
    }

    /// Of the last day, among its 100,000 newest images.
    pub async fn lost_images(self) -> Result<Vec<LostImages>> {
        self.0.run(|| count_lost_images().fetch_all(&self.0.pool)).await
    }

    pub async fn retention_passes(self) -> Result<Vec<RetentionPass>> {
        self.0.run(|| list_passes().fetch_all(&self.0.pool)).await
    }

    pub async fn open_erasures(self) -> Result<OpenErasures> {
        self.0.run(|| count_open_erasures().fetch_one(&self.0.pool)).await
    }
}

statements! {
    row count_dead_letters(scenes: Option<&[String]>) -> DeadLetters =
        "select code, count(*) as count, min(updated_at) as oldest from (
             select v.updated_at, (
                 select coalesce(error_code, error_class) from results where id = v.result_id) as code
             from verifications v
             where v.state = 'failed' and ($1::text[] is null or v.biz_type = any ($1))
             order by v.id limit 10000) failed
         group by code order by count(*) desc, code limit 100";

    row list_dead_letters(
        state: &str,
        code: Option<&str>,
        scenes: Option<&[String]>,
        after: Uuid,
        limit: i64,
    ) -> DeadLetter =
        "select v.id, r.code, v.updated_at
         from verifications v left join lateral (
             select coalesce(error_code, error_class) as code
             from results where id = v.result_id limit 1) r on true
         where v.state = $1 and v.state in ('failed', 'expired') and v.id > $4
             and ($2::text is null or r.code = $2)
             and ($3::text[] is null or v.biz_type = any ($3))
         order by v.id limit $5";

    row count_lost_images() -> LostImages =
        "select coalesce(reason, '') as reason, count(*) as count from (
             select state, reason from images
             where settled_at > verdict_now() - interval '1 day'
             order by settled_at desc limit 100000) newest
         where state = 'lost' group by 1 order by 2 desc, 1";

    row list_passes() -> RetentionPass =
        "select clock, coalesce(lease_until > verdict_now(), false) as is_running,
             case when rests_until > verdict_now() then rests_until end as rests_until
         from retention_passes order by clock";

    row count_open_erasures() -> OpenErasures =
        "select (select count(*) from (
                 select from erasures where completed_at is null limit 10000) e) as erasures,
             (select count(*) from (
                 select from provider_deletions where due_at is not null limit 10000) p) as copies";
}
