//! Follow-up tasks: leased, nearest deadline first.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::error::{Error, Result};
use super::hot::claims::trace_of;
use super::lease;
use super::lease::{LeaseKey, Leased};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::{LeaseToken, ResultId, VerificationId};
use crate::domain::trace::TraceParent;

/// Due tasks among which a claim finds the nearest deadlines.
const WINDOW: i64 = 512;

/// Leases on tasks.
pub const LEASED: Leased = Leased { kind: "task", renew, release };

#[derive(Clone, Debug)]
pub enum Work {
    /// Fetch and store the images of one result.
    Archive {
        result: ResultId,
        /// Sealed links.
        links: Vec<u8>,
        /// The data key that opens them (id of its wrapping key, bytes); `None`: destroyed.
        data_key: Option<(String, Vec<u8>)>,
        /// Blind index of the person.
        person: Option<Vec<u8>>,
        /// The links have expired, or will before they can be followed.
        expired: bool,
        /// How many times new links were requested for these images.
        link_refreshes: i32,
        /// Kinds that are settled already.
        settled: Vec<String>,
        /// New links were requested for this very task.
        awaits_links: bool,
    },
    /// Remove everything of the verification from the object store.
    DeleteImages,
    /// Remove the objects of one result that have no row any more.
    RetireImages(ResultId),
    /// Continue a backtest.
    Backtest,
}

impl Work {
    /// As in the table and in metrics.
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
    pub id: Uuid,
    pub verification: VerificationId,
    /// The fencing token of this claim.
    pub lease_token: LeaseToken,
    /// Failed tries in a row before this one.
    pub failures: i32,
    /// Since the task was created.
    pub age: Duration,
    /// The request that it follows from, where requests are traced.
    pub trace: Option<TraceParent>,
    pub work: Work,
}

impl Task {
    pub fn lease(&self) -> LeaseKey {
        LeaseKey { id: self.id, token: self.lease_token }
    }
}

/// The outcome of one claim of tasks.
#[derive(Debug, Default)]
pub struct TaskClaim {
    /// Leased tasks, nearest deadline first.
    pub tasks: Vec<Task>,
    /// Until the next task falls due that is not due yet.
    pub next_due: Option<Duration>,
}

/// Follow-up tasks.
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'a>(&'a Store);

impl Store {
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks(self)
    }
}

impl Tasks<'_> {
    /// Claims due tasks, except backtests
    /// ([`Backtests::claim_backtest`](super::backtests::Backtests::claim_backtest)). `token` must be
    /// fresh. `takes` is how long following links takes at present: links that expire sooner count
    /// as expired, unless new ones would not live longer.
    pub async fn claim_tasks(
        self,
        most: usize,
        lease: Duration,
        takes: Duration,
        token: LeaseToken,
    ) -> Result<TaskClaim> {
        // Writes nothing where nothing is due. Not repeated on a broken connection: the first may
        // have happened; its tasks come back when their lease ends.
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

    /// Notes objects that are about to be deleted, by a digest of each name. `false`: the lease was
    /// lost, and nothing was written.
    pub async fn note_objects(self, task: &Task, digests: &[i64]) -> Result<bool> {
        // An object that is noted twice counts once.
        self.0.write_fenced(|| note_objects(task.id, task.lease_token.0, digests)).await
    }

    /// As [`Self::note_objects`], for the worker that lost an archiving task to an erasure and removes
    /// what it stored. Nothing is noted once the erasure is complete.
    pub async fn note_erased_objects(
        self,
        verification: VerificationId,
        digests: &[i64],
    ) -> Result<()> {
        self.0
            .run(|| async {
                note_erased_objects(verification.0, digests).execute(&self.0.pool).await.map(drop)
            })
            .await
    }
}

/// `None`: nothing was claimed, and the only row holds the time until something falls due.
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
            link_refreshes: row.try_get("link_refreshes")?,
            settled: row.try_get::<Option<_>, _>("settled")?.unwrap_or_default(),
            awaits_links: row.try_get("awaits_links")?,
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

    execute note_objects(id: Uuid, token: Uuid, digests: &[i64]) =
        "update tasks set objects_found = array(
             select distinct digest from unnest(coalesce(objects_found, '{}') || $3::bigint[]) as d (digest))
         where id = $1 and lease_token = $2";

    execute note_erased_objects(verification: Uuid, digests: &[i64]) =
        "update tasks set objects_found = array(
             select distinct digest from unnest(coalesce(objects_found, '{}') || $2::bigint[]) as d (digest))
         where id = $1 and kind = 'delete-images'";

    scalar renew(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Uuid = lease::renew!("tasks", "id");

    execute release(ids: &[Uuid], tokens: &[Uuid]) = lease::release!("tasks", "id");
}
