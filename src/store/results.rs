//! Answers and decisions about one verification, read back.

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::verifications::decision_of;
use crate::domain::answer::{AnswerError, ErrorClass, StoredResult, shown_code};
use crate::domain::decision::StoredDecision;
use crate::domain::ids::{ResultId, VerificationId};
use policy::evidence::Evidence;

/// A sealed body with what is needed to open it.
#[derive(Debug)]
pub struct SealedBody {
    /// Whose.
    pub verification_id: VerificationId,
    /// Ciphertext.
    pub body: Vec<u8>,
    /// Id of the key-encryption key that wraps the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped_key: Vec<u8>,
}

/// Answers and decisions about one verification.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a>(&'a Store);

impl Store {
    /// Answers and decisions about one verification.
    pub fn results(&self) -> Results<'_> {
        Results(self)
    }
}

impl Results<'_> {
    /// All answers about a verification, oldest first.
    pub async fn results_of(self, id: VerificationId) -> Result<Vec<StoredResult>> {
        let rows: Vec<ResultRow> =
            self.0.run(|| find_results(id.0).fetch_all(&self.0.pool)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// All decisions about a verification, oldest first; the last one stands.
    pub async fn decisions_of(self, id: VerificationId) -> Result<Vec<StoredDecision>> {
        let rows = self.0.run(|| find_decisions(id.0).fetch_all(&self.0.pool)).await?;
        rows.iter()
            .map(|row| decision_of(row)?.ok_or(Error::Inconsistent("decisions.id is null")))
            .collect()
    }

    /// The evidence of the current decision, and when its answer arrived; `None`: there is no
    /// decision.
    pub async fn standing_evidence(
        self,
        id: VerificationId,
    ) -> Result<Option<(Evidence, OffsetDateTime)>> {
        let row: Option<(Json<Evidence>, OffsetDateTime)> =
            self.0.run(|| find_current_evidence(id.0).fetch_optional(&self.0.pool)).await?;
        Ok(row.map(|(Json(evidence), fetched_at)| (evidence, fetched_at)))
    }

    /// The sealed body of one answer and the wrapped key that opens it.
    pub async fn sealed_body(self, id: ResultId) -> Result<Option<SealedBody>> {
        let row = self.0.run(|| find_sealed_body(id.0).fetch_optional(&self.0.pool)).await?;
        row.as_ref().map(sealed_body).transpose()
    }
}

fn sealed_body(row: &PgRow) -> Result<SealedBody> {
    Ok(SealedBody {
        verification_id: VerificationId(row.try_get("verification_id")?),
        body: row.try_get("sealed_body")?,
        key_id: row.try_get("key_id")?,
        wrapped_key: row.try_get("wrapped")?,
    })
}

#[derive(FromRow)]
struct ResultRow {
    id: Uuid,
    attempt: i32,
    fetched_at: OffsetDateTime,
    request_id: Option<String>,
    http_status: i32,
    evidence: Option<Json<Evidence>>,
    error_class: Option<String>,
    error_code: Option<String>,
    simulated: bool,
    coarsened: bool,
}

impl TryFrom<ResultRow> for StoredResult {
    type Error = Error;

    fn try_from(row: ResultRow) -> Result<Self> {
        let error = match row.error_class {
            None => None,
            Some(class) => Some(AnswerError {
                class: ErrorClass::parse(&class)
                    .ok_or(Error::Inconsistent("results.error_class"))?,
                // Older versions stored codes as they came.
                code: row.error_code.as_deref().map(shown_code),
            }),
        };
        Ok(Self {
            id: ResultId(row.id),
            attempt: row.attempt,
            fetched_at: row.fetched_at,
            request_id: row.request_id,
            http_status: u16::try_from(row.http_status)
                .map_err(|_| Error::Inconsistent("results.http_status"))?,
            evidence: row.evidence.map(|Json(evidence)| evidence),
            error,
            simulated: row.simulated,
            coarsened: row.coarsened,
        })
    }
}

statements! {
    row find_results(verification: Uuid) -> ResultRow =
        "select id, attempt, fetched_at, request_id, http_status, evidence,
             error_class, error_code, simulated, coarsened
         from results where verification_id = $1 order by attempt";

    read(decision_of) find_decisions(verification: Uuid) =
        "select id as decision_id, result_id, policy_digest, outcome, reasons,
             decided_by, decided_at, simulated
         from decisions where verification_id = $1 order by position";

    row find_current_evidence(verification: Uuid) -> (Json<Evidence>, OffsetDateTime) =
        "select r.evidence, r.fetched_at
         from (select decision_id from verifications where id = $1) v
         cross join lateral (
             select result_id from decisions where id = v.decision_id limit 1) d
         cross join lateral (
             select evidence, fetched_at from results where id = d.result_id limit 1) r";

    read(sealed_body) find_sealed_body(id: Uuid) =
        "select r.verification_id, r.sealed_body, k.key_id, k.wrapped
         from results r join data_keys k using (verification_id) where r.id = $1";
}
