//! The past, a page at a time in the order of ids (which begin with the time), for backtests,
//! replays, calibration, and deciding again.
//!
//! What is asked about is answers: when one came does not change when it is decided upon again.
//! Each page is a statement of its own: no snapshot is held while millions are gone through.

use std::collections::HashSet;

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::decision::StoredDecision;
use crate::domain::ids::VerificationId;
use crate::store::error::Error;
use policy::decision::Outcome;
use policy::evidence::Evidence;

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is in it: perhaps less than was looked at.
    pub items: Vec<T>,
    /// The last id looked at; `None`: there are no more.
    pub end: Option<Uuid>,
    /// Rows looked at.
    pub looked_at: u64,
}

/// One answer, with what a policy decided about it and the evidence that was decided from.
#[derive(Clone, Debug)]
pub struct Past {
    /// The answer.
    pub id: Uuid,
    /// What was decided about.
    pub verification: VerificationId,
    /// What was decided.
    pub outcome: Outcome,
    /// The reason that weighed most.
    pub reason: String,
    /// What was known.
    pub evidence: Evidence,
    /// The person was erased: the evidence is not what was decided from.
    pub erased: bool,
    /// When the answer had come.
    pub fetched_at: OffsetDateTime,
}

/// One decision by a policy with all it was made of.
#[derive(Clone, Debug)]
pub struct PastInFull {
    /// The decision.
    pub id: Uuid,
    /// The answer it judged.
    pub result: Uuid,
    /// The scene.
    pub biz_type: String,
    /// The policy that decided.
    pub policy: String,
    /// Outcome, as stored.
    pub outcome: String,
    /// Reasons, as stored.
    pub reasons: serde_json::Value,
    /// What was known; `None`: the answer is gone, which nothing here does.
    pub evidence: Option<Evidence>,
    /// The person was erased: neither evidence nor reasons are what they were.
    pub erased: bool,
}

/// One standing decision by a policy.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What was decided about.
    pub verification: VerificationId,
    /// The decision.
    pub decision: Uuid,
    /// The answer it judged.
    pub result: Uuid,
    /// The policy that decided.
    pub policy: String,
    /// What was decided, and why, as stored.
    pub reasons: serde_json::Value,
    /// What was known.
    pub evidence: Evidence,
    /// The person was erased: nothing is decided about them any more.
    pub erased: bool,
}

/// One answer with a status.
#[derive(Clone, Debug)]
pub struct PastAnswer {
    /// The result.
    pub id: Uuid,
    /// When it had come.
    pub fetched_at: OffsetDateTime,
    /// What it said.
    pub evidence: Evidence,
    /// The person was erased: no score is left.
    pub erased: bool,
}

/// The past, a page at a time.
#[derive(Clone, Copy, Debug)]
pub struct History<'a>(&'a Store);

impl Store {
    /// The past, a page at a time.
    pub fn history(&self) -> History<'_> {
        History(self)
    }
}

