//! The past, a page at a time in the order of ids (which begin with the time), for backtests,
//! replays, calibration, and deciding again.
//!
//! Each page is a statement of its own: no snapshot is held while millions are gone through.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::tasks::Task;
use super::{Result, Store};
use crate::domain::decision::{Outcome, StoredDecision};
use crate::domain::evidence::Evidence;
use crate::domain::ids::VerificationId;
use crate::store::Error;

/// One decision by a policy, with the evidence it was made from.
#[derive(Clone, Debug)]
pub struct Past {
    /// The decision.
    pub id: Uuid,
    /// What was decided about.
    pub verification: VerificationId,
    /// What was decided.
    pub outcome: Outcome,
    /// The reason that weighed most.
    pub reason: String,
    /// What was known.
    pub evidence: Evidence,
    /// When the answer had come.
    pub fetched_at: OffsetDateTime,
}

/// One decision by a policy with all it was made of.
#[derive(Clone, Debug)]
pub struct PastInFull {
    /// The decision.
    pub id: Uuid,
    /// What was decided about.
    pub verification: VerificationId,
    /// The policy that decided.
    pub policy: String,
    /// Outcome, as stored.
    pub outcome: String,
    /// Reasons, as stored.
    pub reasons: serde_json::Value,
    /// What was known.
    pub evidence: Evidence,
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
}

/// A backtest under way or done.
#[derive(Clone, Debug, FromRow)]
pub struct Backtest {
    /// Its id.
    pub id: Uuid,
    /// The policy tried.
    pub digest: String,
    /// Only decisions since then.
    pub since: Option<OffsetDateTime>,
    /// Only this scene.
    pub biz_type: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it last went on.
    pub updated_at: OffsetDateTime,
    /// `running`, `done`, `failed`.
    pub state: String,
    /// The last decision seen.
    pub after: Uuid,
    /// What came of it so far.
    pub comparison: Json<serde_json::Value>,
}

