//! The audit chain: who read, erased or changed what. Rows are chained by a trigger of the
//! database; here they are read back and checkpointed.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;

/// Who does something that is recorded, and why.
#[derive(Clone, Debug)]
pub struct AuditContext {
    /// `key:` and an API key's id, `cli:` and a user, or `service`.
    pub actor: String,
    /// As the caller said; nothing of a person.
    pub purpose: Option<String>,
    /// When.
    pub at: OffsetDateTime,
}

/// One row of the chain.
#[derive(Clone, Debug, FromRow)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub position: i64,
    /// When it was done.
    pub at: OffsetDateTime,
    /// Who did it.
    pub actor: String,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: Option<Uuid>,
    /// Why.
    pub purpose: Option<String>,
    /// More, as JSON text.
    pub details: Option<String>,
    /// The database user who added it; `None`: from before that was kept.
    pub database_user: Option<String>,
    /// Digest of the row before.
    pub previous: Vec<u8>,
    /// Digest of this row.
    pub digest: Vec<u8>,
}

/// Which rows are looked for; everything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A part of it.
    pub actor: Option<String>,
    /// Its beginning.
    pub action: Option<String>,
    pub subject: Option<Uuid>,
    pub since: Option<OffsetDateTime>,
    pub until: Option<OffsetDateTime>,
}

/// A page of rows, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub rows: Vec<AuditRow>,
    /// Rows before this position were not looked at; `None`: all were.
    pub next: Option<i64>,
}

/// Rows that one search looks through.
const SEARCHED: i64 = 100_000;

/// The end of the chain at some moment, under a key.
#[derive(Clone, Debug, FromRow)]
pub struct AuditCheckpoint {
    /// Position of the newest row then.
    pub position: i64,
    /// When.
    pub at: OffsetDateTime,
    /// Its digest.
    pub digest: Vec<u8>,
    /// Over all of that.
    pub mac: Vec<u8>,
}

/// The audit chain.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a>(&'a Store);

impl Store {
    /// The audit chain.
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }
}

impl Audit<'_> {
    /// Adds one row. What is done to rows of ours is recorded by the statement that does it; this
    /// is for what is done elsewhere.
    pub async fn record(
        self,
        doing: &AuditContext,
        action: &str,
        subject: Option<Uuid>,
        details: Option<&str>,
    ) -> Result<()> {
        self.0
            .once(async {
                add(doing.at, &doing.actor, action, subject, doing.purpose.as_deref(), details)
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// The rows after a position, in order, at most `limit`; those about one subject only, if one
    /// is named.
    pub async fn audit_after(
        self,
        position: i64,
        subject: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<AuditRow>> {
        self.0.run(|| after(position, subject, limit).fetch_all(&self.0.pool)).await
    }

    /// Rows before a position, or from the newest on: at most `limit` that fit, among the next
    /// `SEARCHED`. Those about one subject are found by an index, however far back.
    pub async fn search(self, wanted: &Wanted, before: Option<i64>, limit: i64) -> Result<Found> {
        let end = match before {
            Some(before) => before,
            None => self.audit_head().await?.0 + 1,
        };
        let floor = if wanted.subject.is_some() { 0 } else { (end - SEARCHED).max(0) };
        let mut rows: Vec<AuditRow> = self
            .0
            .run(|| {
                search((
                    floor,
                    end,
                    wanted.subject,
                    wanted.actor.as_deref(),
                    wanted.action.as_deref(),
                    wanted.since,
                    wanted.until,
                    limit + 1,
                ))
                .fetch_all(&self.0.pool)
            })
            .await?;
        let more = i64::try_from(rows.len()).is_ok_and(|found| found > limit);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = if more { rows.last().map(|row| row.position) } else { Some(floor) };
        Ok(Found { rows, next: next.filter(|next| *next > 1) })
    }

    /// Position and digest of the newest row, as the chain's head says.
    pub async fn audit_head(self) -> Result<(i64, Vec<u8>)> {
        self.0.run(|| head().fetch_one(&self.0.pool)).await
    }

    /// Whether nobody is on record: a service has seeded the policy, and that is all.
    pub async fn audit_is_only_the_seed(self) -> Result<bool> {
        self.0.run(|| is_only_the_seed().fetch_one(&self.0.pool)).await
    }

    /// The newest checkpoint's position; 0 if there is none.
    pub async fn audit_checkpointed_to(self) -> Result<i64> {
        self.0.run(|| checkpointed_to().fetch_one(&self.0.pool)).await
    }

    /// Keeps a checkpoint; several processes may make the same.
    pub async fn add_audit_checkpoint(self, checkpoint: &AuditCheckpoint) -> Result<()> {
        self.0
            .run(|| async {
                add_checkpoint(
                    checkpoint.position,
                    checkpoint.at,
                    &checkpoint.digest,
                    &checkpoint.mac,
                )
                .execute(&self.0.pool)
                .await
                .map(drop)
            })
            .await
    }

    /// The checkpoints after a position, in order, at most `limit`.
    pub async fn audit_checkpoints_after(
        self,
        position: i64,
        limit: i64,
    ) -> Result<Vec<AuditCheckpoint>> {
        self.0.run(|| checkpoints_after(position, limit).fetch_all(&self.0.pool)).await
    }
}

statements! {
    execute add(
        at: OffsetDateTime,
        actor: &str,
        action: &str,
        subject: Option<Uuid>,
        purpose: Option<&str>,
        details: Option<&str>,
    ) =
        "insert into audit (at, actor, action, subject, purpose, details)
         values ($1, $2, $3, $4, $5, $6)";

    row after(position: i64, subject: Option<Uuid>, limit: i64) -> AuditRow =
        "select position, at, actor, action, subject, purpose, details, database_user,
             previous, digest
         from audit where position > $1 and ($2::uuid is null or subject = $2)
         order by position limit $3";

    row search((
        floor: i64,
        end: i64,
        subject: Option<Uuid>,
        actor: Option<&str>,
        action: Option<&str>,
        since: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
        limit: i64,
    )) -> AuditRow =
        "select position, at, actor, action, subject, purpose, details, database_user,
             previous, digest
         from audit where position >= $1 and position < $2
             and ($3::uuid is null or subject = $3)
             and ($4::text is null or strpos(actor, $4) > 0)
             and ($5::text is null or starts_with(action, $5))
             and ($6::timestamptz is null or at >= $6) and ($7::timestamptz is null or at < $7)
         order by position desc limit $8";

    row head() -> (i64, Vec<u8>) = "select position, digest from audit_head";

    scalar is_only_the_seed() -> bool =
        "select not exists (select from audit where action <> 'policy.seed')";

    scalar checkpointed_to() -> i64 =
        "select coalesce((select position from audit_checkpoints
                          order by position desc limit 1), 0)";

    execute add_checkpoint(position: i64, at: OffsetDateTime, digest: &[u8], mac: &[u8]) =
        "insert into audit_checkpoints (position, at, digest, mac)
         values ($1, $2, $3, $4) on conflict (position) do nothing";

    row checkpoints_after(position: i64, limit: i64) -> AuditCheckpoint =
        "select position, at, digest, mac from audit_checkpoints
         where position > $1 order by position limit $2";
}