impl History<'_> {
    /// The next answers after an id, with what a policy decided about them. Where one was decided
    /// upon again, only the newest decision of a policy counts: what a person made of it says
    /// nothing about policies.
    pub async fn past_after(self, after: Uuid, limit: i64) -> Result<Page<Past>> {
        let rows = self.0.run(|| find_past(after, limit).fetch_all(&self.0.pool)).await?;
        page(&rows, past)
    }

    /// The next decisions by policies after an id, with all they were made of.
    pub async fn past_in_full_after(self, after: Uuid, limit: i64) -> Result<Page<PastInFull>> {
        let rows = self.0.run(|| find_past_in_full(after, limit).fetch_all(&self.0.pool)).await?;
        page(&rows, past_in_full)
    }

    /// The next answers after an id with the decisions of policies about them that stand, whatever
    /// became of their verifications since. Those of erased persons are marked, to be counted only.
    pub async fn standing_after(self, after: Uuid, limit: i64) -> Result<Page<Standing>> {
        let rows = self.0.run(|| find_standing(after, limit).fetch_all(&self.0.pool)).await?;
        page(&rows, standing)
    }

    /// Writes new decisions in place of standing ones that still stand; answers how many did.
    /// `None`, and nothing is written: what is in use has changed since activation `as_of`.
    pub async fn decide_again(
        self,
        new: &[(Standing, StoredDecision)],
        as_of: i64,
        now: OffsetDateTime,
    ) -> Result<Option<u64>> {
        let rows: Vec<serde_json::Value> = new
            .iter()
            .map(|(old, new)| {
                serde_json::json!({
                    "verification_id": old.verification,
                    "old_id": old.decision,
                    "id": new.id,
                    "result_id": new.result_id,
                    "policy": new.policy,
                    "outcome": new.decision.outcome,
                    "reasons": new.decision.reasons,
                })
            })
            .collect();
        // Fenced twice. By the newest activation, which stays the newest
        // until this commits: a policy that was rolled back decides nothing more. By the decision
        // it replaces: what was decided meanwhile, or erased, stays. The old decision stays too,
        // as history.
        let (fits, written): (bool, i64) =
            self.0.once(decide_again(Json(&rows[..]), now, as_of).fetch_one(&self.0.pool)).await?;
        Ok(fits.then_some(u64::try_from(written).unwrap_or(0)))
    }

    /// The next answers with a status after an id.
    pub async fn answers_after(self, after: Uuid, limit: i64) -> Result<Vec<PastAnswer>> {
        let rows = self.0.run(|| find_answers(after, limit).fetch_all(&self.0.pool)).await?;
        rows.iter().map(past_answer).collect()
    }

    /// The newest answer that there is; none: nil.
    pub async fn newest_answer(self) -> Result<Uuid> {
        let newest = self.0.run(|| find_newest().fetch_optional(&self.0.pool)).await?;
        Ok(newest.unwrap_or_default())
    }

    /// Keeps the answers that are the last about their persons, among the decided ones up to an answer
    /// and in a scene. A person is the reference of a source; each verification without one counts as
    /// a person. Erased verifications do not count.
    pub async fn last_about_persons(
        self,
        answers: &[(Uuid, VerificationId)],
        (newest, scene): (Uuid, Option<&str>),
    ) -> Result<HashSet<Uuid>> {
        let (ids, about): (Vec<Uuid>, Vec<Uuid>) =
            answers.iter().map(|(answer, verification)| (*answer, verification.0)).unzip();
        let find = || find_last_about_persons(&ids, &about, newest, scene).fetch_all(&self.0.pool);
        Ok(self.0.run(find).await?.into_iter().collect())
    }

    /// Roughly how many answers came in a time, as Postgres estimates it.
    pub async fn answers_roughly(self, from: Uuid, to: Option<Uuid>) -> Result<i64> {
        let Json(plan): Json<serde_json::Value> = self
            .0
            .run(|| explain_answers(from, to.unwrap_or(Uuid::max())).fetch_one(&self.0.pool))
            .await?;
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_i64).unwrap_or(0))
    }
}

/// Reads the rows of a page; `read` answers `None` for one with nothing to it.
fn page<T>(rows: &[PgRow], read: impl Fn(&PgRow) -> Result<Option<T>>) -> Result<Page<T>> {
    let end = rows.last().map(|row| row.try_get("id")).transpose()?;
    let items = rows.iter().filter_map(|row| read(row).transpose()).collect::<Result<_>>()?;
    Ok(Page { items, end, looked_at: u64::try_from(rows.len()).unwrap_or(0) })
}

fn past(row: &PgRow) -> Result<Option<Past>> {
    let Some(Json(evidence)) = row.try_get("evidence")? else { return Ok(None) };
    Ok(Some(Past {
        id: row.try_get("id")?,
        verification: VerificationId(row.try_get("verification_id")?),
        outcome: Outcome::parse(row.try_get("outcome")?)
            .ok_or(Error::Inconsistent("decisions.outcome"))?,
        reason: row.try_get::<Option<_>, _>("reason")?.unwrap_or_default(),
        evidence,
        erased: row.try_get("coarsened")?,
        fetched_at: row.try_get("fetched_at")?,
    }))
}

