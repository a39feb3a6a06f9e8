//! Decisions of policies in shadow, each beside the one that counted.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;
use policy::decision::{Outcome, Reason};
use policy::evidence::Evidence;

/// One decision of a shadow, with the one that counted and the evidence of both.
#[derive(Clone, Debug)]
pub struct ShadowDecision {
    /// The decision that counted.
    pub decision: Uuid,
    /// The answer that both judged.
    pub answer: Uuid,
    pub verification: VerificationId,
    /// When the answer came.
    pub at: OffsetDateTime,
    /// The outcome that counted, and its reason that weighed most.
    pub active: Outcome,
    pub active_reason: String,
    /// The outcome and reasons of the shadow.
    pub outcome: Outcome,
    pub reasons: Vec<Reason>,
    /// `None`: the person was erased.
    pub evidence: Option<Evidence>,
}

/// Decisions of shadows.
#[derive(Clone, Copy, Debug)]
pub struct Shadows<'a>(&'a Store);

impl Store {
    /// Decisions of shadows.
    pub fn shadows(&self) -> Shadows<'_> {
        Shadows(self)
    }
}

impl Shadows<'_> {
    /// The decisions of a policy in shadow before one, newest first, in these scenes; `None`: in all.
    pub async fn newest(
        self,
        digest: &str,
        scenes: Option<&[&str]>,
        (before, limit): (Uuid, i64),
    ) -> Result<Vec<ShadowDecision>> {
        let find = || find_newest(digest, scenes, before, limit).fetch_all(&self.0.pool);
        self.0.run(find).await?.iter().map(read).collect()
    }
}

fn read(row: &PgRow) -> Result<ShadowDecision> {
    let outcome = |column: &str| {
        Outcome::parse(row.try_get(column)?).ok_or(Error::Inconsistent("shadow_decisions.outcome"))
    };
    let Json(reasons) = row.try_get("reasons")?;
    let evidence: Option<Json<Evidence>> = row.try_get("evidence")?;
    Ok(ShadowDecision {
        decision: row.try_get("decision_id")?,
        answer: row.try_get("result_id")?,
        verification: VerificationId(row.try_get("verification_id")?),
        at: row.try_get("fetched_at")?,
        active: outcome("active_outcome")?,
        active_reason: row.try_get::<Option<_>, _>("reason")?.unwrap_or_default(),
        outcome: outcome("outcome")?,
        reasons,
        evidence: evidence.map(|Json(evidence)| evidence),
    })
}

statements! {
    read(read) find_newest(digest: &str, scenes: Option<&[&str]>, before: Uuid, limit: i64) =
        "select s.decision_id, s.verification_id, s.active_outcome, s.outcome, s.reasons,
             d.result_id, d.reasons -> 0 ->> 'code' as reason, r.fetched_at,
             case when not r.coarsened then r.evidence end as evidence
         from (select * from shadow_decisions s
               where s.policy_digest = $1 and s.decision_id < $3
                   and ($2::text[] is null or (
                       select true from verifications v
                       where v.id = s.verification_id and v.biz_type = any ($2) limit 1))
               order by s.decision_id desc limit $4) s
         cross join lateral (
             select result_id, reasons from decisions where id = s.decision_id limit 1) d
         cross join lateral (
             select evidence, coarsened, fetched_at from results where id = d.result_id limit 1) r
         order by s.decision_id desc";
}
