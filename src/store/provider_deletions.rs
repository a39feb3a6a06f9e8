//! Deleting the provider's own copy of an erased person.
//!
//! Deleting is idempotent, so a claim only moves the time of the next try: a process that dies
//! leaves nothing behind, and two that ask for the same do no harm.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use super::verifications::product_of;
use crate::domain::ids::VerificationId;
use policy::product::Product;

/// The provider takes so many deletions a second of an account.
pub const PER_SECOND: i64 = 10;
/// Until a claimed deletion is asked for again, if nothing is heard of it.
const TRY_AGAIN: Duration = Duration::from_mins(2);

/// A copy to be deleted now.
#[derive(Clone, Debug)]
pub struct ClaimedCopy {
    pub verification: VerificationId,
    pub product: Product,
    pub biz_type: String,
    pub biz_id: String,
    pub certify_id: Option<String>,
    /// From 1.
    pub attempt: i32,
}

/// Copies at the provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderDeletions<'a>(&'a Store);

impl Store {
    pub fn provider_deletions(&self) -> ProviderDeletions<'_> {
        ProviderDeletions(self)
    }
}

impl ProviderDeletions<'_> {
    /// Claims the copies that may be deleted within this second; empty if none is due, or another
    /// process has claimed some within the last second.
    pub async fn claim(self) -> Result<Vec<ClaimedCopy>> {
        let rows = self
            .0
            .run(|| claim(PER_SECOND, TRY_AGAIN.as_secs_f64()).fetch_all(&self.0.pool))
            .await?;
        rows.iter().map(copy).collect()
    }

    /// Records that the provider has deleted its copy.
    pub async fn deleted(self, id: VerificationId, at: OffsetDateTime) -> Result<()> {
        self.0.run(|| note_deleted(id.0, at).execute(&self.0.pool)).await.map(drop)
    }

    /// Asks again after this time.
    pub async fn retry(self, id: VerificationId, after: Duration) -> Result<()> {
        self.0.run(|| retry(id.0, after.as_secs_f64()).execute(&self.0.pool)).await.map(drop)
    }
}

fn copy(row: &PgRow) -> Result<ClaimedCopy> {
    Ok(ClaimedCopy {
        verification: VerificationId(row.try_get("verification_id")?),
        product: product_of(row)?,
        biz_type: row.try_get("biz_type")?,
        biz_id: row.try_get("biz_id")?,
        certify_id: row.try_get("certify_id")?,
        attempt: row.try_get("attempts")?,
    })
}

statements! {
    read(copy) claim(most: i64, again: f64) =
        "with pace as (
             update provider_deletion_pace set next_at = verdict_now() + interval '1 second'
             where next_at <= verdict_now()
                 and exists (select from provider_deletions where due_at <= verdict_now())
             returning true
         ), next as (
             select verification_id from provider_deletions
             where due_at <= verdict_now() and exists (select from pace)
             order by due_at limit $1
             for update skip locked
         )
         update provider_deletions d
         set due_at = verdict_now() + make_interval(secs => $2), attempts = d.attempts + 1
         from verifications v
         where d.verification_id = any (array(select verification_id from next))
             and v.id = d.verification_id
         returning d.verification_id, d.attempts, v.product, v.biz_type, v.biz_id, v.certify_id";

    execute note_deleted(id: Uuid, at: OffsetDateTime) =
        "with deleted as (
             update provider_deletions set due_at = null, deleted_at = $2
             where verification_id = $1 and deleted_at is null
             returning verification_id
         )
         insert into audit (at, actor, action, subject)
         select $2, 'service', 'verification.provider-copy-deleted', verification_id from deleted";

    execute retry(id: Uuid, after: f64) =
        "update provider_deletions set due_at = verdict_now() + make_interval(secs => $2)
         where verification_id = $1 and deleted_at is null";
}
