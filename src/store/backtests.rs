//! Backtests started over the API: one at a time in the whole installation, apart from other tasks.

use std::time::Duration;

use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::tasks::{Task, task};
use crate::domain::ids::LeaseToken;

/// Between two notes of how far a backtest has come.
pub const NOTE_EVERY: Duration = Duration::from_secs(2);

/// A backtest under way or done.
#[derive(Clone, Debug, FromRow)]
pub struct Backtest {
    /// Its id.
    pub id: Uuid,
    /// The policy tried.
    pub digest: String,
    /// Only decisions since then.
    pub since: Option<OffsetDateTime>,
    /// Only answers before then.
    pub until: Option<OffsetDateTime>,
    /// The newest answer when it was started.
    pub last: Option<Uuid>,
    /// Only this scene.
    pub biz_type: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it last went on.
    pub updated_at: OffsetDateTime,
    /// `running`, `done`, `failed`, `cancelled`.
    pub state: String,
    /// The last answer seen.
    pub after: Uuid,
    /// Answers seen so far.
    pub looked_at: i64,
    /// Answers there were to be seen, as Postgres estimated.
    pub roughly: i64,
    /// Its result so far.
    pub comparison: Json<serde_json::Value>,
}

impl Backtest {
    /// Answers there are to be seen: an estimate is overtaken by what was seen.
    pub fn of(&self) -> i64 {
        if self.state == "done" { self.looked_at } else { self.roughly.max(self.looked_at) }
    }
}

/// The parameters of a new backtest.
#[derive(Clone, Debug)]
pub struct BacktestAsked<'a> {
    /// The id it gets.
    pub id: Uuid,
    /// The policy tried.
    pub digest: &'a str,
    /// Only answers since then.
    pub since: Option<OffsetDateTime>,
    /// Only answers before then.
    pub until: Option<OffsetDateTime>,
    /// Only this scene.
    pub biz_type: Option<&'a str>,
    /// Answers there are to be seen.
    pub roughly: i64,
}

/// The outcome of a request to start a backtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// A worker will run it.
    Yes,
    /// This one is running: nothing was started.
    Running(Uuid),
}

/// The outcome of a request to cancel a backtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has ended just now, or was cancelled before.
    Yes,
    /// It is done or has failed: nothing was changed.
    TooLate,
    NotFound,
}

/// Backtests started over the API.
#[derive(Clone, Copy, Debug)]
pub struct Backtests<'a>(&'a Store);

impl Store {
    /// Backtests started over the API.
    pub fn backtests(&self) -> Backtests<'_> {
        Backtests(self)
    }
}