impl Store {
    /// The next decisions by policies after an id, with their evidence. Where answers were decided
    /// upon again, only the newest decision of a policy about each counts: what a person made of it
    /// says nothing about policies.
    pub async fn past_after(&self, after: Uuid, limit: i64) -> Result<Vec<Past>> {
        let rows = self
            .run(|| async {
                sqlx::query(
                    "select d.id, d.verification_id, d.outcome, d.reasons -> 0 ->> 'code' as reason,
                        r.evidence, r.fetched_at
                     from (select * from decisions
                           where id > $1 and decided_by = 'policy' order by id limit $2) d
                     cross join lateral (
                        select evidence, fetched_at from results where id = d.result_id limit 1) r
                     where not exists (
                        select from decisions n where n.verification_id = d.verification_id
                            and n.position > d.position and n.result_id = d.result_id
                            and n.decided_by = 'policy')
                     order by d.id",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.iter()
            .map(|row| {
                let Json(evidence) = row.try_get("evidence")?;
                Ok(Past {
                    id: row.try_get("id")?,
                    verification: VerificationId(row.try_get("verification_id")?),
                    outcome: Outcome::parse(row.try_get("outcome")?)
                        .ok_or(Error::Inconsistent("decisions.outcome"))?,
                    reason: row.try_get::<Option<_>, _>("reason")?.unwrap_or_default(),
                    evidence,
                    fetched_at: row.try_get("fetched_at")?,
                })
            })
            .collect()
    }

    /// The last id of the page of decisions after an id; `None` at the end. A page may hold fewer
    /// than were looked at, so its own last row does not tell.
    pub async fn past_page_end(&self, after: Uuid, limit: i64) -> Result<Option<Uuid>> {
        self.run(|| async {
            sqlx::query_scalar(
                "select id from (select id from decisions
                                 where id > $1 and decided_by = 'policy' order by id limit $2) page
                 order by id desc limit 1",
            )
            .bind(after)
            .bind(limit)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// The next decisions by policies after an id, with all they were made of.
    pub async fn past_in_full_after(&self, after: Uuid, limit: i64) -> Result<Vec<PastInFull>> {
        let rows = self
            .run(|| async {
                sqlx::query(
                    "select d.id, d.verification_id, d.policy_digest, d.outcome, d.reasons, r.evidence
                     from (select * from decisions
                           where id > $1 and decided_by = 'policy' order by id limit $2) d
                     cross join lateral (
                        select evidence from results where id = d.result_id limit 1) r
                     order by d.id",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.iter()
            .map(|row| {
                let Json(evidence) = row.try_get("evidence")?;
                let Json(reasons) = row.try_get("reasons")?;
                Ok(PastInFull {
                    id: row.try_get("id")?,
                    verification: VerificationId(row.try_get("verification_id")?),
                    policy: row.try_get("policy_digest")?,
                    outcome: row.try_get("outcome")?,
                    reasons,
                    evidence,
                })
            })
            .collect()
    }

    /// The next standing decisions by policies, in the order of their verifications; the last
    /// verification looked at, `None` at the end.
    pub async fn standing_after(
        &self,
        after: Uuid,
        limit: i64,
    ) -> Result<(Vec<Standing>, Option<Uuid>)> {
        let rows = self
            .run(|| async {
                sqlx::query(
                    "select v.id, d.id as decision_id, d.result_id, d.policy_digest, d.reasons, r.evidence
                     from (select id, decision_id, state from verifications
                           where id > $1 order by id limit $2) v
                     left join lateral (
                        select * from decisions where id = v.decision_id and v.state = 'decided'
                            and decided_by = 'policy' limit 1) d on true
                     left join lateral (
                        select evidence from results where id = d.result_id limit 1) r on true
                     order by v.id",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        let last = rows.last().map(|row| row.try_get("id")).transpose()?;
        let standing = rows
            .iter()
            .filter_map(|row| {
                let evidence: Option<Json<Evidence>> = match row.try_get("evidence") {
                    Ok(evidence) => evidence,
                    Err(error) => return Some(Err(error.into())),
                };
                let Json(evidence) = evidence?;
                Some((|| {
                    let Json(reasons) = row.try_get("reasons")?;
                    Ok(Standing {
                        verification: VerificationId(row.try_get("id")?),
                        decision: row.try_get("decision_id")?,
                        result: row.try_get("result_id")?,
                        policy: row.try_get("policy_digest")?,
                        reasons,
                        evidence,
                    })
                })())
            })
            .collect::<Result<_>>()?;
        Ok((standing, last))
    }

    /// Writes new decisions in place of standing ones that still stand; answers how many did.
    pub async fn decide_again(
        &self,
        new: &[(Standing, StoredDecision)],
        now: OffsetDateTime,
    ) -> Result<u64> {
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
        // history::decide_again: fenced by the decision it replaces: what was decided meanwhile,
        // or erased, stays. The old decision stays too, as history.
        self.once(async {
            sqlx::query(
                "with incoming as (
                    select * from jsonb_to_recordset($1) as i (verification_id uuid, old_id uuid,
                        id uuid, result_id uuid, policy text, outcome text, reasons jsonb)
                 ), locked as materialized (
                    select v.id from verifications v
                    where v.id = any (array(select verification_id from incoming))
                    order by v.biz_type, v.biz_id for no key update of v
                 ), mine as (
                    update verifications v
                    set decision_id = i.id, updated_at = greatest(v.updated_at, $2)
                    from incoming i
                    where v.id = any (array(select id from locked)) and v.id = i.verification_id
                        and v.decision_id = i.old_id and v.state = 'decided'
                    returning v.id
                 )
                 insert into decisions (id, verification_id, result_id, policy_digest, outcome,
                    reasons, decided_by, decided_at)
                 select i.id, i.verification_id, i.result_id, i.policy, i.outcome, i.reasons,
                    'policy', $2
                 from incoming i join mine on mine.id = i.verification_id",
            )
            .bind(Json(rows))
            .bind(now)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }

    /// The next answers with a status after an id.
    pub async fn answers_after(&self, after: Uuid, limit: i64) -> Result<Vec<PastAnswer>> {
        let rows = self
            .run(|| async {
                sqlx::query(
                    "select id, fetched_at, evidence from results
                     where id > $1 and evidence is not null order by id limit $2",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.iter()
            .map(|row| {
                let Json(evidence) = row.try_get("evidence")?;
                let (id, fetched_at) = (row.try_get("id")?, row.try_get("fetched_at")?);
                Ok(PastAnswer { id, fetched_at, evidence })
            })
            .collect()
    }

    /// Roughly how many decisions there are, as Postgres estimates it.
    pub async fn decisions_roughly(&self) -> Result<i64> {
        self.run(|| async {
            sqlx::query_scalar(
                "select greatest(reltuples, 0)::bigint from pg_class where oid = 'decisions'::regclass",
            )
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// Has a backtest done by whichever worker comes first.
    pub async fn ask_for_backtest(
        &self,
        id: Uuid,
        digest: &str,
        since: Option<OffsetDateTime>,
        biz_type: Option<&str>,
        asked_by: &str,
        now: OffsetDateTime,
    ) -> Result<()> {
        // history::ask_for_backtest: the run and its work commit together.
        self.once(async {
            sqlx::query(
                "with run as (
                    insert into backtests (id, digest, since, biz_type, asked_by, created_at,
                        updated_at, state, after, comparison)
                    values ($1, $2, $3, $4, $5, $6, $6, 'running', $7, '{}')
                 )
                 insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
                 values ($1, 'backtest', $1, verdict_now(), 'infinity', verdict_now())",
            )
            .bind(id)
            .bind(digest)
            .bind(since)
            .bind(biz_type)
            .bind(asked_by)
            .bind(now)
            .bind(since.map_or(Uuid::nil(), crate::domain::ids::earliest))
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// One backtest.
    pub async fn backtest(&self, id: Uuid) -> Result<Option<Backtest>> {
        self.run(|| async {
            sqlx::query_as(
                "select id, digest, since, biz_type, created_at, updated_at, state, after, comparison
                 from backtests where id = $1",
            )
            .bind(id)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// Notes how far a backtest has come; its work ends with its state. `false`: the lease was lost.
    pub async fn backtest_went_on(
        &self,
        task: &Task,
        state: &str,
        after: Uuid,
        comparison: &serde_json::Value,
        now: OffsetDateTime,
    ) -> Result<bool> {
        // history::backtest_went_on: fenced, so that pages are counted once, whoever died.
        let held: i64 = self
            .once(async {
                sqlx::query_scalar(
                    "with held as (
                        select id from tasks where id = $1 and lease_token = $2 for update
                     ), ended as (
                        delete from tasks where id = (select id from held) and $3 <> 'running'
                     ), noted as (
                        update backtests
                        set state = $3, after = $4, comparison = $5, updated_at = $6
                        where id = (select id from held)
                     )
                     select count(*) from held",
                )
                .bind(task.id)
                .bind(task.lease_token.0)
                .bind(state)
                .bind(after)
                .bind(Json(comparison))
                .bind(now)
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        Ok(held > 0)
    }
}

/// Longest time one page may reasonably take: pages are sized for far less.
pub const PAGE: i64 = 1000;
/// Between two notes of how far a backtest has come.
pub const NOTE_EVERY: Duration = Duration::from_secs(2);
