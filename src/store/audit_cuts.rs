//! The segments of the audit, one partition each: opening the next one, and dropping the oldest.
//! [0035](../../docs/decisions/0035-the-audit-by-segment.md) says why.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::error::{Error, Result};
use super::months::DropOutcome;
use super::pool::Store;
use super::statements::statements;

/// Retention dropped the rows up to a position: what they were, signed.
#[derive(Clone, Debug, FromRow)]
pub struct AuditCut {
    /// Position of the newest dropped row.
    pub position: i64,
    /// Its digest.
    pub digest: Vec<u8>,
    /// When it was signed.
    pub at: OffsetDateTime,
    /// The fold of the digests of all rows up to it.
    pub leaves: Vec<u8>,
    /// Over all of that.
    pub mac: Vec<u8>,
}

/// The digest of a dropped row.
#[derive(Clone, Debug, FromRow)]
pub struct AuditLeaf {
    pub position: i64,
    pub digest: Vec<u8>,
}

/// A closed segment, all of which is older than its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct OldSegment {
    pub segment: i32,
    /// Position of its newest row.
    pub last: i64,
}

/// The open segment.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct AuditReach {
    pub segment_since: OffsetDateTime,
    /// Without one no row can be added.
    pub has_partition: bool,
}

/// Where the rows of the audit begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct AuditBegins {
    /// Position of the oldest row that is kept.
    pub position: i64,
    pub at: OffsetDateTime,
}

/// The segments and cuts of the audit.
#[derive(Clone, Copy, Debug)]
pub struct AuditCuts<'a>(&'a Store);

impl Store {
    pub fn audit_cuts(&self) -> AuditCuts<'_> {
        AuditCuts(self)
    }
}

impl AuditCuts<'_> {
    /// All cuts, the oldest first: one for each dropped segment.
    pub async fn all(self) -> Result<Vec<AuditCut>> {
        self.0.run(|| cuts().fetch_all(&self.0.pool)).await
    }

    /// The digests of dropped rows after a position, in order, at most `limit`.
    pub async fn leaves_after(self, position: i64, limit: i64) -> Result<Vec<AuditLeaf>> {
        self.0.run(|| leaves_after(position, limit).fetch_all(&self.0.pool)).await
    }

    /// The oldest row that is kept, if older ones were dropped.
    pub async fn begins(self) -> Result<Option<AuditBegins>> {
        self.0.run(|| begins().fetch_optional(&self.0.pool)).await
    }

    /// Opens the next segment if the open one is of an earlier month and has rows; whether it did.
    /// Several processes may do it at once.
    pub async fn turn(self) -> Result<bool> {
        self.0.run(|| turn().fetch_one(&self.0.pool)).await
    }

    /// The open segment.
    pub async fn reach(self) -> Result<AuditReach> {
        self.0.run(|| reach().fetch_one(&self.0.pool)).await
    }

    /// The oldest segment, if it is closed and its newest row is older than so many days.
    pub async fn oldest(self, days: i32) -> Result<Option<OldSegment>> {
        let oldest = self.0.run(|| oldest_closed().fetch_optional(&self.0.pool)).await?;
        let Some(segment) = oldest else { return Ok(None) };
        self.0.run(|| older_than(segment, days).fetch_optional(&self.0.pool)).await
    }

    /// Drops the oldest segment and keeps the cut, unless the database finds that a person whose data
    /// is kept needs it. Recorded in the audit.
    ///
    /// Copying the digests takes longer than other statements may.
    pub async fn cut(self, segment: i32, days: i32, cut: &AuditCut) -> Result<DropOutcome> {
        let AuditCut { position, digest, at, leaves, mac } = cut;
        let dropping = async {
            let mut transaction = self.0.pool.begin().await?;
            set_long_timeout().execute(&mut transaction).await?;
            let dropped: Option<i64> =
                drop_segment(segment, days, *position, digest, *at, leaves, mac)
                    .fetch_one(&mut transaction)
                    .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(dropped)
        };
        Ok(match dropping.await.map_err(Error::from)? {
            Some(rows) => u64::try_from(rows).map_or(DropOutcome::Needed, DropOutcome::Dropped),
            None => DropOutcome::Gone,
        })
    }

    /// Deletes the checkpoints that stand before the newest cut, at most so many; answers how many.
    pub async fn drop_checkpoints(self, most: i32) -> Result<u64> {
        let dropped = self.0.run(|| drop_checkpoints(most).fetch_one(&self.0.pool)).await?;
        Ok(dropped.unsigned_abs())
    }
}

statements! {
    row cuts() -> AuditCut =
        "select position, digest, at, leaves, mac from audit_cuts order by position";

    row leaves_after(position: i64, limit: i64) -> AuditLeaf =
        "select position, digest from audit_leaves where position > $1 order by position limit $2";

    row begins() -> AuditBegins =
        "select position, at from audit where exists (select from audit_cuts)
         order by position limit 1";

    scalar turn() -> bool = "select verdict_turn_audit()";

    row reach() -> AuditReach = "select segment_since, has_partition from verdict_audit_reach()";

    scalar oldest_closed() -> i32 =
        "select segment from (select segment from audit order by position limit 1) oldest
         where segment < (select segment from audit_head)";

    row older_than(segment: i32, days: i32) -> OldSegment =
        "select segment, position as last from (
             select segment, position, at from audit where segment = $1
             order by position desc limit 1) newest
         where at < verdict_now() - make_interval(days => $2)";

    execute set_long_timeout() = "set local statement_timeout = '10min'";

    scalar drop_segment(
        segment: i32,
        days: i32,
        position: i64,
        digest: &[u8],
        at: OffsetDateTime,
        leaves: &[u8],
        mac: &[u8],
    ) -> Option<i64> = "select verdict_cut_audit($1, $2, $3, $4, $5, $6, $7)";

    scalar drop_checkpoints(most: i32) -> i64 = "select verdict_drop_checkpoints($1)";
}