fn past_in_full(row: &PgRow) -> Result<Option<PastInFull>> {
    let Json(reasons) = row.try_get("reasons")?;
    let evidence: Option<Json<Evidence>> = row.try_get("evidence")?;
    Ok(Some(PastInFull {
        id: row.try_get("id")?,
        result: row.try_get("result_id")?,
        biz_type: row.try_get("biz_type")?,
        policy: row.try_get("policy_digest")?,
        outcome: row.try_get("outcome")?,
        reasons,
        evidence: evidence.map(|Json(evidence)| evidence),
        erased: row.try_get("coarsened")?,
    }))
}

fn standing(row: &PgRow) -> Result<Option<Standing>> {
    let Some(Json(evidence)) = row.try_get("evidence")? else { return Ok(None) };
    let Json(reasons) = row.try_get("reasons")?;
    Ok(Some(Standing {
        verification: VerificationId(row.try_get("verification_id")?),
        decision: row.try_get("decision_id")?,
        result: row.try_get("id")?,
        policy: row.try_get("policy_digest")?,
        reasons,
        evidence,
        erased: row.try_get("erased")?,
    }))
}

fn past_answer(row: &PgRow) -> Result<PastAnswer> {
    let Json(evidence) = row.try_get("evidence")?;
    let (id, fetched_at) = (row.try_get("id")?, row.try_get("fetched_at")?);
    Ok(PastAnswer { id, fetched_at, evidence, erased: row.try_get("coarsened")? })
}

/// Longest time one page may reasonably take: pages are sized for far less.
pub const PAGE: i64 = 1000;

statements! {
    read(past) find_past(after: Uuid, limit: i64) =
        "select r.id, r.verification_id, r.fetched_at, d.outcome, d.reason, r.coarsened,
             case when d.outcome is not null then r.evidence end as evidence
         from (select id, verification_id, fetched_at, evidence, coarsened from results
               where id > $1 order by id limit $2) r
         left join lateral (
             select outcome, reasons -> 0 ->> 'code' as reason from decisions
             where verification_id = r.verification_id and result_id = r.id
                 and decided_by = 'policy'
             order by position desc limit 1) d on true
         order by r.id";

    read(past_in_full) find_past_in_full(after: Uuid, limit: i64) =
        "select d.id, d.result_id, d.policy_digest, d.outcome, d.reasons, r.evidence,
             -- A result that retention has dropped was of an erased verification.
             coalesce(r.coarsened, v.erased, false) as coarsened,
             coalesce(r.evidence ->> 'biz_type', v.biz_type, '') as biz_type
         from (select * from decisions
               where id > $1 and decided_by = 'policy' order by id limit $2) d
         left join lateral (
             select evidence, coarsened from results
             where id = d.result_id limit 1) r on true
         left join lateral (
             select biz_type, state = 'erased' as erased from verifications
             where id = d.verification_id and r.evidence is null limit 1) v on true
         order by d.id";

    read(standing) find_standing(after: Uuid, limit: i64) =
        "select r.id, r.verification_id, d.id as decision_id, d.policy_digest, d.reasons,
             v.erased, case when d.id is not null then r.evidence end as evidence
         from (select id, verification_id, evidence from results
               where id > $1 order by id limit $2) r
         left join lateral (
             select decision_id, state = 'erased' as erased from verifications
             where id = r.verification_id limit 1) v on true
         left join lateral (
             select * from decisions where id = v.decision_id and result_id = r.id
                 and decided_by = 'policy' limit 1) d on true
         order by r.id";

    row decide_again(
        rows: Json<&[serde_json::Value]>,
        at: OffsetDateTime,
        as_of: i64,
    ) -> (bool, i64) = include_str!("sql/history_decide_again.sql");

    read(past_answer) find_answers(after: Uuid, limit: i64) =
        "select id, fetched_at, evidence, coarsened from results
         where id > $1 and evidence is not null order by id limit $2";

    scalar find_newest() -> Uuid = "select id from results order by id desc limit 1";

    scalar find_last_about_persons(
        answers: &[Uuid],
        verifications: &[Uuid],
        newest: Uuid,
        scene: Option<&str>,
    ) -> Uuid = include_str!("sql/history_last_about_persons.sql");

    scalar explain_answers(from: Uuid, to: Uuid) -> Json<serde_json::Value> =
        "explain (format json) select from results where id > $1 and id < $2";
}
