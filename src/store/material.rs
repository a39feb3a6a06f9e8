//! The person's data: reading it, recorded.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;

/// What an answer said of the person, sealed, with the wrapped key that opens it.
#[derive(Clone, Debug, FromRow)]
pub struct SealedMaterial {
    /// The answer it came with.
    pub result_id: Uuid,
    /// When that answer had come.
    pub fetched_at: OffsetDateTime,
    /// Ciphertext.
    pub sealed: Vec<u8>,
    /// Which key wraps the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped: Vec<u8>,
}

/// The person's data, read on record.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a>(&'a Store);

impl Store {
    /// The person's data, read on record.
    pub fn material(&self) -> Material<'_> {
        Material(self)
    }
}

impl Material<'_> {
    /// The newest material of a verification; that it was read is recorded by the same statement.
    pub async fn read_material(
        self,
        id: VerificationId,
        doing: &AuditContext,
    ) -> Result<Option<SealedMaterial>> {
        // No row leaves the database unless its reading is on record.
        self.0
            .once(
                read_newest(id.0, doing.at, &doing.actor, doing.purpose.as_deref())
                    .fetch_optional(&self.0.pool),
            )
            .await
    }
}

statements! {
    row read_newest(
        id: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> SealedMaterial =
        "with wanted as (
             select m.result_id, r.fetched_at, m.sealed, k.key_id, k.wrapped
             from (select * from material where verification_id = $1
                  order by verification_id desc, result_id desc limit 1) m
             join results r on r.id = m.result_id
             join data_keys k on k.verification_id = $1
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $2, $3, 'material.read', $1, $4,
                 json_build_object('result', result_id)::text
             from wanted returning 1
         )
         select wanted.* from wanted, recorded";
}