impl Backtests<'_> {
    /// Has a backtest run by whichever worker comes first, unless another is running.
    pub async fn start_backtest(
        self,
        asked: &BacktestAsked<'_>,
        doing: &AuditContext,
    ) -> Result<Started> {
        // Two that start at the same moment do not see each other: the index lets one in, and the
        // other finds it with its next statement. It may be over by then, and another one begin.
        for _ in 0..3 {
            let (started, running) = self.try_to_start_backtest(asked, doing).await?;
            match running {
                _ if started => return Ok(Started::Yes),
                Some(running) => return Ok(Started::Running(running)),
                None => {}
            }
        }
        Err(Error::Busy("backtests begin and end too fast to start one"))
    }

    async fn try_to_start_backtest(
        self,
        asked: &BacktestAsked<'_>,
        doing: &AuditContext,
    ) -> Result<(bool, Option<Uuid>)> {
        // The run, its work and the record of who wanted it commit together. At
        // most one is running: `backtests_one_running`, and those of earlier versions are seen.
        self.0
            .once(
                start((
                    asked.id,
                    asked.digest,
                    asked.since,
                    asked.biz_type,
                    &doing.actor,
                    doing.at,
                    asked.since.map_or(Uuid::nil(), crate::domain::ids::earliest),
                    asked.roughly,
                    doing.purpose.as_deref(),
                    asked.until,
                ))
                .fetch_one(&self.0.pool),
            )
            .await
    }

    /// Claims the oldest running backtest, if nobody works on it. Others wait until it is done,
    /// however many there are from earlier versions: so one runs at a time, in all processes
    /// together. `token` must be fresh.
    pub async fn claim_backtest(self, lease: Duration, token: LeaseToken) -> Result<Option<Task>> {
        // Leased and fenced like every task.
        let row =
            self.0.once(claim(lease.as_secs_f64(), token.0).fetch_optional(&self.0.pool)).await?;
        row.map(|row| task(&row, token)).transpose()
    }

    /// Ends a backtest that cannot go on; what it found so far stays. `false`: the lease was lost.
    pub async fn backtest_failed(self, task: &Task, now: OffsetDateTime) -> Result<bool> {
        // Fenced; the work ends with the run.
        let held: i64 =
            self.0.once(fail(task.id, task.lease_token.0, now).fetch_one(&self.0.pool)).await?;
        Ok(held > 0)
    }

    /// Ends a running backtest for good; what it found so far stays. Its work goes in the same
    /// statement, so whoever holds the lease writes nothing more.
    pub async fn cancel(self, id: Uuid, doing: &AuditContext) -> Result<Cancelled> {
        let purpose = doing.purpose.as_deref();
        let ended: i64 = self
            .0
            .once(cancel(id, doing.at, &doing.actor, purpose).fetch_one(&self.0.pool))
            .await?;
        if ended > 0 {
            return Ok(Cancelled::Yes);
        }
        Ok(match self.backtest(id).await? {
            None => Cancelled::NotFound,
            Some(run) if run.state == "cancelled" => Cancelled::Yes,
            Some(_) => Cancelled::TooLate,
        })
    }

    /// One backtest.
    pub async fn backtest(self, id: Uuid) -> Result<Option<Backtest>> {
        self.0.run(|| find(id).fetch_optional(&self.0.pool)).await
    }

    /// Backtests of a policy, newest first, of these scenes alone (`None`: of all), before one.
    pub async fn list(
        self,
        digest: &str,
        scenes: Option<&[&str]>,
        (before, limit): (Option<Uuid>, i64),
    ) -> Result<Vec<Backtest>> {
        let before = before.unwrap_or(Uuid::max());
        self.0.run(|| list(digest, scenes, before, limit).fetch_all(&self.0.pool)).await
    }

    /// Notes how far a backtest has come; its work ends with its state. `false`: the lease was lost.
    pub async fn backtest_went_on(
        self,
        task: &Task,
        state: &str,
        (after, looked_at): (Uuid, u64),
        comparison: &serde_json::Value,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // Fenced, so that pages are counted once, whoever died.
        let held: i64 = self
            .0
            .once(
                note_progress(
                    task.id,
                    task.lease_token.0,
                    state,
                    after,
                    Json(comparison),
                    now,
                    i64::try_from(looked_at).unwrap_or(i64::MAX),
                )
                .fetch_one(&self.0.pool),
            )
            .await?;
        Ok(held > 0)
    }
}

statements! {
    row start((
        id: Uuid,
        digest: &str,
        since: Option<OffsetDateTime>,
        biz_type: Option<&str>,
        actor: &str,
        at: OffsetDateTime,
        after: Uuid,
        roughly: i64,
        purpose: Option<&str>,
        until: Option<OffsetDateTime>,
    )) -> (bool, Option<Uuid>) = include_str!("sql/backtests_start.sql");

    read(|row| task(row, LeaseToken(Uuid::nil()))) claim(lease: f64, token: Uuid) =
        include_str!("sql/backtests_claim.sql");

    scalar fail(id: Uuid, token: Uuid, at: OffsetDateTime) -> i64 =
        "with held as (
             delete from tasks where id = $1 and lease_token = $2 returning id
         ), noted as (
             update backtests set state = 'failed', updated_at = $3
             where id = (select id from held)
         )
         select count(*) from held";

    scalar cancel(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) -> i64 =
        include_str!("sql/backtests_cancel.sql");

    row find(id: Uuid) -> Backtest =
        "select id, digest, since, until, last, biz_type, created_at, updated_at, state, after,
             looked_at, roughly, comparison
         from backtests where id = $1";

    row list(digest: &str, scenes: Option<&[&str]>, before: Uuid, limit: i64) -> Backtest =
        "select id, digest, since, until, last, biz_type, created_at, updated_at, state, after,
             looked_at, roughly, comparison
         from backtests
         where digest = $1 and id < $3 and ($2::text[] is null or biz_type = any ($2))
         order by id desc limit $4";

    scalar note_progress(
        id: Uuid,
        token: Uuid,
        state: &str,
        after: Uuid,
        comparison: Json<&serde_json::Value>,
        at: OffsetDateTime,
        looked_at: i64,
    ) -> i64 = include_str!("sql/backtests_note_progress.sql");
}
