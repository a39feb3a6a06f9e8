//! Rows of archived images, for the comparison with the object store.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::images::Images;
use super::statements::statements;

/// The place of one archived image.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ArchivedRow {
    pub result_id: Uuid,
    pub kind: String,
    pub verification_id: Uuid,
}

impl Images<'_> {
    /// Archived images after this one, in order of result and kind. Those of verifications with open
    /// tasks are left out: a worker is about to change them.
    pub async fn archived_after(
        self,
        result: Uuid,
        kind: &str,
        limit: i64,
    ) -> Result<Vec<ArchivedRow>> {
        self.0.run(|| list_archived(result, kind, limit).fetch_all(&self.0.pool)).await
    }

    /// Whether an object belongs to a row, or to work that may still write the row.
    pub async fn is_expected(self, verification: Uuid, result: Uuid, kind: &str) -> Result<bool> {
        self.0.run(|| is_expected(verification, result, kind).fetch_one(&self.0.pool)).await
    }

    /// Whether the row is still there, and no worker is about to change it.
    pub async fn is_settled(self, row: &ArchivedRow) -> Result<bool> {
        self.0.run(|| is_settled(row.result_id, &row.kind).fetch_one(&self.0.pool)).await
    }

    /// Notes that the object of an archived image is gone; `false`: the row has changed meanwhile.
    pub async fn note_missing(self, row: &ArchivedRow, doing: &AuditContext) -> Result<bool> {
        let (at, actor, purpose) = (doing.at, &doing.actor, doing.purpose.as_deref());
        self.0
            .once(
                note_missing(row.result_id, &row.kind, at, actor, purpose).fetch_one(&self.0.pool),
            )
            .await
    }
}

statements! {
    row list_archived(result: Uuid, kind: &str, most: i64) -> ArchivedRow =
        "select result_id, kind, verification_id from images
         where state = 'archived' and (result_id, kind) > ($1, $2)
             and not exists (select from tasks t where t.verification_id = images.verification_id)
         order by result_id, kind limit $3";

    /// A task that deletes images takes all objects of its verification, and needs no help.
    scalar is_expected(verification: Uuid, result: Uuid, kind: &str) -> bool =
        "select exists (
                 select from images
                 where result_id = $2 and kind = $3 and verification_id = $1
                     and state = 'archived')
             or exists (select from tasks where verification_id = $1)";

    scalar is_settled(result: Uuid, kind: &str) -> bool =
        "select exists (
             select from images
             where result_id = $1 and kind = $2 and state = 'archived'
                 and not exists (
                     select from tasks t where t.verification_id = images.verification_id))";

    scalar note_missing(
        result: Uuid,
        kind: &str,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> bool =
        "with noted as (
             update images
             set state = 'lost', reason = 'object-missing', settled_at = $3, content_type = null,
                 bytes = null, sha256 = null, person = null, unusual = null
             where result_id = $1 and kind = $2 and state = 'archived'
                 and not exists (
                     select from tasks t where t.verification_id = images.verification_id)
             returning verification_id
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $3, $4, 'image.missing', verification_id, $5,
                 json_build_object('result', $1, 'kind', $2::text)::text
             from noted
         )
         select exists (select from noted)";
}
