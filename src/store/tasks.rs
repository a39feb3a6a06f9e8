//! Follow-up work: leased and fenced like verifications, nearest deadline first.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::hot::claims::trace_of;
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

/// Follow-up tasks, leased.
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'a>(&'a Store);

impl Store {
    /// Follow-up tasks, leased.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks(self)
    }
}

impl Tasks<'_> {
    /// Claims due tasks, except backtests
    /// ([`Backtests::claim_backtest`](super::backtests::Backtests::claim_backtest)). `token` must be
    /// fresh; `takes` is how long following links takes these
    /// days: links that will die sooner count as dead, unless newer ones would not live longer.
    pub async fn claim_tasks(
        self,
        most: usize,
        lease: Duration,
        takes: Duration,
        token: LeaseToken,
    ) -> Result<TaskClaim> {
        // At most one worker holds a task, judged by the database's clock; where
        // nothing is due nothing is written. Lost in a crash it never was, so it needs no fsync.
        let rows = self
            .0
            .once(
                claim(
                    i64::try_from(most).unwrap_or(i64::MAX),
                    lease.as_secs_f64(),
                    token.0,
                    WINDOW,
                    takes.as_secs_f64(),
                )
                .fetch_all(&self.0.pool),
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
        self,
        held: &[(Uuid, LeaseToken)],
        lease: Duration,
    ) -> Result<Vec<Uuid>> {
        let (ids, tokens): (Vec<Uuid>, Vec<Uuid>) =
            held.iter().map(|(id, token)| (*id, token.0)).unzip();
        // As for verifications.
        self.0.run(|| renew(&ids, &tokens, lease.as_secs_f64()).fetch_all(&self.0.pool)).await
    }

    /// Gives tasks back, due as before: for a graceful stop.
    pub async fn release_tasks(self, held: &[(Uuid, LeaseToken)]) -> Result<u64> {
        let (ids, tokens): (Vec<Uuid>, Vec<Uuid>) =
            held.iter().map(|(id, token)| (*id, token.0)).unzip();
        // Fenced like every write of a worker.
        self.0
            .run(|| async {
                release(&ids, &tokens).execute(&self.0.pool).await.map(|done| done.rows_affected())
            })
            .await
    }
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
}
