//! Erasures as a list, for the copy that is kept outside the database.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::erasure::Erasures;
use super::error::Result;
use super::statements::statements;

/// One erasure: ids and times, nothing of the person.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ErasureRow {
    pub verification_id: Uuid,
    pub requested_at: OffsetDateTime,
    /// `None`: a worker still has to delete images.
    pub completed_at: Option<OffsetDateTime>,
}

impl Erasures<'_> {
    /// Erasures that were requested at `since` or later, of verifications after `after`, in order.
    pub async fn list(
        self,
        since: Option<OffsetDateTime>,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<ErasureRow>> {
        self.0.run(|| list_erasures(after, since, limit).fetch_all(&self.0.pool)).await
    }
}

statements! {
    row list_erasures(after: Uuid, since: Option<OffsetDateTime>, most: i64) -> ErasureRow =
        "select verification_id, requested_at, completed_at from erasures
         where verification_id > $1 and ($2::timestamptz is null or requested_at >= $2)
         order by verification_id limit $3";
}
