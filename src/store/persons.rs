//! All that is held of a person: found by the blind index of the identity number, and read on record.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;

/// What a sealed value is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedPart {
    /// What a result says of the person.
    Material,
    /// The body of a result, as the provider sent it.
    Body,
    /// The note of a review.
    Note,
    /// The provider's answer to the start.
    StartAnswer,
}

/// One sealed value of a verification.
#[derive(Clone, Debug)]
pub struct SealedValue {
    pub part: SealedPart,
    /// Of the result, the review or the verification.
    pub id: Uuid,
    pub bytes: Vec<u8>,
}

#[derive(FromRow)]
struct SealedRow {
    part: String,
    id: Uuid,
    bytes: Vec<u8>,
}

/// All that is held of persons.
#[derive(Clone, Copy, Debug)]
pub struct Persons<'a>(&'a Store);

impl Store {
    pub fn persons(&self) -> Persons<'_> {
        Persons(self)
    }
}

impl Persons<'_> {
    /// The verifications whose results or start have this blind index; that somebody looked is recorded by the same
    /// statement.
    pub async fn look_up(
        self,
        person: &[u8; 32],
        context: &AuditContext,
    ) -> Result<Vec<VerificationId>> {
        let purpose = context.purpose.as_deref();
        let ids: Vec<Uuid> = self
            .0
            .once(look_up(&person[..], context.at, &context.actor, purpose).fetch_one(&self.0.pool))
            .await?;
        Ok(ids.into_iter().map(VerificationId).collect())
    }

    /// Everything that is not sealed; that it was read is recorded by the same statement. `None`:
    /// there is no such verification.
    pub async fn export(self, id: VerificationId, context: &AuditContext) -> Result<Option<Value>> {
        let purpose = context.purpose.as_deref();
        let row: Option<Json<Value>> = self
            .0
            .once(export(id.0, context.at, &context.actor, purpose).fetch_optional(&self.0.pool))
            .await?;
        Ok(row.map(|Json(value)| value))
    }

    /// The sealed values, without the bodies of results. Read after [`Self::export`], which is on
    /// record.
    pub async fn sealed_values(self, id: VerificationId) -> Result<Vec<SealedValue>> {
        let rows: Vec<SealedRow> = self.0.run(|| find_sealed(id.0).fetch_all(&self.0.pool)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The sealed bodies of its results, which only the owner of the database may read.
    pub async fn sealed_bodies(self, id: VerificationId) -> Result<Vec<SealedValue>> {
        let rows: Vec<SealedRow> = self.0.run(|| find_bodies(id.0).fetch_all(&self.0.pool)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }
}

impl TryFrom<SealedRow> for SealedValue {
    type Error = Error;

    fn try_from(row: SealedRow) -> Result<Self> {
        let part = match row.part.as_str() {
            "material" => SealedPart::Material,
            "body" => SealedPart::Body,
            "note" => SealedPart::Note,
            "start" => SealedPart::StartAnswer,
            _ => return Err(Error::Inconsistent("the part of a sealed value")),
        };
        Ok(Self { part, id: row.id, bytes: row.bytes })
    }
}

statements! {
    scalar look_up(
        person: &[u8],
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> Vec<Uuid> = include_str!("sql/persons_look_up.sql");

    scalar export(
        verification: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    ) -> Json<Value> = include_str!("sql/persons_export.sql");

    row find_sealed(verification: Uuid) -> SealedRow =
        "select 'material' as part, result_id as id, sealed as bytes
         from material where verification_id = $1
         union all
         select 'note', id, note from reviews where verification_id = $1 and note is not null
         union all
         select 'start', verification_id, answer from starts
         where verification_id = $1 and answer is not null";

    row find_bodies(verification: Uuid) -> SealedRow =
        "select 'body' as part, id, sealed_body as bytes
         from results where verification_id = $1 and length(sealed_body) > 0";
}
