//! Backtests started over the API: one at a time in the whole installation, apart from other tasks.

use std::time::Duration;

use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::tasks::{Task, task};
use super::{Error, Result, Store};
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
    /// Only this scene.
    pub biz_type: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it last went on.
    pub updated_at: OffsetDateTime,
    /// `running`, `done`, `failed`.
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

/// The parameters of a new backtest.
#[derive(Clone, Debug)]
pub struct BacktestAsked<'a> {
    /// The id it gets.
    pub id: Uuid,
    /// The policy tried.
    pub digest: &'a str,
    /// Only answers since then.
    pub since: Option<OffsetDateTime>,
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

impl Store {
    /// Has a backtest run by whichever worker comes first, unless another is running.
    pub async fn start_backtest(
        &self,
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
        &self,
        asked: &BacktestAsked<'_>,
        doing: &AuditContext,
    ) -> Result<(bool, Option<Uuid>)> {
        // backtests::start: the run, its work and the record of who wanted it commit together. At
        // most one is running: `backtests_one_running`, and those of earlier versions are seen.
        self.once(async {
            sqlx::query_as(
                "with running as materialized (
                    select id from backtests where state = 'running' order by id limit 1
                 ), run as (
                    insert into backtests (id, digest, since, biz_type, asked_by, created_at,
                        updated_at, state, after, comparison, roughly, lane)
                    select $1, $2, $3, $4, $5, $6, $6, 'running', $7, '{}', $8, 1
                    where not exists (select from running)
                    on conflict (lane) where state = 'running' do nothing
                    returning id
                 ), recorded as (
                    insert into audit (at, actor, action, subject, purpose, details)
                    select $6, $5, 'policy.backtest', id, $9,
                        json_build_object('policy', $2::text, 'biz_type', $4::text)::text
                    from run
                 ), work as (
                    insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
                    select id, 'backtest', id, verdict_now(), 'infinity', verdict_now() from run
                 )
                 select exists (select from run), (select id from running)",
            )
            .bind(asked.id)
            .bind(asked.digest)
            .bind(asked.since)
            .bind(asked.biz_type)
            .bind(&doing.actor)
            .bind(doing.at)
            .bind(asked.since.map_or(Uuid::nil(), crate::domain::ids::earliest))
            .bind(asked.roughly)
            .bind(&doing.purpose)
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Claims the oldest running backtest, if nobody works on it. Others wait until it is done,
    /// however many there are from earlier versions: so one runs at a time, in all processes
    /// together. `token` must be fresh.
    pub async fn claim_backtest(&self, lease: Duration, token: LeaseToken) -> Result<Option<Task>> {
        // backtests::claim: leased and fenced like every task.
        let row = self
            .once(async {
                sqlx::query(
                    "with durability as materialized (
                        select set_config('synchronous_commit', 'off', true)
                     ), oldest as materialized (
                        select t.id from backtests b, durability, tasks t
                        where b.state = 'running' and t.id = b.id order by b.id limit 1
                     ), free as (
                        select t.id from tasks t
                        where t.id = (select id from oldest) and t.due_at <= verdict_now()
                            and (t.lease_until is null or t.lease_until <= verdict_now())
                        for update of t skip locked
                     )
                     update tasks t
                     set lease_token = $2, attempts = t.attempts + 1,
                        lease_until = verdict_now() + make_interval(secs => $1)
                     where t.id = (select id from free)
                     returning t.id, t.kind, t.verification_id, t.failures,
                        null::text as key_id, null::bytea as wrapped, null::bytea as trace_parent,
                        extract(epoch from verdict_now() - t.created_at)::float8 as age",
                )
                .bind(lease.as_secs_f64())
                .bind(token.0)
                .fetch_optional(&self.pool)
                .await
            })
            .await?;
        row.map(|row| task(&row, token)).transpose()
    }

    /// Ends a backtest that cannot go on; what it found so far stays. `false`: the lease was lost.
    pub async fn backtest_failed(&self, task: &Task, now: OffsetDateTime) -> Result<bool> {
        // backtests::failed: fenced; the work ends with the run.
        let held: i64 = self
            .once(async {
                sqlx::query_scalar(
                    "with held as (
                        delete from tasks where id = $1 and lease_token = $2 returning id
                     ), noted as (
                        update backtests set state = 'failed', updated_at = $3
                        where id = (select id from held)
                     )
                     select count(*) from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(now)
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(held > 0)
    }

    /// One backtest.
    pub async fn backtest(&self, id: Uuid) -> Result<Option<Backtest>> {
        self.run(|| async {
            sqlx::query_as(
                "select id, digest, since, biz_type, created_at, updated_at, state, after, looked_at,
                    roughly, comparison
                 from backtests where id = $1",
            )
            .bind(id)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// Notes how far a backtest has come; its work ends with its state. `false`: the lease was lost.
    pub async fn backtest_went_on(
        &self,
        task: &Task,
        state: &str,
        (after, looked_at): (Uuid, u64),
        comparison: &serde_json::Value,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // backtests::went_on: fenced, so that pages are counted once, whoever died.
        let held: i64 = self
            .once(async {
                sqlx::query_scalar(
                    "with held as (
                        select id from tasks where id = $1 and lease_token = $2 for update
                     ), ended as (
                        delete from tasks where id = (select id from held) and $3 <> 'running'
                     ), forgiven as (
                        update tasks set failures = 0
                        where id = (select id from held) and $3 = 'running' and failures > 0
                     ), noted as (
                        update backtests
                        set state = $3, after = $4, comparison = $5, updated_at = $6, looked_at = $7
                        where id = (select id from held)
                     )
                     select count(*) from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(state)
                .bind(after)
                .bind(Json(comparison))
                .bind(now)
                .bind(i64::try_from(looked_at).unwrap_or(i64::MAX))
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(held > 0)
    }
}
